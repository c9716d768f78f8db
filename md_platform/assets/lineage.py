"""Which columns of its inputs a dataset's columns come from, as Dagster's catalogue shows it."""

from collections.abc import Sequence

import dagster as dg

from md_platform.domain.schemas import Dataset

_FROM_TRADES = {
    "open_time": ("ts_event",),
    "open": ("price",),
    "high": ("price",),
    "low": ("price",),
    "close": ("price",),
    "volume": ("size",),
    "quote_volume": ("price", "size"),
    "vwap": ("price", "size"),
    "taker_buy_volume": ("size", "taker_side"),
    "taker_buy_quote_volume": ("price", "size", "taker_side"),
    "known_at": ("ts_received",),
}
"""Columns of bars that trades make under another name."""


def column_lineage(universe: str, dataset: Dataset, inputs: Sequence[Dataset]) -> dg.TableColumnLineage:
    """Each column of `dataset` with the columns of `inputs` it comes from: of its own name, or of the table above."""
    lineage: dict[str, list[dg.TableColumnDep]] = {}
    for column in dataset.columns:
        for upstream in inputs:
            names = [name for name in (column.name, *_FROM_TRADES.get(column.name, ())) if name in upstream.schema]
            key = dg.AssetKey([universe, upstream.name])
            lineage.setdefault(column.name, []).extend(dg.TableColumnDep(key, name) for name in names)
    return dg.TableColumnLineage(lineage)
