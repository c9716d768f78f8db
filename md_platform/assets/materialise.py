"""From a function `Batch -> Parts` to a run's results: group by instrument, write, judge, record, report."""

import datetime as dt
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any, cast

import dagster as dg
import polars as pl

from md_platform.assets.batch import Batch, FileImport, Input, Part
from md_platform.assets.checks import check_results, is_judged
from md_platform.assets.lineage import column_lineage
from md_platform.assets.partition_run import Key, attach_metadata, partition_keys
from md_platform.assets.preview import preview
from md_platform.assets.stores import Stores
from md_platform.catalog.ledger import PartitionRecord
from md_platform.domain.instruments import Instrument
from md_platform.domain.intervals import DAY, Timeframe
from md_platform.domain.schemas import CLEANED_BARS, INSTANT, QUARANTINED_BARS, QUARANTINED_TRADES, Dataset
from md_platform.errors import MdpError, StorageError
from md_platform.quality import (
    CompiledSuite,
    MeasuredPartition,
    Measurement,
    expected_table,
    load_suite,
    missing_ranges,
    score_partition,
    validate,
)
from md_platform.settings import Universe
from md_platform.storage.lake import Lake, Written

Make = Callable[[Batch], Iterator[Part]]

_WORKERS = 2
_PREVIEWED = (
    20  # partitions of one run that carry a preview and the lineage of their columns; more would swell the event log
)


@dataclass
class _Recorder:
    """Writes records to the ledger as they come, many at a time; a killed run loses seconds of them, not hours."""

    stores: Stores
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
        self.stores.lake.settle()
        self.stores.ledger.record(self._waiting)
        self._waiting, self._flushed_at = [], time.monotonic()


def materialise(
    context: dg.AssetExecutionContext,
    stores: Stores,
    universe: Universe,
    dataset: Dataset,
    make: Make,
    inputs: Sequence[Dataset],
    imported: FileImport | None = None,
) -> Iterator[dg.MaterializeResult[None] | dg.AssetCheckResult]:
    """Make every partition of the run, write what changed, record all of them, report to Dagster.

    A partition that fails is recorded as failed and the rest go on; when all fail, so does the run.
    """
    keys = partition_keys(context)
    known = _inputs(stores, inputs, keys)
    recorder = _Recorder(stores)
    suite = load_suite(dataset.name) if is_judged(dataset) else None
    count = sum(len(dates) for dates in keys.values())

    def one(item: tuple[str, list[dt.date]]) -> list[_Made]:
        instrument, dates = item
        batch = Batch(Instrument.parse(instrument), dates, universe, stores, known, imported)
        made = []
        for part in _parts(make, batch):
            record, measurement = _store(batch, dataset, [each.name for each in inputs], part, suite)
            record = replace(record, run_id=context.run_id)
            recorder.add(record)
            shown = preview(part.frame) if part.frame is not None and count <= _PREVIEWED else None
            made.append(_Made(record, measurement, shown))
        return made

    with ThreadPoolExecutor(_WORKERS) as pool:
        made = [each for parts in pool.map(one, keys.items()) for each in parts]
    recorder.close()
    attach_metadata(context, {_key(each): each.record for each in made}, {_key(each): each.metadata for each in made})
    statuses = Counter(each.record.status for each in made)
    context.log.info("%s: %s", dataset.name, ", ".join(f"{n} {status}" for status, n in statuses.items()))
    unmade = [each.record for each in made if "error" in each.record.evidence]
    if len(unmade) == len(made):
        raise dg.Failure(f"{dataset.name} failed: {unmade[0].evidence['error']}", allow_retries=False)
    lineage = column_lineage(universe.name, dataset, inputs)
    yield dg.MaterializeResult(metadata={"dagster/column_lineage": lineage} if count <= _PREVIEWED and inputs else None)
    measured = [MeasuredPartition(*_key(each), each.measurement) for each in made if each.measurement is not None]
    if suite is not None:
        yield from check_results(validate(suite, measured, run_id=context.run_id, docs=stores.reports / context.run_id))
    if statuses["failed"] == len(made):
        raise dg.Failure(
            f"{dataset.name}: every partition breaks an expectation of severity error", allow_retries=False
        )


@dataclass(frozen=True)
class _Made:
    """One partition as it was written and measured."""

    record: PartitionRecord
    measurement: Measurement | None
    preview: dg.MarkdownMetadataValue | None

    @property
    def metadata(self) -> dict[str, Any]:
        return {"preview": self.preview} if self.preview else {}


