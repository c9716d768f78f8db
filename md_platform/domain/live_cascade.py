"""1m bars of one instrument in, the longer bars that hold them out, each combined from those of the length below.

Weeks and months are both of days.
"""

import datetime as dt
from collections.abc import Iterable, Iterator
from functools import lru_cache

from md_platform.domain.events import Bar
from md_platform.domain.intervals import INTRADAY_ROLL_UPS, UTC, Timeframe
from md_platform.domain.live_parts import bar_of, combined, same_content, values_of

SECOND_NS = 1_000_000_000
DAY_NS = 86_400 * SECOND_NS
CASCADE = (Timeframe.M1, *INTRADAY_ROLL_UPS, Timeframe.W1, Timeframe.MONTH1)
DAILY = CASCADE.index(Timeframe.D1)
LEVELS = {timeframe.value: level for level, timeframe in enumerate(CASCADE)}
_LENGTHS_NS = tuple((timeframe.seconds or 0) * SECOND_NS for timeframe in CASCADE)


def opening(level: int, instant: int) -> int:
    """Open time of the bar of `level` that holds `instant`."""
    return instant - instant % _LENGTHS_NS[level] if level <= DAILY else _of_calendar(level, instant // DAY_NS)[0]


def closing(level: int, open_time: int) -> int:
    """Close time, exclusive, of the bar of `level` that opens at `open_time`."""
    return open_time + _LENGTHS_NS[level] if level <= DAILY else _of_calendar(level, open_time // DAY_NS)[1]


def openings(level: int, start_ns: int, end_ns: int) -> Iterator[int]:
    """Open times of `level` whose periods overlap `[start_ns, end_ns)`."""
    open_time = opening(level, start_ns)
    while open_time < end_ns:
        yield open_time
        open_time = closing(level, open_time)


@lru_cache(maxsize=1_024)
def _of_calendar(level: int, day: int) -> tuple[int, int]:
    """Open and close time of the week or month that holds the `day`th since the epoch."""
    opened = CASCADE[level].open_time(dt.datetime.fromtimestamp(day * 86_400, UTC))
    closed = CASCADE[level].close_time(opened)
    return int(opened.timestamp()) * SECOND_NS, int(closed.timestamp()) * SECOND_NS


class Cascade:
    """The latest bar of each length and open time, provisional or closed. Levels count from the 1m bars, level 0.

    It knows neither clock nor holes: the caller says when a longer bar is to be closed.
    """

    def __init__(self, instrument: str) -> None:
        self._instrument = instrument
        self._bars: tuple[dict[int, Bar | None], ...] = tuple({} for _ in CASCADE)

    def begin(self, minute: int) -> Iterator[tuple[int, int]]:
        """Level and open time of the longer bars that this minute is the first to fall into."""
        for level in range(1, len(CASCADE)):
            open_time = opening(level, minute)
            if open_time not in self._bars[level]:
                self._bars[level][open_time] = None
                yield level, open_time

    def put(self, bar: Bar) -> None:
        """The latest of a 1m bar, closed or not; or a closed 1d bar whose minutes are not known here."""
        self._bars[LEVELS[bar.timeframe]][bar.open_time] = bar

    def is_held(self, minute: int) -> bool:
        """Whether any longer bar that holds this minute was closed."""
        return any(self._has_closed(level, minute) for level in range(1, len(CASCADE)))

    def opened(self, level: int, start_ns: int, end_ns: int) -> list[int]:
        """Open times of the bars of `level` that overlap `[start_ns, end_ns)`."""
        return [at for at in openings(level, start_ns, end_ns) if at in self._bars[level]]

    def close(self, level: int, open_time: int) -> Bar | None:
        """Close it, or close it anew after a member changed: the bar, or None where it is what it was."""
        bar = self._rolled_up(level, open_time, is_closed=True)
        before = self._bars[level][open_time]
        if before is not None and before.is_closed:
            old, new = values_of(before), values_of(bar)
            if before.revision == bar.revision and same_content(old, new):
                return None
        self._bars[level][open_time] = bar
        return bar

    def running(self, minutes: Iterable[int]) -> list[Bar]:
        """The bars not closed that hold any of `minutes`, as they are now, shortest first."""
        bars: list[Bar] = []
        changed = list(minutes)
        for level in range(1, len(CASCADE)):
            touched = {opening(level, minute) for minute in changed}
            for open_time in sorted(touched & self._bars[level].keys()):
                if not self._has_closed(level, open_time):
                    bar = self._rolled_up(level, open_time, is_closed=False)
                    self._bars[level][open_time] = bar
                    bars.append(bar)
        return bars

    def forget(self, before_ns: int) -> None:
        """Drop what no minute from `before_ns` on can change: bars whose longer bar ended by then."""
        for level, bars in enumerate(self._bars):
            while bars and _needed_until(level, first := next(iter(bars))) <= before_ns:
                del bars[first]

    def _has_closed(self, level: int, instant: int) -> bool:
        bar = self._bars[level].get(opening(level, instant))
        return bar is not None and bar.is_closed

    def _rolled_up(self, level: int, open_time: int, *, is_closed: bool) -> Bar:
        end, below = closing(level, open_time), min(level - 1, DAILY)
        found = (self._bars[below].get(at) for at in range(open_time, end, _LENGTHS_NS[below]))
        members = [bar for bar in found if bar is not None]
        return bar_of(
            (self._instrument, CASCADE[level].value, open_time, end),
            combined([values_of(member) for member in members]),
            is_closed=is_closed,
            source=members[-1].source,
        )


def _needed_until(level: int, open_time: int) -> int:
    """End of the longest bar that is combined from this one, or is it."""
    holders = {DAILY: (DAILY + 1, DAILY + 2)}.get(level, (level if level > DAILY else level + 1,))
    return max(closing(holder, opening(holder, open_time)) for holder in holders)
