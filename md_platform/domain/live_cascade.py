"""1m bars of one instrument in, the longer bars that hold them out, each combined from those of the length below."""

from collections.abc import Iterable, Iterator

from md_platform.domain.events import Bar
from md_platform.domain.intervals import INTRADAY_ROLL_UPS, Timeframe
from md_platform.domain.live_parts import bar_of, combined, same_content, values_of

SECOND_NS = 1_000_000_000
CASCADE = (Timeframe.M1, *INTRADAY_ROLL_UPS)
LENGTHS_NS = tuple((timeframe.seconds or 0) * SECOND_NS for timeframe in CASCADE)


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
            open_time = minute - minute % LENGTHS_NS[level]
            if open_time not in self._bars[level]:
                self._bars[level][open_time] = None
                yield level, open_time

    def put(self, bar: Bar) -> None:
        """The latest of a 1m bar, closed or not."""
        self._bars[0][bar.open_time] = bar

    def has_closed(self, level: int, instant: int) -> bool:
        """Whether the bar that holds `instant` was closed."""
        bar = self._bars[level].get(instant - instant % LENGTHS_NS[level])
        return bar is not None and bar.is_closed

    def opened(self, level: int, start_ns: int, end_ns: int) -> list[int]:
        """Open times of the bars of `level` that overlap `[start_ns, end_ns)`."""
        length = LENGTHS_NS[level]
        return [at for at in range(start_ns - start_ns % length, end_ns, length) if at in self._bars[level]]

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
        touched = set(minutes)
        for level in range(1, len(CASCADE)):
            touched = {at - at % LENGTHS_NS[level] for at in touched}
            for open_time in sorted(touched & self._bars[level].keys()):
                if not self.has_closed(level, open_time):
                    bar = self._rolled_up(level, open_time, is_closed=False)
                    self._bars[level][open_time] = bar
                    bars.append(bar)
        return bars

    def forget(self, before_ns: int) -> None:
        """Drop what no minute from `before_ns` on can change: bars whose longer bar ended by then."""
        for level, bars in enumerate(self._bars):
            holder = LENGTHS_NS[min(level + 1, len(CASCADE) - 1)]
            while bars and (first := next(iter(bars))) - first % holder + holder <= before_ns:
                del bars[first]

    def _rolled_up(self, level: int, open_time: int, *, is_closed: bool) -> Bar:
        end, below = open_time + LENGTHS_NS[level], self._bars[level - 1]
        found = (below.get(at) for at in range(open_time, end, LENGTHS_NS[level - 1]))
        members = [bar for bar in found if bar is not None]
        return bar_of(
            (self._instrument, CASCADE[level].value, open_time, end),
            combined([values_of(member) for member in members]),
            is_closed=is_closed,
            source=members[-1].source,
        )
