"""A timeframe and how many points a chart can show in, the timeframe to draw out.

Down-sampling is rolling up, by the one rule that bars have: an open is the first, a high the highest, a low the lowest,
a close the last, so no extreme is lost, and longer bars are stored already.
"""

from md_platform.domain.intervals import Interval, Timeframe

_MONTH_S = 28 * 86_400


def drawn_timeframe(asked: Timeframe, interval: Interval, max_points: int) -> Timeframe:
    """The shortest timeframe, `asked` or longer, of which `interval` has at most so many bars; else a month."""
    seconds = (interval.end - interval.start).total_seconds()
    lengths = list(Timeframe)
    for timeframe in lengths[lengths.index(asked) :]:
        if seconds / (timeframe.seconds or _MONTH_S) <= max_points:
            return timeframe
    return Timeframe.MONTH1
