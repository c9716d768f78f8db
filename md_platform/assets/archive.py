"""archive_*: what changed in the working layers since it was last archived, into Delta Lake by one commit."""

import datetime as dt
import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

import dagster as dg
import polars as pl

from md_platform.assets.partition_run import Key, attach_metadata, partition_keys
from md_platform.assets.stores import Stores
from md_platform.catalog.ledger import PartitionRecord
from md_platform.catalog.ranges import blocks
from md_platform.domain.intervals import DAY
from md_platform.domain.schemas import Dataset
from md_platform.errors import StorageError
from md_platform.storage.archive import Days

_RUN_ID, _SOURCES = "mdp.run_id", "mdp.sources_sha256"
_ROWS_PER_COMMIT = 4_000_000  # bounds a run's memory to some 2 GiB of indicator columns


def archive(
    context: dg.AssetExecutionContext, stores: Stores, dataset: Dataset
) -> Iterator[dg.MaterializeResult[None]]:
    """Replace in the Delta table of `dataset` every partition whose stored file differs from what was archived."""
    keys = [(instrument, date) for instrument, dates in partition_keys(context).items() for date in dates]
    name = f"archive_{dataset.name}"
    stored, archived = _states(stores, dataset.name, keys), _states(stores, name, keys)
    standing = _standing(stores, dataset, archived.values())
    records: dict[Key, PartitionRecord] = {}
    changed: list[Key] = []
    for key in keys:
        now, before = stored.get(key), archived.get(key)
        if now is None or now.status in ("failed", "pending"):
            reason = f"{dataset.name} is {now.status if now else 'not made yet'}"
            records[key] = PartitionRecord(
                name, *key, status="pending", evidence={"reason": reason}, run_id=context.run_id
            )
        elif before is None or before.sha256 != now.sha256 or not standing(before):
            changed.append(key)
    failed: dict[Key, str] = {}
    for commit in _commits(changed, stored):
        try:
            frame, broken = _readable(stores, dataset, commit)
            failed |= broken
            whole = [key for key in commit if key not in broken]
            if not whole:
                continue
            digest = hashlib.sha256("".join(str(stored[key].sha256) for key in whole).encode()).hexdigest()
            metadata = {_RUN_ID: context.run_id, _SOURCES: digest, "mdp.partitions": str(len(whole))}
            version = stores.archive.replace(dataset.name, frame, dataset.time, list(_rectangles(whole)), metadata)
        except StorageError as error:
            failed |= dict.fromkeys(commit, str(error))
            continue
        for key in whole:
            evidence = {"version": version, "sources_sha256": digest}
            records[key] = replace(stored[key], dataset=name, evidence=evidence, run_id=context.run_id)
        context.log.info("%s: %s partitions in version %s", dataset.name, len(whole), version)
    for key, reason in failed.items():
        records[key] = PartitionRecord(
            name, *key, status="failed", score=0.0, evidence={"error": reason}, run_id=context.run_id
        )
    stores.ledger.record(list(records.values()))
    attach_metadata(context, records)
    if failed and len(failed) == len(changed):
        raise dg.Failure(f"{name} failed: {next(iter(failed.values()))}", allow_retries=False)
    yield dg.MaterializeResult(
        metadata={
            "partitions_committed": len(changed) - len(failed),
            "partitions_failed": len(failed),
            "partitions_unchanged": len(keys) - len(records),
            "version": stores.archive.version(dataset.name),
        }
    )


def _standing(
    stores: Stores, dataset: Dataset, archived: Iterable[PartitionRecord]
) -> Callable[[PartitionRecord], bool]:
    """Whether a record's commit still stands: not in a table that was lost, restored or rolled back since.

    A commit that the log has outlived is taken to stand.
    """
    versions = [record.evidence["version"] for record in archived if "version" in record.evidence]
    newest = stores.archive.version(dataset.name)
    commits = stores.archive.commits(dataset.name, min(versions, default=newest))
    first = min((commit.version for commit in commits), default=0)
    known = {(c.metadata.get(_RUN_ID), c.metadata.get(_SOURCES)) for c in commits if c.stands}

    def stands(record: PartitionRecord) -> bool:
        version = record.evidence.get("version", newest + 1)
        in_log = (record.run_id, record.evidence.get("sources_sha256")) in known
        return bool(version <= newest and (version < first or in_log))

    return stands


def _states(stores: Stores, dataset: str, keys: list[Key]) -> dict[Key, PartitionRecord]:
    dates = [key[1] for key in keys]
    return stores.ledger.states(dataset, {key[0] for key in keys}, min(dates), max(dates) + DAY)


def _readable(stores: Stores, dataset: Dataset, keys: list[Key]) -> tuple[pl.DataFrame | None, dict[Key, str]]:
    """Rows of `keys`, save of those whose file is broken, and what is wrong with each of these."""
    paths = {key: stores.lake.path(dataset, *key) for key in keys}
    try:
        return stores.lake.read(paths.values()), {}
    except StorageError:
        broken = {}
        for key, path in paths.items():
            try:
                stores.lake.read([path])
            except StorageError as error:
                broken[key] = str(error)
        if not broken:
            raise
        return stores.lake.read(path for key, path in paths.items() if key not in broken), broken


def _commits(changed: list[Key], stored: dict[Key, PartitionRecord]) -> Iterator[list[Key]]:
    commit: list[Key] = []
    rows = 0
    for key in changed:
        if commit and rows + stored[key].rows > _ROWS_PER_COMMIT:
            yield commit
            commit, rows = [], 0
        commit.append(key)
        rows += stored[key].rows
    if commit:
        yield commit


def _rectangles(keys: Iterable[Key]) -> Iterator[Days]:
    """The fewest instruments × contiguous days that cover exactly `keys`."""
    spans: dict[tuple[dt.date, dt.date], list[str]] = {}
    days: dict[str, list[dt.date]] = {}
    for instrument, date in keys:
        days.setdefault(instrument, []).append(date)
    for instrument, dates in days.items():
        for span in blocks(dates):
            spans.setdefault(span, []).append(instrument)
    for (first, last), instruments in spans.items():
        yield Days(tuple(instruments), first, last)
