"""Rows of a dataset for one instrument and interval, as a stream of frames in order: from the archive, else the lake.

A frame holds a day of trades or a month of bars at most, so that years of them can be read in bounded memory. Nothing
is filled, filtered or chosen here: what is stored is what comes out.
"""

import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import polars as pl
from deltalake.exceptions import DeltaError
from opentelemetry import trace

from md_platform.catalog.chain import ARCHIVED
from md_platform.catalog.ledger import USABLE, Partitions
from md_platform.domain.indicators import STANDARD_SET
from md_platform.domain.intervals import INTRADAY_ROLL_UPS, Interval, Timeframe
from md_platform.domain.schemas import INDICATORS, MONTHLY_BARS, RESAMPLED_BARS, WEEKLY_BARS, Dataset
from md_platform.errors import InvalidTimeframe, StorageError
from md_platform.storage.archive import Archive
from md_platform.storage.lake import Lake
from md_platform.transforms.indicators import INDICATOR_TIMEFRAMES

Place = Literal["archive", "lake"]

_tracer = trace.get_tracer(__name__)
_PERIODS = {WEEKLY_BARS: Timeframe.W1, MONTHLY_BARS: Timeframe.MONTH1}
_LENGTHS = {timeframe.value: n for n, timeframe in enumerate(Timeframe)}


@dataclass(frozen=True, slots=True)
class Selection:
    """Rows of `dataset` for `instrument` whose time lies in `interval`; of `timeframe` only, where one is given."""

    dataset: Dataset
    instrument: str
    interval: Interval
    timeframe: Timeframe | None = None

    def __post_init__(self) -> None:
        held = timeframes_of(self.dataset)
        if self.timeframe is not None and self.timeframe not in held:
            known = f"{self.dataset.name} holds {' '.join(held)}" if held else f"{self.dataset.name} has no timeframes"
            raise InvalidTimeframe(f"{known}, was {self.timeframe.value!r}")

    @property
    def schema(self) -> pl.Schema:
        """Columns of every frame that comes out."""
        return schema_of(self.dataset)

    def dates(self) -> list[dt.date]:
        """First days of the partitions that may hold such rows."""
        timeframe = _PERIODS.get(self.dataset)
        days = self.interval.days()
        if timeframe is None:
            return days
        starts = dict.fromkeys(timeframe.open_time(Interval.day(day).start) for day in days)
        return [start.date() for start in starts if start in self.interval]


def timeframes_of(dataset: Dataset) -> tuple[Timeframe, ...]:
    """Timeframes whose rows `dataset` holds; none where it holds no bars."""
    if "timeframe" not in dataset.schema:
        return ()
    if dataset in _PERIODS:
        return (_PERIODS[dataset],)
    return {RESAMPLED_BARS: INTRADAY_ROLL_UPS, INDICATORS: INDICATOR_TIMEFRAMES}.get(dataset, (Timeframe.M1,))


def schema_of(dataset: Dataset) -> pl.Schema:
    """Columns of the rows of `dataset`, the outputs of indicators included."""
    if dataset is not INDICATORS:
        return dataset.schema
    outputs = [name for spec in STANDARD_SET for name in spec.columns]
    return pl.Schema({**dataset.schema, **dict.fromkeys(outputs, pl.Float64())})


@dataclass(frozen=True, slots=True)
class Chunk:
    """What is read at once: partitions `dates` in `place`; `interval` clips their rows."""

    place: Place
    dates: tuple[dt.date, ...]
    interval: Interval


