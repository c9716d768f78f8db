"""Calendar, dataset and period in; the table of bars (or hours) that ought to be there, and which of them are, out."""

import datetime as dt
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import polars as pl

from md_platform.domain.calendars import ALWAYS_OPEN, expected_open_times, is_session
from md_platform.domain.intervals import DAY, INTRADAY_ROLL_UPS, Interval, Timeframe
from md_platform.errors import UnknownDataset

_TIMEFRAME = pl.Enum([timeframe.value for timeframe in Timeframe])
_SLOTS = 16  # more than there are timeframes: slot = microseconds * 16 + timeframe


@dataclass(frozen=True, slots=True)
class Grid:
    """What is expected of a dataset: rows on `timeframes`, or at least one row in each where `truncated`."""

    timeframes: tuple[Timeframe, ...]
    time: str = "open_time"
    truncated: bool = False

    def slots(self, rows: pl.DataFrame) -> pl.Series:
        """The slots of the expected table that stored rows fill."""
        time = rows[self.time]
        if len(self.timeframes) > 1:
            return _slots(time, rows["timeframe"])
        (timeframe,) = self.timeframes
        if self.truncated:
            time = time.dt.truncate(timeframe.polars_every)
        return time.to_physical() * _SLOTS + _RANK[timeframe]


_RANK = {timeframe: rank for rank, timeframe in enumerate(Timeframe)}


def _slots(time: pl.Series, timeframe: pl.Series) -> pl.Series:
    return time.to_physical() * _SLOTS + timeframe.cast(_TIMEFRAME, strict=False).to_physical().cast(pl.Int64)


GRIDS: dict[str, Grid] = {
    "cleaned_bars": Grid((Timeframe.M1,)),
    "cleaned_trades": Grid((Timeframe.H1,), "ts_event", truncated=True),
    "trade_bars": Grid((Timeframe.H1,), truncated=True),
    "resampled_bars": Grid(INTRADAY_ROLL_UPS),
    "weekly_bars": Grid((Timeframe.W1,)),
    "monthly_bars": Grid((Timeframe.MONTH1,)),
    "indicators": Grid((Timeframe.M1, *INTRADAY_ROLL_UPS)),
}
"""Trades owe no row to any minute, so trades and the bars made of them are expected in every open hour."""


def expected_table(dataset: str, calendar: str, start: dt.date, until: dt.datetime | None = None) -> pl.DataFrame:
    """What the partition of `dataset` that begins on `start` ought to hold: `timeframe`, `open_time`, `slot`.

    The partition is a UTC day, or the week or month that begins on `start`. `until` (UTC) leaves out what had not yet
    closed by then. Empty when the calendar is closed. InvalidSetting for an unknown calendar.
    """
    if dataset not in GRIDS:
        raise UnknownDataset(f"dataset with a calendar must be one of {' '.join(GRIDS)}, was {dataset!r}")
    table = _whole_period(dataset, calendar, start)
    if until is None:
        return table
    closed = (
        (pl.col("timeframe") == timeframe.value) & (pl.col("open_time").dt.offset_by(timeframe.polars_every) <= until)
        for timeframe in GRIDS[dataset].timeframes
    )
    return table.filter(pl.any_horizontal(*closed))


@lru_cache(maxsize=512)
def _whole_period(dataset: str, calendar: str, start: dt.date) -> pl.DataFrame:
    parts = []
    for timeframe in GRIDS[dataset].timeframes:
        times = _open_times(calendar, timeframe, start)
        parts.append(
            pl.DataFrame({"open_time": times}).select(timeframe=pl.lit(timeframe.value), open_time="open_time")
        )
    table = pl.concat(parts)
    return table.with_columns(slot=_slots(table["open_time"], table["timeframe"]))


def _open_times(calendar: str, timeframe: Timeframe, start: dt.date) -> pl.Series:
    day = Interval.day(start)
    if timeframe in (Timeframe.W1, Timeframe.MONTH1):
        period = Interval(day.start, timeframe.close_time(day.start))
        times = [period.start] if any(is_session(calendar, date) for date in period.days()) else []
        return pl.Series("open_time", times, pl.Datetime("us", "UTC"))
    if calendar == ALWAYS_OPEN and timeframe.seconds:
        first = int(day.start.timestamp()) * 1_000_000
        step = timeframe.seconds * 1_000_000
        micros = np.arange(first, first + DAY // dt.timedelta(microseconds=1), step, dtype=np.int64)
        return pl.Series("open_time", micros).cast(pl.Datetime("us", "UTC"))
    return expected_open_times(calendar, timeframe, start)


def with_presence(expected: pl.DataFrame, filled: pl.Series | None) -> pl.DataFrame:
    """The expected table with `present`: true where one of the slots `filled` is the row's, null where none is."""
    slots = expected["slot"]
    if filled is None:
        return expected.with_columns(present=pl.lit(None, pl.Boolean))
    if slots.equals(filled):  # nothing missing, nothing else: most days
        return expected.with_columns(present=True)
    there = slots.is_in(filled.implode())
    return expected.with_columns(present=pl.when(there).then(True))
