"""Closed bars of an instrument in; the standard set's values on them out, opened from the lake, equal to batch."""

import datetime as dt
from collections.abc import Iterable, Mapping

import polars as pl

from md_platform.domain.calendars import bars_per_year
from md_platform.domain.events import Bar, IndicatorValues
from md_platform.domain.indicators import STANDARD_SET, Ohlcv
from md_platform.domain.indicators.live import LiveIndicators
from md_platform.domain.intervals import DAY, UTC, Timeframe
from md_platform.domain.schemas import CLEANED_BARS, RESAMPLED_BARS, Dataset
from md_platform.errors import StorageError
from md_platform.storage.lake import Lake
from md_platform.transforms.indicators import INDICATOR_TIMEFRAMES, look_back_days

_COLUMNS = ["timeframe", "open_time", "open", "high", "low", "close", "volume"]


class InstrumentIndicators:
    """One instrument's handles, a set for each timeframe that has indicators."""

    def __init__(self, instrument: str, handles: Mapping[str, LiveIndicators]) -> None:
        self._instrument = instrument
        self._handles = handles

    def values(self, bars: Iterable[Bar]) -> list[IndicatorValues]:
        """Values on closed bars, and anew on the bars after one that was revised."""
        out: list[IndicatorValues] = []
        for bar in sorted(bars, key=lambda each: each.open_time):
            handle = self._handles.get(bar.timeframe)
            if handle is None:
                continue
            if bar.open_time > handle.last_open_time_ns:
                found = {bar.open_time: handle.update(bar)}
            else:
                found = handle.revise(bar)
            out += [self._event(bar, open_time, values) for open_time, values in found.items()]
        return out

    def _event(self, bar: Bar, open_time: int, values: Mapping[str, float]) -> IndicatorValues:
        known = {name: value if value == value else None for name, value in values.items()}  # noqa: PLR0124 - NaN
        return IndicatorValues(self._instrument, bar.timeframe, open_time, True, bar.known_at, known)


def opened(instrument: str, lake: Lake, calendar: str, today: dt.date | None = None) -> InstrumentIndicators:
    """Handles that go on from the bars of the lake before today (UTC). Without history they warm up, as batch does."""
    today = today or dt.datetime.now(UTC).date()
    handles = {}
    frames = {
        dataset: _read(lake, dataset, instrument, today, look_back_days(calendar, timeframes))
        for dataset, timeframes in ((CLEANED_BARS, [Timeframe.M1]), (RESAMPLED_BARS, INDICATOR_TIMEFRAMES[1:]))
    }
    for timeframe in INDICATOR_TIMEFRAMES:
        rows = frames[CLEANED_BARS if timeframe is Timeframe.M1 else RESAMPLED_BARS]
        window = Ohlcv.from_frame(
            rows.filter(pl.col("timeframe") == timeframe.value),
            timeframe=timeframe,
            periods_per_year=bars_per_year(calendar, timeframe),
        )
        handles[timeframe.value] = LiveIndicators(STANDARD_SET, window)
    return InstrumentIndicators(instrument, handles)


def _read(lake: Lake, dataset: Dataset, instrument: str, today: dt.date, days: int) -> pl.DataFrame:
    paths = [lake.path(dataset, instrument, today - n * DAY) for n in range(days, 0, -1)]
    try:
        found = lake.read(paths, columns=_COLUMNS)
    except StorageError:  # batch will say so; live goes on without history
        found = None
    return pl.DataFrame(schema={name: dataset.schema[name] for name in _COLUMNS}) if found is None else found
