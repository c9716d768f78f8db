"""Imported files in, raw bars or trades out: `understand` says what a file holds, `read` gives its rows.

What is understood can be shown before anything is stored. Rows that cannot be read are counted and kept with nulls, so
that they reach quarantine; nothing is dropped but rows without any value.
"""

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl

from md_platform.domain.instruments import Instrument
from md_platform.domain.intervals import Interval, Timeframe
from md_platform.domain.schemas import RAW_BARS, RAW_TRADES
from md_platform.errors import InvalidFile, UnknownInstrument
from md_platform.sources.fetch import utc_now
from md_platform.sources.file_columns import BOOLEANS, BUYS, NEEDED, SELLS, Kind, meaning_of
from md_platform.sources.file_tables import Table, files_in, tables_of
from md_platform.sources.file_times import Times, read_times
from md_platform.venues.frames import bar_frame, trade_frame
from md_platform.venues.spec import Query

SOURCE = "import"
_SAMPLE_ROWS = 5
_STEP_SHARE = 0.1
_NUMBERS = (
    "open",
    "high",
    "low",
    "close",
    "volume",
    "quote_volume",
    "taker_buy_volume",
    "taker_buy_quote_volume",
    "vwap",
)


@dataclass(frozen=True, slots=True)
class FilePart:
    """One table of the import: where it is and how it was understood."""

    path: Path
    name: str
    format: str
    columns: Mapping[str, str]
    time_unit: str
    rows: int
    delimiter: str | None = None
    has_header: bool = True


@dataclass(frozen=True, slots=True)
class FilePlan:
    """What `understand` found: enough to show to a user, and for `read`.

    `unreadable` counts rows without a readable time or a needed number. `first` and `last` are inclusive.
    """

    path: Path
    instrument: str
    kind: Kind
    parts: tuple[FilePart, ...]
    rows: int
    unreadable: int
    first: dt.datetime
    last: dt.datetime
    days: tuple[dt.date, ...]
    sample: tuple[Mapping[str, Any], ...]
    warnings: tuple[str, ...]

    @property
    def time_units(self) -> tuple[str, ...]:
        """Units of time found, each once."""
        return tuple(dict.fromkeys(part.time_unit for part in self.parts))


def understand(
    path: Path,
    instrument: Instrument,
    kind: Kind | None = None,
    time_unit: str | None = None,
    columns: Mapping[str, str] | None = None,
    *,
    now: dt.datetime | None = None,
) -> FilePlan:
    """What the file or folder at `path` holds for `instrument`.

    `kind`, `time_unit` and `columns` (ours to theirs) override detection. InvalidFile where it cannot be imported: not
    whole, columns or units that cannot be understood, times in the future, bars that are not 1m. UnknownInstrument
    where it says that it holds another symbol.
    """
    wish = _Wish(instrument, now or utc_now(), kind, time_unit, columns)
    parts: list[FilePart] = []
    frames: list[pl.DataFrame] = []
    warnings: list[str] = []
    for file in files_in(path):
        for table in tables_of(file):
            part, frame, kind = _understood(file, table, wish, warnings)
            wish = replace(wish, kind=kind)
            parts.append(part)
            frames.append(frame)
    if kind is None:
        raise InvalidFile(f"{path} holds no table")
    frame = pl.concat(frames)
    times = frame[_time(kind)]
    if kind == "bars":
        _require_1m(path, times, warnings)
    key = "open_time" if kind == "bars" else "trade_id"
    if repeated := len(times) - frame[key].n_unique():
        warnings.append(f"{repeated} rows repeat a {key} that another row has")
    first, last = times.min(), times.max()
    if not isinstance(first, dt.datetime) or not isinstance(last, dt.datetime):
        raise InvalidFile(f"{path} holds no row with a time")
    broken = int(frame.select(pl.any_horizontal(pl.col(*_checked(kind)).is_null())).to_series().sum())
    if broken:
        warnings.append(f"{broken} of {frame.height} rows cannot be read whole: they will be quarantined")
    days = times.dt.date().drop_nulls().unique().sort().to_list()
    sample = tuple(frame.head(_SAMPLE_ROWS).to_dicts())
    return FilePlan(
        path, instrument.id, kind, tuple(parts), frame.height, broken, first, last, tuple(days), sample,
        tuple(dict.fromkeys(warnings)),
    )  # fmt: skip


def read(plan: FilePlan, instrument: Instrument, now: dt.datetime) -> pl.DataFrame:
    """Rows of `plan` in the raw schema, source `import`, in the order of the files, known at `now`."""
    query = _Wish(instrument, now, plan.kind, None, None).query
    return pl.concat(list(_frames(plan, query)))


def _frames(plan: FilePlan, query: Query) -> Iterator[pl.DataFrame]:
    by_name = {(part.path, part.name): part for part in plan.parts}
    for file in dict.fromkeys(part.path for part in plan.parts):
        for table in tables_of(file):
            part = by_name.get((file, table.name))
            if part is None or table.frame.height != part.rows:
                raise InvalidFile(f"{file} changed since it was looked at: look again")
            times = read_times(table.frame[part.columns["time"]], part.time_unit)
            yield _raw_frame(table, plan.kind, part.columns, times, query)


@dataclass(frozen=True, slots=True)
class _Wish:
    """What the user said of the files."""

    instrument: Instrument
    now: dt.datetime
    kind: Kind | None
    time_unit: str | None
    columns: Mapping[str, str] | None

    @property
    def query(self) -> Query:
        """Whose rows these are, known when. Files are taken whole: the interval plays no part."""
        return Query(self.instrument, Interval(self.now - dt.timedelta(days=1), self.now), SOURCE, self.now)


