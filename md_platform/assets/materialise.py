"""From a function `Batch -> Parts` to a run's results: group by instrument, write, judge, record, report."""

import datetime as dt
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

import dagster as dg

from md_platform.assets.batch import COMPLETE, OWE_MINUTES, Batch, FileImport, Input, Part
from md_platform.assets.checks import check_results, is_judged
from md_platform.assets.lineage import column_lineage
from md_platform.assets.partition_run import Key, attach_metadata, partition_keys
from md_platform.assets.preview import preview
from md_platform.assets.stores import Stores
from md_platform.assets.storing import store
from md_platform.catalog.ledger import PartitionRecord
from md_platform.domain.instruments import Instrument
from md_platform.domain.intervals import DAY
from md_platform.domain.schemas import TRADE_BARS, Dataset
from md_platform.errors import MdpError, StorageError
from md_platform.quality import MeasuredPartition, Measurement, load_suite, validate
from md_platform.settings import Universe

Make = Callable[[Batch], Iterator[Part]]

_WORKERS = 2
_EVERY_S = 2.0  # what was made reaches the ledger about this often
_ROWS = 100_000  # measured at once, or one partition that has more: enough to be cheap, little enough for the memory
_PREVIEWED = (
    20  # partitions of one run that carry a preview and the lineage of their columns; more would swell the event log
)


@dataclass
class _Recorder:
    """Writes records to the ledger as they come, many at a time; a killed run loses seconds of them, not hours."""

    stores: Stores
    at_most: int = 1_000
    every_s: float = _EVERY_S
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
    proof = [TRADE_BARS] if dataset in OWE_MINUTES and TRADE_BARS not in inputs else []
    known = _inputs(stores, [*inputs, *proof], keys)
    recorder = _Recorder(stores)
    suite = load_suite(dataset.name) if is_judged(dataset) else None
    count = sum(len(dates) for dates in keys.values())

    def one(item: tuple[str, list[dt.date]]) -> list[_Made]:
        instrument, dates = item
        batch = Batch(Instrument.parse(instrument), dates, universe, stores, known, imported)
        made = []
        for parts in _together(_parts(make, batch), _ROWS if suite else 0):
            stored = store(batch, dataset, [each.name for each in inputs], parts, suite)
            for part, (record, measurement) in zip(parts, stored, strict=True):
                identified = replace(record, run_id=context.run_id)
                recorder.add(identified)
                shown = preview(part.frame) if part.frame is not None and count <= _PREVIEWED else None
                made.append(_Made(identified, measurement, shown))
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
    is_made_of_them = inputs and not dataset.by_source  # what is raw comes from outside
    shown = {"dagster/column_lineage": lineage} if count <= _PREVIEWED and is_made_of_them else None
    yield dg.MaterializeResult(metadata=shown)
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
            reason = reason or "; ".join(record.evidence.get("lacks", [])) or None
            is_complete = bool(record.evidence.get(COMPLETE))
            known[dataset.name, instrument, date] = Input(record.status, record.sha256, reason, is_complete)
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


def _together(parts: Iterator[Part], rows: int) -> Iterator[list[Part]]:
    """Parts in lists, each ended by the part that brings it to `rows` rows or makes it `_EVERY_S` old."""
    waiting: list[Part] = []
    since, held = time.monotonic(), 0
    for part in parts:
        waiting.append(part)
        held += 0 if part.frame is None else part.frame.height
        if held >= rows or time.monotonic() - since > _EVERY_S:
            yield waiting
            waiting, since, held = [], time.monotonic(), 0
    if waiting:
        yield waiting
