"""Calendar, dataset and period in; the table of bars (or hours) that ought to be there, and which of them are, out."""

import contextlib
import datetime as dt
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import polars as pl

from md_platform.domain.calendars import ALWAYS_OPEN, expected_open_times, is_session
from md_platform.domain.intervals import DAY, INTRADAY_ROLL_UPS, Interval, Timeframe
from md_platform.errors import UnknownDataset
from md_platform.quality.partitions import Flags, Partitions, Scalar, timeframe_ranks

Slots = npt.NDArray[np.int64]

_SLOTS = 16  # more than there are timeframes: slot = microseconds * 16 + timeframe


@dataclass(frozen=True, slots=True)
class Grid:
    """What is expected of a dataset: rows on `timeframes`, or at least one row in each where `truncated`."""

    timeframes: tuple[Timeframe, ...]
    time: str = "open_time"
    truncated: bool = False

    def slots(self, stored: Partitions) -> Slots:
        """The slots of the expected table that stored rows fill; for a row that fills none a number that is no slot."""
        time = stored.rows[self.time]
        if self.truncated:
            (timeframe,) = self.timeframes
            time = time.dt.truncate(timeframe.polars_every)
        return _slots(time, stored.ranks if len(self.timeframes) > 1 else _RANK[self.timeframes[0]])


_RANK = {timeframe: rank for rank, timeframe in enumerate(Timeframe)}


def _slots(time: pl.Series, ranks: Slots | int) -> Slots:
    first: Slots = (time.to_physical() * _SLOTS).fill_null(-_SLOTS).to_numpy()
    return first + ranks


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


def owed_by_trades(expected: pl.DataFrame, traded: pl.Series) -> pl.DataFrame:
    """The rows of `expected` whose period holds one of the `traded` minutes (open times): no trade, no bar.

    For calendars that never close, and timeframes up to a day.
    """
    held = (
        pl.DataFrame({"open_time": traded.dt.truncate(Timeframe(name).polars_every).unique()}).with_columns(
            timeframe=pl.lit(name)
        )
        for name in expected["timeframe"].unique(maintain_order=True)
    )
    return expected.join(pl.concat(held), on=["timeframe", "open_time"], how="semi", maintain_order="left")


@lru_cache(maxsize=512)
def _whole_period(dataset: str, calendar: str, start: dt.date) -> pl.DataFrame:
    parts = []
    for timeframe in GRIDS[dataset].timeframes:
        times = _open_times(calendar, timeframe, start)
        parts.append(
            pl.DataFrame({"open_time": times}).select(timeframe=pl.lit(timeframe.value), open_time="open_time")
        )
    table = pl.concat(parts)
    return table.with_columns(slot=_slots(table["open_time"], timeframe_ranks(table)))


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


def with_presence(expected: Partitions, stored: Partitions | None, grid: Grid) -> Partitions:
    """The expected tables with `present`: true where a stored row of the same partition fills the slot, else null.

    Null throughout where nothing is stored, or nothing that has times.
    """
    present = pl.lit(None, pl.Boolean)
    if stored is not None:
        with contextlib.suppress(pl.exceptions.PolarsError, TypeError):
            wanted: Slots = expected.rows["slot"].to_numpy()
            found = map(is_filled, expected.split(wanted), stored.split(grid.slots(stored)))
            present = pl.when(pl.Series(np.concatenate(list(found)))).then(True)
    return Partitions(expected.rows.with_columns(present=present), expected.heights)


def is_filled(wanted: npt.NDArray[Scalar], filled: npt.NDArray[Scalar]) -> Flags:
    """Which of `wanted`, each once, are among `filled`: np.isin at a fifth of its price where most are in order."""
    if np.array_equal(wanted, filled):
        return np.ones(wanted.size, np.bool_)
    found = np.zeros(wanted.size, np.bool_)
    order = np.argsort(wanted, kind="stable")
    place = np.searchsorted(wanted, filled, sorter=order)
    inside = place < wanted.size
    near, filled = order[place[inside]], filled[inside]
    found[near[wanted[near] == filled]] = True
    return found
