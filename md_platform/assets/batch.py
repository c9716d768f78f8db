"""One asset run, seen by instrument: which days to make, what is known of their inputs, what came out of each."""

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from md_platform.assets.stores import Stores
from md_platform.catalog.ledger import USABLE
from md_platform.domain.calendars import ALWAYS_OPEN
from md_platform.domain.instruments import Instrument
from md_platform.domain.schemas import CLEANED_BARS, INDICATORS, RESAMPLED_BARS, TRADE_BARS, Dataset
from md_platform.settings import Universe

OWE_MINUTES = (CLEANED_BARS, RESAMPLED_BARS, INDICATORS)
"""Datasets that owe a row to every minute of the calendar in which somebody may have traded."""

COMPLETE = "complete"
"""Evidence of trades of which none of the day is missing, and of `trade_bars` made from them."""


@dataclass(frozen=True, slots=True)
class Input:
    """What the ledger says of one input partition. `is_complete`: its trades are all that happened."""

    status: str
    sha256: str | None
    reason: str | None
    is_complete: bool = False


@dataclass(frozen=True, slots=True)
class FileImport:
    """Files whose rows to take, not the venue's. `time_unit` and `columns` (ours to theirs) override detection."""

    files: Sequence[Path]
    time_unit: str | None = None
    columns: Mapping[str, str] | None = None


@dataclass(frozen=True)
class Batch:
    """The days of one instrument that an asset run makes, in order, with the state of their inputs."""

    instrument: Instrument
    dates: Sequence[dt.date]
    universe: Universe
    stores: Stores
    inputs: Mapping[tuple[str, str, dt.date], Input] = field(default_factory=dict)
    imported: FileImport | None = None

    def read(self, dataset: Dataset, dates: Sequence[dt.date] | None = None) -> pl.DataFrame | None:
        """Rows of `dataset` for `dates` (the batch's own by default), in order; None where there is no file."""
        lake = self.stores.lake
        return lake.read([lake.path(dataset, self.instrument.id, date) for date in dates or self.dates])

    def traded_minutes(self, date: dt.date) -> pl.Series | None:
        """Open times of the minutes of `date` in which anybody traded, where complete trades prove it; else None."""
        known = self.inputs.get((TRADE_BARS.name, self.instrument.id, date))
        if known is None or not known.is_complete or self.universe.calendar != ALWAYS_OPEN:
            return None
        bars = self.read(TRADE_BARS, [date])
        return None if bars is None else bars["open_time"]

    def is_complete(self, dataset: Dataset, date: dt.date) -> bool:
        """Whether the input partition of `dataset` on `date` holds all trades that happened."""
        known = self.inputs.get((dataset.name, self.instrument.id, date))
        return known is not None and known.is_complete

    def blocked(self, dataset: Dataset, date: dt.date) -> str | None:
        """Why the partition of `dataset` on `date` must not be built upon, or None where it may."""
        known = self.inputs.get((dataset.name, self.instrument.id, date))
        if known is None:
            return f"{dataset.name} {date} is not made yet"
        if known.status in (*USABLE, "missing", "closed"):
            return None
        return f"{dataset.name} {date} is {known.status}" + (f": {known.reason}" if known.reason else "")


@dataclass(frozen=True)
class Part:
    """What an asset made of one day: a frame, or the reason why there is none.

    `failure` marks the partition failed; `pending` leaves it for later because an input failed. `lacks` says what is
    known to be missing from its rows, which makes it degraded.
    """

    date: dt.date
    frame: pl.DataFrame | None = None
    source: str | None = None
    rejected: pl.DataFrame | None = None
    evidence: Mapping[str, Any] = field(default_factory=dict)
    failure: str | None = None
    pending: str | None = None
    lacks: Sequence[str] = ()


def by_day(frame: pl.DataFrame | None, time: str, dates: Sequence[dt.date]) -> Iterator[tuple[dt.date, pl.DataFrame]]:
    """Split `frame` by the UTC day of `time`: each of `dates` with its rows, empty where it has none.

    A row without a time goes with the row before it (the first day's where there is none), so that none is lost.
    """
    if frame is None:
        return
    day = pl.col(time).dt.date().forward_fill().backward_fill().fill_null(dates[0]).alias("day")
    parts = frame.with_columns(day).partition_by("day", as_dict=True, include_key=False, maintain_order=True)
    for date in dates:
        yield date, parts.get((date,), frame.clear())
