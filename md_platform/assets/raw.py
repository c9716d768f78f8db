"""raw_bars, raw_trades: a source's rows of one day, merged with what is stored of them, every revision kept."""

import datetime as dt
from collections.abc import Callable, Iterator

import polars as pl

from md_platform.assets.batch import Batch, FileImport, Part, by_day
from md_platform.domain.instruments import Instrument
from md_platform.domain.intervals import Interval
from md_platform.domain.schemas import RAW_BARS, RAW_TRADES, Dataset
from md_platform.errors import NotServed, SourceError
from md_platform.sources import files
from md_platform.sources.file_columns import Kind
from md_platform.sources.history import Fetched
from md_platform.transforms.revisions import merge_bars, merge_trades

Fetch = Callable[[Instrument, Interval], Fetched]
Merge = Callable[[pl.DataFrame | None, pl.DataFrame], pl.DataFrame]


def raw_bars(batch: Batch) -> Iterator[Part]:
    """Fetch 1m bars day by day from the first source that delivers, or take them from the files to import."""
    return _raw(batch, RAW_BARS, batch.stores.sources.bars, merge_bars)


def raw_trades(batch: Batch) -> Iterator[Part]:
    """Fetch trades day by day from the first source that delivers, or take them from the files to import."""
    return _raw(batch, RAW_TRADES, batch.stores.sources.trades, merge_trades)


def _raw(batch: Batch, dataset: Dataset, fetch: Fetch, merge: Merge) -> Iterator[Part]:
    if batch.imported is not None:
        return _imported(batch, batch.imported, dataset, merge)
    return (_fetched(batch, dataset, date, fetch, merge) for date in batch.dates)


def _fetched(batch: Batch, dataset: Dataset, date: dt.date, fetch: Fetch, merge: Merge) -> Part:
    lake = batch.stores.lake
    try:
        fetched = fetch(batch.instrument, Interval.day(date))
    except SourceError as error:
        stored = lake.sources(dataset, batch.instrument.id, date)
        if not stored and isinstance(error, NotServed):
            return Part(date, evidence={"empty": str(error)})
        if not stored:
            return Part(date, failure=str(error))
        kept = lake.read([lake.path(dataset, batch.instrument.id, date, stored[0])])
        return Part(date, kept, source=stored[0], evidence={"kept": f"what is stored, because {error}"})
    path = lake.path(dataset, batch.instrument.id, date, fetched.source)
    attempts = [f"{attempt.source}: {attempt.error or 'delivered'}" for attempt in fetched.attempts]
    evidence = {"attempts": attempts, "requests": fetched.requests, "bytes_received": fetched.bytes}
    return Part(date, merge(lake.read([path]), fetched.frame), source=fetched.source, evidence=evidence)


def _imported(batch: Batch, wanted: FileImport, dataset: Dataset, merge: Merge) -> Iterator[Part]:
    kind: Kind = "bars" if dataset is RAW_BARS else "trades"
    now = dt.datetime.now(dt.UTC)
    frames = []
    for file in wanted.files:
        plan = files.understand(file, batch.instrument, kind, wanted.time_unit, wanted.columns)
        frames.append(files.read(plan, batch.instrument, now))
    names = [file.name for file in wanted.files]
    for date, frame in by_day(pl.concat(frames), dataset.time, batch.dates):
        path = batch.stores.lake.path(dataset, batch.instrument.id, date, files.SOURCE)
        yield Part(date, merge(batch.stores.lake.read([path]), frame), source=files.SOURCE, evidence={"files": names})