class Reader:
    """The lake and the archive, read as one; the ledger says which partitions are archived."""

    def __init__(self, lake: Lake, archive: Archive, ledger: Partitions) -> None:
        self._lake = lake
        self._archive = archive
        self._ledger = ledger

    def chunks(self, selection: Selection) -> list[Chunk]:
        """What to read, in order."""
        dates = selection.dates()
        if not dates or selection.dataset.name not in ARCHIVED:
            return chunks(selection, set())
        name = f"archive_{selection.dataset.name}"
        states = self._ledger.history(selection.instrument, [name], dates[0], dates[-1] + dt.timedelta(days=1))
        return chunks(selection, {date for (_, date), state in states.items() if state.status in USABLE})

    def frames(self, selection: Selection, wanted: Sequence[Chunk]) -> Iterator[pl.DataFrame]:
        """One frame for each of the chunks, ordered by time, empty where there are no rows; StorageError."""
        for chunk in wanted:
            with _tracer.start_as_current_span(f"{chunk.place} read", attributes={"dataset": selection.dataset.name}):
                frame = self._frame(selection, chunk)
            yield frame

    def _frame(self, selection: Selection, chunk: Chunk) -> pl.DataFrame:
        dataset = selection.dataset
        rows = self._archived(selection, chunk) if chunk.place == "archive" else None
        if rows is not None:  # of this interval and timeframe, in order
            return _in_shape(rows, selection)
        paths = [path for date in chunk.dates for path in self._paths(dataset, selection.instrument, date)]
        rows = self._lake.read(paths)
        return (
            pl.DataFrame(schema=selection.schema)
            if rows is None
            else _in_shape(_inside(rows, selection, chunk.interval), selection)
        )

    def _archived(self, selection: Selection, chunk: Chunk) -> pl.DataFrame | None:
        dataset = selection.dataset
        timeframe = selection.timeframe and selection.timeframe.value
        try:
            return self._archive.read(dataset.name, [selection.instrument], chunk.interval, dataset.time, timeframe)
        except (pl.exceptions.PolarsError, DeltaError, OSError) as error:
            reason = str(error).splitlines()[0]
            days, table = f"{chunk.dates[0]} to {chunk.dates[-1]}", self._archive.uri(dataset.name)
            raise StorageError(
                f"{dataset.name} of {selection.instrument}, {days}, cannot be read from {table}"
                f" ({reason}): restore the table, or remove it and let `mdp backfill --refresh` make it again"
            ) from error

    def _paths(self, dataset: Dataset, instrument: str, date: dt.date) -> list[Path]:
        sources = self._lake.sources(dataset, instrument, date) if dataset.by_source else [None]
        return [self._lake.path(dataset, instrument, date, source) for source in sources]


def chunks(selection: Selection, archived: set[dt.date]) -> list[Chunk]:
    """Parts of `selection` that can be read at once, in order: archived partitions by month, all else one by one.

    Trades are many: they are read day by day.
    """
    by_month = "timeframe" in selection.dataset.schema
    groups: list[tuple[Place, list[dt.date]]] = []
    for date in selection.dates():
        place: Place = "archive" if date in archived else "lake"
        last = groups[-1] if groups else None
        joins = (
            last and by_month and place == last[0] == "archive" and last[1][-1].replace(day=1) == date.replace(day=1)
        )
        if last and joins:
            last[1].append(date)
        else:
            groups.append((place, [date]))
    return [Chunk(place, tuple(dates), _clipped(selection, dates)) for place, dates in groups]


def _clipped(selection: Selection, dates: Sequence[dt.date]) -> Interval:
    first, last = Interval.day(dates[0]).start, Interval.day(dates[-1]).start
    end = _PERIODS.get(selection.dataset, Timeframe.D1).close_time(last)
    return Interval(max(first, selection.interval.start), min(end, selection.interval.end))


def _inside(rows: pl.DataFrame, selection: Selection, interval: Interval) -> pl.DataFrame:
    time = selection.dataset.time
    inside = (pl.col(time) >= interval.start) & (pl.col(time) < interval.end)
    if selection.dataset.layer == "quarantine":
        inside |= pl.col(time).is_null()  # a reason to be there
    rows = rows.filter(inside)
    if selection.timeframe is not None:
        rows = rows.filter(pl.col("timeframe") == selection.timeframe.value)
    return rows


def _in_shape(rows: pl.DataFrame, selection: Selection) -> pl.DataFrame:
    schema, time = selection.schema, selection.dataset.time
    if rows.schema == schema and _is_ascending(rows[time]):
        return rows
    missing = [pl.lit(None, dtype).alias(name) for name, dtype in schema.items() if name not in rows.columns]
    order = [pl.col("timeframe").replace_strict(_LENGTHS)] if "timeframe" in schema else []
    sources = [pl.col(name) for name in ("source", "revision") if name in schema]
    return rows.with_columns(missing).select(schema.names()).sort(time, *order, *sources, maintain_order=True)


def _is_ascending(times: pl.Series) -> bool:
    """Whether each is later than the one before: then there is nothing to sort."""
    values = times.to_physical()
    return values.null_count() == 0 and bool((values.slice(1) > values.slice(0, max(len(values) - 1, 0))).all())
