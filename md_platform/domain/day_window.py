"""Closed 1m bars of one instrument in; what its last 24 hours were, out: as of a whole minute, at a constant cost."""

import numpy as np

from md_platform.domain.events import Bar, DayStatistics
from md_platform.domain.live_cascade import DAY_NS, SECOND_NS

MINUTE_NS = 60 * SECOND_NS
_MINUTES = DAY_NS // MINUTE_NS
_OPENED, _OPEN, _HIGH, _LOW, _CLOSE, _VOLUME, _QUOTE_VOLUME = range(7)


class DayWindow:
    """The last day of 1m bars, each in the place of its minute of the day. A revision takes the place of its bar.

    A bar older than the one in its place is passed over.
    """

    def __init__(self, instrument: str) -> None:
        self._instrument = instrument
        self._bars = np.full((7, _MINUTES), np.nan)
        self._bars[_OPENED] = -1.0

    def put(self, bar: Bar) -> None:
        """Take a closed 1m bar."""
        minute = bar.open_time // MINUTE_NS
        place = minute % _MINUTES
        if minute >= self._bars[_OPENED, place]:
            quote_volume = np.nan if bar.quote_volume is None else bar.quote_volume
            self._bars[:, place] = (minute, bar.open, bar.high, bar.low, bar.close, bar.volume, quote_volume)

    def statistics(self, end_ns: int, *, is_whole: bool) -> DayStatistics | None:
        """The 24 hours before `end_ns`, a whole minute; None where nothing traded. `is_whole`: no bar is missing."""
        minute = end_ns // MINUTE_NS
        bars = self._bars[:, (self._bars[_OPENED] >= minute - _MINUTES) & (self._bars[_OPENED] < minute)]
        if not bars.size:
            return None
        opened = bars[_OPENED]
        first, last = bars[_OPEN, opened.argmin()], bars[_CLOSE, opened.argmax()]
        quote_volume = float(bars[_QUOTE_VOLUME].sum())
        return DayStatistics(
            self._instrument,
            end_ns,
            float(first),
            float(bars[_HIGH].max()),
            float(bars[_LOW].min()),
            float(last),
            float(bars[_VOLUME].sum()),
            quote_volume if quote_volume == quote_volume else None,  # noqa: PLR0124 - NaN
            float(last / first - 1.0),
            is_whole,
        )
