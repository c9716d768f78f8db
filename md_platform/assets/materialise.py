"""From a function `Batch -> Parts` to a run's results: group by instrument, write, judge, record, report."""

import datetime as dt
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import dagster as dg
import polars as pl

from md_platform.assets.batch import Batch, FileImport, Input, Part
from md_platform.assets.partition_run import Key, attach_metadata, partition_keys
from md_platform.assets.preview import preview
from md_platform.assets.stores import Stores
from md_platform.catalog.ledger import Ledger, PartitionRecord
from md_platform.domain.instruments import Instrument
from md_platform.domain.intervals import DAY
from md_platform.domain.schemas import QUARANTINED_BARS, QUARANTINED_TRADES, Dataset
from md_platform.errors import MdpError
from md_platform.settings import Universe

Make = Callable[[Batch], Iterator[Part]]

_WORKERS = 2
_PREVIEWED = 20  # partitions of one run that carry a preview; more would swell the event log


@dataclass
class _Recorder:
    """Writes records to the ledger as they come, many at a time; a killed run loses seconds of them, not hours."""

    ledger: Ledger
    at_most: int = 1_000
    every_s: float = 2.0
    _waiting: list[PartitionRecord] = field(default_factory=list)
    _flushed_at: float = field(default_factory=time.monotonic)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, record: PartitionRecord) -> None:
        with self._lock:
            self._waiting.append(record)
            if len(self._waiting) >= self.at_most or time.monotonic() - self._flushed_at > self.every_s:
                self._flush()

    def close(self) -> None:
        with self._lock:
            self._flush()

    def _flush(self) -> None:
        self.ledger.record(self._waiting)
        self._waiting, self._flushed_at = [], time.monotonic()


def materialise(
    context: dg.AssetExecutionContext,
    stores: Stores,
    universe: Universe,
    dataset: Dataset,
    make: Make,
    inputs: Sequence[Dataset],
    imported: FileImport | None = None,
) -> Iterator[dg.MaterializeResult | dg.AssetCheckResult]:
    """Make every partition of the run, write what changed, record all of them, report to Dagster.

    A partition that fails is recorded as failed and the rest go on; when all fail, so does the run.
    """
    keys = partition_keys(context)
    known = _inputs(stores, inputs, keys)
    recorder = _Recorder(stores.ledger)
    count = sum(len(dates) for dates in keys.values())

    def one(item: tuple[str, list[dt.date]]) -> list[tuple[PartitionRecord, dict[str, Any]]]:
        instrument, dates = item
        batch = Batch(Instrument.parse(instrument), dates, universe, stores, known, imported)
        made = []
        for part in _parts(make, batch):
            record = _written(batch, dataset, part, context.run_id)
            recorder.add(record)
            shown = {"preview": preview(part.frame)} if part.frame is not None and count <= _PREVIEWED else {}
            made.append((record, shown))
        return made

    with ThreadPoolExecutor(_WORKERS) as pool:
        made = [each for parts in pool.map(one, keys.items()) for each in parts]
    recorder.close()
    records = {(record.instrument, record.date): record for record, _ in made}
    attach_metadata(context, records, {(record.instrument, record.date): shown for record, shown in made})
    statuses = Counter(record.status for record in records.values())
    context.log.info("%s: %s", dataset.name, ", ".join(f"{n} {status}" for status, n in statuses.items()))
    if statuses["failed"] == len(records):
        first = next(iter(records.values()))
        raise dg.Failure(f"{dataset.name} failed: {first.evidence['error']}", allow_retries=False)
    yield dg.MaterializeResult()


def _inputs(stores: Stores, inputs: Sequence[Dataset], keys: Mapping[str, list[dt.date]]) -> dict[tuple[str, str, dt.date], Input]:
    dates = [date for days in keys.values() for date in days]
    known = {}
    for dataset in inputs:
        for (instrument, date), record in stores.ledger.states(dataset.name, keys, min(dates), max(dates) + DAY).items():
            reason = record.evidence.get("error") or record.evidence.get("reason")
            known[dataset.name, instrument, date] = Input(record.status, record.sha256, reason)
    return known


def _parts(make: Make, batch: Batch) -> Iterator[Part]:
    """Parts of `batch`; an error that the platform raises on purpose fails the days that are still to come."""
    made = set()
    try:
        for part in make(batch):
            made.add(part.date)
            yield part
    except MdpError as error:
        yield from (Part(date, failure=str(error)) for date in batch.dates if date not in made)


def _written(batch: Batch, dataset: Dataset, part: Part, run_id: str) -> PartitionRecord:
    instrument, lake = batch.instrument.id, batch.stores.lake
    inputs = {name: i.sha256 for (name, of, date), i in batch.inputs.items() if of == instrument and date == part.date}
    evidence: dict[str, Any] = {**part.evidence, "inputs": inputs} if inputs else dict(part.evidence)
    if part.failure is not None:
        return PartitionRecord(dataset.name, instrument, part.date, "failed", evidence={"error": part.failure}, run_id=run_id)
    if part.pending is not None:
        return PartitionRecord(dataset.name, instrument, part.date, "pending", evidence={"reason": part.pending}, run_id=run_id)
    path = lake.path(dataset, instrument, part.date, part.source)
    if part.frame is None or part.frame.is_empty():
        if part.source is not None or not dataset.by_source:
            lake.remove(path)
        return PartitionRecord(dataset.name, instrument, part.date, "missing", evidence=evidence, source=part.source, run_id=run_id)
    written = lake.write(path, part.frame)
    return PartitionRecord(
        dataset.name, instrument, part.date, "ok", written.rows, written.bytes,
        part.frame[dataset.time].min(), part.frame[dataset.time].max(), part.source, written.sha256, None, evidence, run_id,
    )
