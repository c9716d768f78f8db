"""raw_bars, raw_trades: a source's rows of one day, merged with what is stored of them, every revision kept."""

import datetime as dt
from collections.abc import Callable, Iterator

import polars as pl

from md_platform.assets.batch import Batch, Part
from md_platform.domain.intervals import Interval
from md_platform.domain.schemas import RAW_BARS, RAW_TRADES, Dataset
from md_platform.errors import SourceError
from md_platform.sources.history import Fetched
from md_platform.transforms.revisions import merge_bars, merge_trades


def raw_bars(batch: Batch) -> Iterator[Part]:
    """Fetch 1m bars day by day from the first source that delivers."""
    for date in batch.dates:
        yield _day(batch, RAW_BARS, date, lambda day: batch.stores.sources.bars(batch.instrument, day), merge_bars)


def raw_trades(batch: Batch) -> Iterator[Part]:
    """Fetch trades day by day from the first source that delivers."""
    for date in batch.dates:
        yield _day(batch, RAW_TRADES, date, lambda day: batch.stores.sources.trades(batch.instrument, day), merge_trades)


def _day(
    batch: Batch,
    dataset: Dataset,
    date: dt.date,
    fetch: Callable[[Interval], Fetched],
    merge: Callable[[pl.DataFrame | None, pl.DataFrame], pl.DataFrame],
) -> Part:
    lake = batch.stores.lake
    try:
        fetched = fetch(Interval.day(date))
    except SourceError as error:
        stored = lake.sources(dataset, batch.instrument.id, date)
        if not stored:
            return Part(date, failure=str(error))
        kept = lake.read([lake.path(dataset, batch.instrument.id, date, stored[0])])
        return Part(date, kept, source=stored[0], evidence={"kept": f"what is stored, because {error}"})
    path = lake.path(dataset, batch.instrument.id, date, fetched.source)
    attempts = [f"{attempt.source}: {attempt.error or 'delivered'}" for attempt in fetched.attempts]
    evidence = {"attempts": attempts, "requests": fetched.requests, "bytes_received": fetched.bytes}
    return Part(date, merge(lake.read([path]), fetched.frame), source=fetched.source, evidence=evidence)