def _understood(file: Path, table: Table, wish: _Wish, warnings: list[str]) -> tuple[FilePart, pl.DataFrame, Kind]:
    if table.frame.is_empty():
        raise InvalidFile(f"{table.name} holds no rows")
    meaning = meaning_of(table, wish.kind, wish.columns)
    _require_symbol(table, meaning.columns, wish.instrument)
    try:
        times = read_times(table.frame[meaning.columns["time"]], wish.time_unit)
    except InvalidFile as error:
        raise InvalidFile(f"{table.name}: {error}") from None
    if not times.is_zoned:
        warnings.append(f"times of column {meaning.columns['time']!r} name no time zone: taken as UTC")
    late = times.instants.filter(times.instants > wish.now)
    if late.len():
        raise InvalidFile(
            f"{table.name}: {late.len()} rows lie in the future, the first at {late.sort()[0]}: is the time unit right?"
        )
    frame = _raw_frame(table, meaning.kind, meaning.columns, times, wish.query)
    for name in NEEDED[meaning.kind]:
        if name != "time" and frame[name].null_count() == frame.height:
            raise InvalidFile(f"{table.name}: column {meaning.columns[name]!r} holds no numbers for {name}")
    if meaning.kind == "trades":
        if "trade_id" not in meaning.columns:
            warnings.append("trades bear no ids: ids are made from time and order")
        if nameless := frame["taker_side"].null_count():
            warnings.append(f"{nameless} trades do not name the taker's side")
    part = FilePart(
        file,
        table.name,
        table.format,
        meaning.columns,
        times.unit,
        table.frame.height,
        table.delimiter,
        table.has_header,
    )
    return part, frame, meaning.kind


def _require_symbol(table: Table, columns: Mapping[str, str], instrument: Instrument) -> None:
    if "symbol" not in columns:
        return
    names = {instrument.id, instrument.symbol, instrument.ccxt, instrument.native, instrument.base + instrument.quote}
    found = table.frame[columns["symbol"]].cast(pl.String).drop_nulls().unique().sort().to_list()
    others = [name for name in found if name.upper() not in {known.upper() for known in names}]
    if others:
        raise UnknownInstrument(f"{table.name} holds {' '.join(others[:5])}, which is not {instrument.id}")


def _require_1m(path: Path, times: pl.Series, warnings: list[str]) -> None:
    """Bars must be 1m: the shortest step that a tenth of the rows keep says what they are."""
    steps = times.drop_nulls().unique().sort().diff().drop_nulls().dt.total_seconds()
    if steps.is_empty():
        warnings.append("one bar tells no timeframe: taken as 1m")
        return
    counts = steps.alias("step").value_counts().filter(pl.col("count") >= _STEP_SHARE * steps.len())
    step = (counts["step"] if counts.height else steps.mode()).sort()[0]
    if step != Timeframe.M1.seconds:
        named = next((t.value for t in Timeframe if t.seconds == step), f"{step} s")
        raise InvalidFile(f"{path} holds {named} bars: only 1m bars are imported, longer ones are made from them")
    if off_grid := int((times.dt.truncate("1m") != times).sum()):
        warnings.append(f"{off_grid} bars do not open on a whole minute")


def _raw_frame(table: Table, kind: Kind, columns: Mapping[str, str], times: Times, query: Query) -> pl.DataFrame:
    frame = table.frame.select(pl.col(theirs).cast(pl.String).alias(ours) for ours, theirs in columns.items())
    frame = frame.with_columns(times.instants.alias(_time(kind)))
    if kind == "bars":
        known = [name for name in _NUMBERS if name in columns]
        count = [_whole("trade_count")] if "trade_count" in columns else []
        return bar_frame(frame.select("open_time", *map(_number, known), *count), query)
    return trade_frame(
        frame.select(
            "ts_event", _trade_id(columns), _number("price"), _number("size"), _side(columns), _fills(columns)
        ),
        query,
    )


def _time(kind: Kind) -> str:
    return (RAW_BARS if kind == "bars" else RAW_TRADES).time


def _checked(kind: Kind) -> Sequence[str]:
    return [_time(kind), *(name for name in NEEDED[kind] if name != "time")]


def _number(name: str) -> pl.Expr:
    return pl.col(name).str.strip_chars().cast(pl.Float64, strict=False)


def _whole(name: str) -> pl.Expr:
    """Counts that some files write as 12.0."""
    return _number(name).cast(pl.Int64, strict=False)


def _trade_id(columns: Mapping[str, str]) -> pl.Expr:
    if "trade_id" in columns:
        return pl.col("trade_id").str.strip_chars()
    moment = pl.col("ts_event")
    return pl.format("{}-{}", moment.dt.timestamp("us"), moment.cum_count().over(moment)).alias("trade_id")


def _side(columns: Mapping[str, str]) -> pl.Expr:
    """`side` is the taker's; where the buyer was the maker, the taker sold."""
    if "side" in columns:
        words = {**dict.fromkeys(BUYS, "buy"), **dict.fromkeys(SELLS, "sell")}
        return _word("side").replace_strict(words, default=None).alias("taker_side")
    if "is_buyer_maker" in columns:
        sides = {word: "sell" if is_maker else "buy" for word, is_maker in BOOLEANS.items()}
        return _word("is_buyer_maker").replace_strict(sides, default=None).alias("taker_side")
    return pl.lit(None, pl.String).alias("taker_side")


def _fills(columns: Mapping[str, str]) -> pl.Expr:
    if {"first_id", "last_id"} <= columns.keys():
        return (_whole("last_id") - _whole("first_id") + 1).alias("trade_count")
    return pl.lit(1, pl.Int64).alias("trade_count")


def _word(name: str) -> pl.Expr:
    return pl.col(name).str.strip_chars().str.to_lowercase()
