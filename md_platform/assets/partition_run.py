"""A run's partitions as Dagster knows them: keys in by instrument, metadata out by partition."""

import datetime as dt
from collections.abc import Mapping
from typing import Any

import dagster as dg
from dagster._core.execution.context.metadata_logging import (
    AssetMetadataHandle,
    OutputMetadataAccumulator,
    OutputMetadataHandle,
)

from md_platform.assets.partitions import DATE, SYMBOL
from md_platform.catalog.ledger import PartitionRecord

_EXPLAINED = 200  # partitions of one run whose events carry their evidence; the ledger has it for any number
Key = tuple[str, dt.date]
"""Instrument id and first day of the period."""


def partition_keys(context: dg.AssetExecutionContext) -> dict[str, list[dt.date]]:
    """Dates to make by instrument, in the run's order."""
    by_instrument: dict[str, list[dt.date]] = {}
    for key in context.partition_keys:
        if not isinstance(key, dg.MultiPartitionKey):
            raise TypeError(f"assets here are partitioned by {SYMBOL} and {DATE}, was {key!r}")
        dimensions = key.keys_by_dimension
        by_instrument.setdefault(dimensions[SYMBOL], []).append(dt.date.fromisoformat(dimensions[DATE]))
    return by_instrument


def attach_metadata(
    context: dg.AssetExecutionContext,
    records: Mapping[Key, PartitionRecord],
    more: Mapping[Key, Mapping[str, Any]] | None = None,
) -> None:
    """Show each partition's record, and `more` of it, on its materialization event.

    `context.add_asset_metadata(…, partition_key=…)` does the same for one partition, but enumerates all partitions of
    the run on every call: 1,500 partitions would take longer to describe than to make. So its accumulator is set once.
    """
    evidence = len(records) <= _EXPLAINED
    handles: dict[OutputMetadataHandle | AssetMetadataHandle, Mapping[str, Any]] = {
        AssetMetadataHandle(
            asset_key=context.asset_key, partition_key=dg.MultiPartitionKey({SYMBOL: key[0], DATE: key[1].isoformat()})
        ): {**_metadata(record, evidence=evidence), **(more or {}).get(key, {})}
        for key, record in records.items()
    }
    step = context.get_step_execution_context()
    step._metadata_accumulator = OutputMetadataAccumulator(per_output_metadata=handles)  # noqa: SLF001 - see above


def _metadata(record: PartitionRecord, *, evidence: bool) -> dict[str, Any]:
    shown = {
        "status": record.status,
        "score": record.score,
        "dagster/partition_row_count": record.rows,
        "bytes": record.bytes,
        "first_time": record.first_time and record.first_time.isoformat(),
        "last_time": record.last_time and record.last_time.isoformat(),
        "source": record.source,
        "sha256": record.sha256,
        "evidence": dg.MetadataValue.json(record.evidence) if evidence and record.evidence else None,
    }
    return {name: value for name, value in shown.items() if value is not None}