def _key(made: _Made) -> Key:
    return made.record.instrument, made.record.date


def _inputs(
    stores: Stores, inputs: Sequence[Dataset], keys: Mapping[str, list[dt.date]]
) -> dict[tuple[str, str, dt.date], Input]:
    dates = [date for days in keys.values() for date in days]
    known = {}
    for dataset in inputs:
        for (instrument, date), record in stores.ledger.states(
            dataset.name, keys, min(dates), max(dates) + DAY
        ).items():
            reason = record.evidence.get("error") or record.evidence.get("reason")
            known[dataset.name, instrument, date] = Input(record.status, record.sha256, reason)
    return known


def _parts(make: Make, batch: Batch) -> Iterator[Part]:
    """Parts of `batch`; an error that the platform raises on purpose fails the days that are still to come.

    Where a stored file cannot be read, those days are made one by one, so that only those fail which need it.
    """
    made = set()
    try:
        for part in make(batch):
            made.add(part.date)
            yield part
    except MdpError as error:
        left = [date for date in batch.dates if date not in made]
        if isinstance(error, StorageError) and len(left) > 1:
            for date in left:
                yield from _parts(make, replace(batch, dates=[date]))
        else:
            yield from (Part(date, failure=str(error)) for date in left)


def _store(
    batch: Batch, dataset: Dataset, inputs: Sequence[str], part: Part, suite: CompiledSuite | None
) -> tuple[PartitionRecord, Measurement | None]:
    """Write the rows and the rejects of `part`, measure them, and say what the ledger should know."""
    instrument, lake = batch.instrument.id, batch.stores.lake
    record = PartitionRecord(dataset.name, instrument, part.date, "pending", source=part.source)
    if part.failure is not None:
        return replace(record, status="failed", score=0.0, evidence={"error": part.failure}), None
    if part.pending is not None:
        return replace(record, evidence={"reason": part.pending}), None
    try:
        written = _write(lake, dataset, instrument, part)
        quarantined = _quarantine(lake, instrument, part)
    except StorageError as error:
        return replace(record, status="failed", score=0.0, evidence={"error": str(error)}), None
    hashes = {name: known.sha256 for name in inputs if (known := batch.inputs.get((name, instrument, part.date)))}
    evidence: dict[str, Any] = {**part.evidence, **({"inputs": hashes} if hashes else {}), **quarantined}
    if written is not None and part.frame is not None:
        record = replace(record, status="ok", rows=written.rows, bytes=written.bytes, sha256=written.sha256)
        times = part.frame[dataset.time]
        first, last = cast("tuple[dt.datetime, dt.datetime]", (times.min(), times.max()))
        record = replace(record, first_time=first, last_time=last)
    if suite is None:
        return replace(record, status="ok" if written else "missing", evidence=evidence), None
    expected = expected_table(dataset.name, batch.universe.calendar, part.date)
    measurement = suite.measure(part.frame if written else None, expected)
    score = score_partition(measurement, sum(quarantined.get("quarantined", {}).values()))
    evidence |= {"expected": measurement.expected, "missing": measurement.missing} | (
        {"violations": measurement.evidence()} if measurement.broken else {}
    )
    if dataset is CLEANED_BARS and measurement.missing:
        present = part.frame["open_time"] if part.frame is not None else pl.Series([], dtype=INSTANT)
        evidence["gaps"] = [gap.evidence() for gap in missing_ranges(present, expected["open_time"], Timeframe.M1)]
    return replace(record, status=score.status, score=score.score, evidence=evidence), measurement


def _write(lake: Lake, dataset: Dataset, instrument: str, part: Part) -> Written | None:
    if dataset.by_source and part.source is None:
        return None
    path = lake.path(dataset, instrument, part.date, part.source)
    if part.frame is None or part.frame.is_empty():
        lake.remove(path)
        return None
    return lake.write(path, part.frame)


def _quarantine(lake: Lake, instrument: str, part: Part) -> dict[str, Any]:
    """Write the rejected rows beside the layers; how many broke which rule, as evidence."""
    if part.rejected is None:
        return {}
    dataset = QUARANTINED_BARS if "open_time" in part.rejected.columns else QUARANTINED_TRADES
    path = lake.path(dataset, instrument, part.date)
    if part.rejected.is_empty():
        lake.remove(path)
        return {}
    lake.write(path, part.rejected)
    return {"quarantined": dict(sorted(Counter(part.rejected["rule"].to_list()).items()))}
