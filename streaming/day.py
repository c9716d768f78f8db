"""An instrument's closed 1m bars in; the statistics of its last 24 hours out, anew for each minute."""

from collections.abc import Iterable

from md_platform.domain.day_window import DayWindow
from md_platform.domain.events import Bar, DayStatistics
from md_platform.domain.live_bars import LATENESS_NS, LiveBars
from md_platform.domain.live_cascade import DAY_NS
from md_platform.domain.live_periods import MINUTE_NS


class LiveDay:
    """Goes on from `bars`, of which those of `unknown` are missing; from `since_ns` on, LiveBars know what is whole."""

    def __init__(self, instrument: str, bars: Iterable[Bar], unknown: Iterable[tuple[int, int]], since_ns: int) -> None:
        self._window = DayWindow(instrument)
        self._unknown_until_ns = max((min(end, since_ns) for start, end in unknown if start < since_ns), default=0)
        self._since_ns = since_ns
        self._told_ns = 0
        self.put(bars)

    def put(self, bars: Iterable[Bar]) -> None:
        """Take what closed; bars of other timeframes are passed over."""
        for bar in bars:
            if bar.timeframe == "1m":
                self._window.put(bar)

    def statistics(self, now_ns: int, bars: LiveBars) -> DayStatistics | None:
        """Once for each minute, as soon as its bar should have closed, by the venue's clock `now_ns`."""
        end_ns = (now_ns - LATENESS_NS) // MINUTE_NS * MINUTE_NS
        if end_ns <= self._told_ns:
            return None
        self._told_ns = end_ns
        start_ns = end_ns - DAY_NS
        is_whole = start_ns >= self._unknown_until_ns and bars.is_known(max(start_ns, self._since_ns), end_ns)
        return self._window.statistics(end_ns, is_whole=is_whole)
