"""indicators: the standard set on 1m to 1d bars, each day from its own bars and a bounded past."""

from collections.abc import Iterator

import polars as pl

from md_platform.assets.batch import Batch, Part
from md_platform.domain.calendars import bars_per_year
from md_platform.domain.indicators import STANDARD_SET, Ohlcv
from md_platform.domain.intervals import DAY, INTRADAY_ROLL_UPS, Timeframe
from md_platform.domain.schemas import CLEANED_BARS, RESAMPLED_BARS, Dataset
from md_platform.transforms.indicators import INDICATOR_TIMEFRAMES, indicator_values, look_back_days

_COLUMNS = ["timeframe", "open_time", "open", "high", "low", "close", "volume"]


TIMEFRAMES = {CLEANED_BARS: (Timeframe.M1,), RESAMPLED_BARS: INTRADAY_ROLL_UPS}
"""Timeframes that each input brings."""


def indicators(batch: Batch) -> Iterator[Part]:
    """Compute the standard set for every timeframe of every day."""
    pending = {date: reason for date in batch.dates if (reason := batch.blocked(RESAMPLED_BARS, date))}
    yield from (Part(date, pending=reason) for date, reason in pending.items())
    dates = [date for date in batch.dates if date not in pending]
    if not dates:
        return
    calendar = batch.universe.calendar
    windows = {}
    resampled = _read(batch, RESAMPLED_BARS, look_back_days(calendar, TIMEFRAMES[RESAMPLED_BARS]))
    minutes = _read(batch, CLEANED_BARS, look_back_days(calendar, TIMEFRAMES[CLEANED_BARS]))
    for timeframe in INDICATOR_TIMEFRAMES:
        rows = minutes if timeframe is Timeframe.M1 else resampled
        if rows is not None:
            of_timeframe = rows.filter(pl.col("timeframe") == timeframe.value)
            windows[timeframe] = Ohlcv.from_frame(
                of_timeframe, timeframe=timeframe, periods_per_year=bars_per_year(calendar, timeframe)
            )
    if not windows:
        yield from (Part(date, evidence={"empty": "no bars"}) for date in dates)
        return
    for date, frame in indicator_values(batch.instrument.id, windows, STANDARD_SET, dates):
        yield Part(date, frame)


def _read(batch: Batch, dataset: Dataset, days: int) -> pl.DataFrame | None:
    first = batch.dates[0] - days * DAY
    dates = [first + n * DAY for n in range((batch.dates[-1] - first).days + 1)]
    lake = batch.stores.lake
    return lake.read([lake.path(dataset, batch.instrument.id, date) for date in dates], columns=_COLUMNS)
