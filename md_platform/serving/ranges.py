"""What a request says of its range in, the interval that is meant out."""

import datetime as dt

from md_platform.domain.intervals import UTC, Interval, Timeframe, parse_time


def moment(text: str | None, name: str, default: dt.datetime) -> dt.datetime:
    """The time that `text` says."""
    return default if text is None else parse_time(text, name=name)


def interval(
    start: str | None, end: str | None, timeframe: Timeframe, bars: int, *, now: dt.datetime | None = None
) -> Interval:
    """From start to end. Without an end until now, without a start so many bars before the end."""
    until = moment(end, "end", now or dt.datetime.now(UTC))
    return Interval(moment(start, "start", before(until, timeframe, bars)), until)


def within(interval: Interval, timeframe: Timeframe, bars: int) -> Interval:
    """The begin of `interval` that has room for so many bars, or all of it."""
    length = dt.timedelta(seconds=(timeframe.seconds or 31 * 86_400) * bars)
    return interval if interval.end - interval.start <= length else Interval(interval.start, interval.start + length)


def before(end: dt.datetime, timeframe: Timeframe, bars: int) -> dt.datetime:
    """A time so many bars before `end`."""
    try:
        return end - dt.timedelta(seconds=(timeframe.seconds or 31 * 86_400) * bars)
    except OverflowError:
        return dt.datetime.min.replace(tzinfo=UTC)
