"""Parts in; their files, their rejects, and what the ledger should know of each out."""

import datetime as dt
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

import polars as pl

from md_platform.assets.batch import OWE_MINUTES, Batch, Part
from md_platform.catalog.ledger import USABLE, PartitionRecord, Status
from md_platform.domain.intervals import Timeframe
from md_platform.domain.schemas import CLEANED_BARS, INSTANT, QUARANTINED_BARS, QUARANTINED_TRADES, Dataset
from md_platform.errors import StorageError
from md_platform.quality import (
    CompiledSuite,
    Measurement,
    expected_table,
    missing_ranges,
    owed_by_trades,
    score_partition,
)
from md_platform.storage.lake import Lake, Written


def store(
    batch: Batch, dataset: Dataset, inputs: Sequence[str], parts: Sequence[Part], suite: CompiledSuite | None
) -> list[tuple[PartitionRecord, Measurement | None]]:
    """Write the rows and the rejects of each part, measure them all, and say what the ledger should know of each."""
    records = [_written(batch, dataset, inputs, part) for part in parts]
    stored: list[tuple[PartitionRecord, Measurement | None]] = [(record, None) for record in records]
    if suite is None:
        return stored
    judged = [n for n, record in enumerate(records) if record.status in (*USABLE, "missing")]
    expected = [_expected(batch, dataset, parts[n].date) for n in judged]
    frames = [parts[n].frame if records[n].status in USABLE else None for n in judged]
    for n, frame, wanted, measurement in zip(
        judged, frames, expected, suite.measure_all(frames, expected), strict=True
    ):
        stored[n] = _scored(dataset, records[n], frame, wanted, measurement), measurement
    return stored


def _expected(batch: Batch, dataset: Dataset, date: dt.date) -> pl.DataFrame:
    expected = expected_table(dataset.name, batch.universe.calendar, date)
    traded = batch.traded_minutes(date) if dataset in OWE_MINUTES else None
    return expected if traded is None else owed_by_trades(expected, traded)


def _written(batch: Batch, dataset: Dataset, inputs: Sequence[str], part: Part) -> PartitionRecord:
    """Write one part, and say its state.

    ok where its rows are stored (degraded where it lacks some), missing where it has none, else failed or pending.
    """
    instrument, lake = batch.instrument.id, batch.stores.lake
    record = PartitionRecord(dataset.name, instrument, part.date, "pending", source=part.source)
    if part.failure is not None:
        return replace(record, status="failed", score=0.0, evidence={"error": part.failure})
    if part.pending is not None:
        return replace(record, evidence={"reason": part.pending})
    try:
        written = _write(lake, dataset, instrument, part)
        quarantined = _quarantine(lake, instrument, part)
    except StorageError as error:
        return replace(record, status="failed", score=0.0, evidence={"error": str(error)})
    hashes = {name: known.sha256 for name in inputs if (known := batch.inputs.get((name, instrument, part.date)))}
    lacks = {"lacks": list(part.lacks)} if part.lacks else {}
    evidence = {**part.evidence, **({"inputs": hashes} if hashes else {}), **quarantined, **lacks}
    record = replace(record, status="missing", evidence=evidence)
    if written is None or part.frame is None:
        return record
    status: Status = "degraded" if part.lacks else "ok"
    record = replace(record, status=status, rows=written.rows, bytes=written.bytes, sha256=written.sha256)
    times = part.frame[dataset.time]
    first, last = cast("tuple[dt.datetime, dt.datetime]", (times.min(), times.max()))
    return replace(record, first_time=first, last_time=last)


def _scored(
    dataset: Dataset, record: PartitionRecord, frame: pl.DataFrame | None, expected: pl.DataFrame, measured: Measurement
) -> PartitionRecord:
    """The record of a written partition with what its measurement makes of it."""
    score = score_partition(measured, sum(record.evidence.get("quarantined", {}).values()))
    evidence = {**record.evidence, "expected": measured.expected, "missing": measured.missing}
    if measured.broken:
        evidence["violations"] = measured.evidence()
    if dataset is CLEANED_BARS and measured.missing:
        present = frame["open_time"] if frame is not None else pl.Series([], dtype=INSTANT)
        evidence["gaps"] = [gap.evidence() for gap in missing_ranges(present, expected["open_time"], Timeframe.M1)]
    status = record.status if score.status == "ok" else score.status
    return replace(record, status=status, score=score.score, evidence=evidence)


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
