"""Rows that clients push in; what of them is valid as a file for the import out, the rest with the rule it broke.

The file goes where imported files are watched for, so that Dagster takes its rows through the chain like those of any
source, whether it runs now or later. The same rows pushed again are the same file, which is imported once.
"""

import datetime as dt
import hashlib
import io
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from md_platform.domain.instruments import Instrument
from md_platform.domain.intervals import DAY, UTC, Interval
from md_platform.domain.schemas import INSTANT, RAW_BARS, RAW_TRADES, Dataset
from md_platform.errors import InvalidFile
from md_platform.sources.file_columns import NEEDED, Kind
from md_platform.sources.files import understand
from md_platform.storage.lake import storage_errors
from md_platform.transforms.cleaned import clean_bars, clean_trades
from md_platform.venues.frames import bar_frame, trade_frame
from md_platform.venues.spec import Query

SOURCE = "push"
_NOT_OVER, _BEFORE = "day_not_over", "before_1970"
_OF_TRADES = ("ts_event", "trade_id", "price", "size", "taker_side", "trade_count")
_KEPT_BY_IMPORT = {
    "bars": ("open_time", "open", "high", "low", "close", "volume", "quote_volume", "trade_count", "taker_buy_volume",
             "taker_buy_quote_volume"),
    "trades": ("ts_event", "trade_id", "price", "size", "taker_side"),
}  # fmt: skip
_FIRST = dt.datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Accepted:
    """What came of a push. `rejected` names row numbers (from 0) and rules; `file` is None where nothing was valid."""

    rows: int
    days: tuple[dt.date, ...]
    rejected: tuple[tuple[int, str], ...]
    file: Path | None
    is_new: bool


def accept(rows: pl.DataFrame, kind: Kind, instrument: Instrument, folder: Path, now: dt.datetime) -> Accepted:
    """Validate `rows` by the rules of any source and hand the valid ones to the import in `folder`.

    Columns are those of raw bars or trades, as far as a source gives them. InvalidFile where columns are missing or
    of another type, or where the rows are no 1m bars. Days that are not over are rejected.
    """
    raw = _raw(rows, kind, instrument, now).with_row_index("row")
    cleaned = clean_bars(raw) if kind == "bars" else clean_trades(raw)
    time = _dataset(kind).time
    today = Interval.day(now.date()).start
    rule = pl.when(pl.col(time) >= today).then(pl.lit(_NOT_OVER)).when(pl.col(time) < _FIRST).then(pl.lit(_BEFORE))
    judged = cleaned.kept.with_columns(rule=rule)
    rejected = pl.concat([cleaned.rejected.select("row", "rule"), judged.select("row", "rule")]).drop_nulls("rule")
    valid = judged.filter(pl.col("rule").is_null())
    told = tuple(rejected.sort("row").iter_rows())
    if valid.is_empty():
        return Accepted(0, (), told, None, is_new=False)
    days = tuple(valid[time].dt.date().unique().sort())
    file, is_new = _placed(valid.select(_KEPT_BY_IMPORT[kind]), kind, instrument, folder)
    return Accepted(valid.height, days, told, file, is_new)


def _raw(rows: pl.DataFrame, kind: Kind, instrument: Instrument, now: dt.datetime) -> pl.DataFrame:
    dataset = _dataset(kind)
    time = dataset.time
    if lacking := [name for name in (time, *NEEDED[kind]) if name != "time" and name not in rows.columns]:
        raise InvalidFile(f"{kind} need the columns {' '.join((time, *NEEDED[kind]))}, {' '.join(lacking)} are missing")
    given = rows.select(name for name in dataset.schema if name in rows.columns)
    try:
        typed = given.select(_typed(pl.col(name), given.schema[name], dataset.schema[name]) for name in given.columns)
    except pl.exceptions.PolarsError as error:
        raise InvalidFile(f"a column is not of its type: {str(error).splitlines()[0]}") from None
    query = Query(instrument, Interval(now - DAY, now), SOURCE, now)
    if kind == "bars":
        return bar_frame(typed.drop("instrument", "timeframe", "source", "revision", "known_at", strict=False), query)
    defaults: Mapping[str, Any] = {"taker_side": None, "trade_count": 1}
    missing = [pl.lit(defaults.get(name), dataset.schema[name]).alias(name) for name in _OF_TRADES if name not in given]
    return trade_frame(typed.with_columns(missing).select(_OF_TRADES), query)


def _typed(column: pl.Expr, given: pl.DataType, wanted: pl.DataType) -> pl.Expr:
    """A column as its dataset has it: times without a zone are UTC."""
    if wanted == INSTANT and isinstance(given, pl.Datetime) and given.time_zone is None:
        return column.dt.replace_time_zone("UTC").cast(wanted)
    return column.cast(wanted)


def _placed(rows: pl.DataFrame, kind: Kind, instrument: Instrument, folder: Path) -> tuple[Path, bool]:
    """The file of `rows` where the import finds it, and whether it was not there; InvalidFile where it would not do."""
    content = io.BytesIO()
    rows.write_parquet(content)
    digest = hashlib.sha256(content.getbuffer()).hexdigest()
    target = folder / instrument.id / f"{SOURCE}-{kind}-{digest[:24]}.parquet"
    if target.exists():
        return target, False
    waiting = folder / f".{SOURCE}"  # no instrument's folder: nobody looks into it
    temporary = waiting / f"{digest}.{os.getpid()}.parquet"
    with storage_errors(folder):
        waiting.mkdir(parents=True, exist_ok=True)
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            temporary.write_bytes(content.getbuffer())
            understand(temporary, instrument, kind)
            temporary.replace(target)
        except InvalidFile as error:
            words = str(error).replace(str(temporary), "the request").replace(temporary.name, "the request")
            raise InvalidFile(words) from None
        finally:
            temporary.unlink(missing_ok=True)
    return target, True


def _dataset(kind: Kind) -> Dataset:
    return RAW_BARS if kind == "bars" else RAW_TRADES
