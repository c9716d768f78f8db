"""Live events in, a table of their fields out, times as datetimes: of bars and trades the columns that history has."""

from collections.abc import Sequence
from typing import Any

import msgspec
import polars as pl

from md_platform.client.following import LiveEvent
from md_platform.domain.bars import vwap
from md_platform.domain.events import Bar
from md_platform.domain.schemas import BAR_COLUMNS, INSTANT, TRADE_COLUMNS

_TYPES = {column.name: column.dtype for column in (*TRADE_COLUMNS, *BAR_COLUMNS)}
_TIMES = {name for name, dtype in _TYPES.items() if dtype == INSTANT} | {"at", "start", "end"}


def event_frame(events: Sequence[LiveEvent]) -> pl.DataFrame:
    """One row for each event; events of one channel have the same fields."""
    first = events[0] if events else {}
    if not isinstance(first, msgspec.Struct):
        return pl.DataFrame(list(events), infer_schema_length=None)
    frame = pl.DataFrame([_column(name, events) for name in first.__struct_fields__])
    if not isinstance(first, Bar):
        return frame
    return frame.with_columns(vwap()).select(column.name for column in BAR_COLUMNS)


def _column(name: str, events: Sequence[LiveEvent]) -> pl.Series:
    values: list[Any] = [getattr(event, name) for event in events]
    if name in _TIMES:
        return pl.Series(name, values, pl.Int64).cast(pl.Datetime("ns", "UTC")).cast(INSTANT)
    if name == "trade_id":
        values = list(map(str, values))
    return pl.Series(name, values, _TYPES.get(name), strict=False)
