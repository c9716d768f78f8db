"""Columns of a payload in, frames of the stored schema out. Values are not judged here: the rules do that.

A cell that is no number becomes null, so that the row goes to quarantine; a payload that is not rows at all is
MalformedPayload.
"""

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
import polars as pl

from md_platform.domain.bars import vwap
from md_platform.domain.intervals import UTC
from md_platform.domain.schemas import INSTANT, RAW_BARS, RAW_TRADES
from md_platform.errors import MalformedPayload
from md_platform.venues.spec import Query

_SHOWN = 120
_PER_SECOND = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}
_YEAR_2200_S = 7_258_118_400


def decoded(payload: bytes, venue: str) -> Any:  # noqa: ANN401 - a payload may be anything, which callers test
    """The JSON value of `payload`; MalformedPayload where it is not JSON."""
    try:
        return msgspec.json.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedPayload(f"{venue} must answer JSON ({error}), was {payload[:_SHOWN]!r}") from None


def not_the_protocol(venue: str, expected: str, value: object) -> MalformedPayload:
    """The error for a payload that is JSON and yet not what the protocol says."""
    return MalformedPayload(f"{venue} must answer {expected}, was {repr(value)[:_SHOWN]}")


def table(rows: object, names: Sequence[str], venue: str) -> pl.DataFrame:
    """Rows that are arrays of at least `names` cells, as a frame of text columns; MalformedPayload otherwise."""
    if not isinstance(rows, list) or not all(isinstance(row, list) and len(row) >= len(names) for row in rows):
        raise not_the_protocol(venue, f"rows of {len(names)} cells ({' '.join(names)})", rows)
    columns: Iterable[Sequence[object]] = zip(*rows, strict=False) if rows else [()] * len(names)
    return texts(dict(zip(names, columns, strict=False)))


def records(rows: object, names: Sequence[str], venue: str) -> pl.DataFrame:
    """Rows that are objects with the keys `names`, as a frame of text columns; MalformedPayload otherwise."""
    if not isinstance(rows, list) or not all(isinstance(row, dict) and row.keys() >= set(names) for row in rows):
        raise not_the_protocol(venue, f"objects with {' '.join(names)}", rows)
    return texts({name: [row[name] for row in rows] for name in names})


def texts(columns: Mapping[str, Sequence[object]]) -> pl.DataFrame:
    """Columns of JSON values as text columns: numbers and booleans as JSON writes them, null for what has parts."""
    return pl.DataFrame({name: pl.Series(name, list(map(_text, cells)), pl.String) for name, cells in columns.items()})


def _text(cell: object) -> str | None:
    if isinstance(cell, str):
        return cell
    return str(cell) if isinstance(cell, (int, float)) else None


def number(name: str) -> pl.Expr:
    """Text column as Float64, null where a cell is no number."""
    return pl.col(name).str.strip_chars().cast(pl.Float64, strict=False)


def whole(name: str) -> pl.Expr:
    """Text column as Int64, null where a cell is no whole number."""
    return pl.col(name).str.strip_chars().cast(pl.Int64, strict=False)


def instant(ticks: pl.Expr, unit: str) -> pl.Expr:
    """Whole epochs of `unit` (s, ms, us or ns) as instants; null outside of the years 1970 to 2199."""
    per_second = _PER_SECOND[unit]
    micros = ticks // 1_000 if unit == "ns" else ticks * (1_000_000 // per_second)
    seconds = ticks // per_second
    return pl.when(seconds.is_between(0, _YEAR_2200_S - 1)).then(micros).cast(INSTANT)


def iso_instant(name: str) -> pl.Expr:
    """Text column of ISO 8601 UTC times ("...Z", up to ns) as instants, null where a cell is none."""
    text = pl.col(name).str.extract(r"^(\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(?:\.\d{1,9})?)Z$")
    return text.str.to_datetime("%Y-%m-%dT%H:%M:%S%.f", time_unit="us", time_zone="UTC", strict=False)


def epoch(moment: dt.datetime, unit: str) -> int:
    """Whole `unit`s (s, ms, us or ns) from the epoch to `moment` (UTC), rounded down."""
    micros = (moment - dt.datetime(1970, 1, 1, tzinfo=UTC)) // dt.timedelta(microseconds=1)
    return micros * _PER_SECOND[unit] // 1_000_000


def latest(frame: pl.DataFrame, column: str) -> dt.datetime | None:
    """The newest time in `column`, None where there is none."""
    newest = frame[column].max()
    return newest if isinstance(newest, dt.datetime) else None


def bar_frame(raw: pl.DataFrame, query: Query) -> pl.DataFrame:
    """`raw` (open_time and the values that the source gives, typed) as RAW_BARS rows, first sight of each.

    `close_time` is open_time + timeframe: some sources end a bar early or late around an outage, which says nothing of
    the grid. Values that the source does not give are null; vwap is quote_volume / volume unless it gives its own.
    """
    missing = [name for name in RAW_BARS.schema if name not in raw.columns]
    frame = raw.with_columns(pl.lit(None, RAW_BARS.schema[name]).alias(name) for name in missing)
    frame = frame.with_columns(
        pl.lit(query.instrument.id).alias("instrument"),
        pl.lit(query.timeframe.value).alias("timeframe"),
        pl.lit(query.source).alias("source"),
        pl.lit(0, pl.Int64).alias("revision"),
        pl.lit(query.received).cast(INSTANT).alias("known_at"),
        pl.col("open_time").dt.offset_by(query.timeframe.polars_every).alias("close_time"),
        *([vwap()] if "vwap" in missing else []),
    )
    closed = pl.col("close_time") <= pl.col("known_at")
    return frame.with_columns(closed.fill_null(value=True).alias("is_closed")).select(
        pl.col(name).cast(dtype) for name, dtype in RAW_BARS.schema.items()
    )


def trade_frame(raw: pl.DataFrame, query: Query) -> pl.DataFrame:
    """`raw` (ts_event, trade_id, price, size, taker_side, trade_count) as RAW_TRADES rows."""
    return raw.with_columns(
        pl.lit(query.instrument.id).alias("instrument"),
        pl.lit(query.source).alias("source"),
        pl.lit(query.received).cast(INSTANT).alias("ts_received"),
    ).select(pl.col(name).cast(dtype) for name, dtype in RAW_TRADES.schema.items())
