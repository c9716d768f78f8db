"""A column of times in any common form in, instants and what form it was out: epochs by magnitude, ISO 8601 text."""

from dataclasses import dataclass

import polars as pl

from md_platform.domain.schemas import INSTANT
from md_platform.errors import InvalidFile
from md_platform.venues.frames import instant

UNITS = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}
ISO = "iso"
_YEAR_1990_S, _YEAR_2100_S = 631_152_000, 4_102_444_800
_TEXT = (
    r"^\s*(?P<y>\d{4})[-/.]?(?P<mo>\d{2})[-/.]?(?P<d>\d{2})"
    r"(?:[T ]?(?P<h>\d{2}):?(?P<mi>\d{2})(?::?(?P<s>\d{2})(?P<f>[.,]\d+)?)?)?"
    r"\s*(?P<zone>Z|z|UTC|GMT|[+-]\d{2}(?::?\d{2})?)?\s*$"
)


@dataclass(frozen=True, slots=True)
class Times:
    """`instants` row by row, null where a cell is no time. `is_zoned` is false for text without an offset: UTC then."""

    instants: pl.Series
    unit: str
    is_zoned: bool = True


def read_times(column: pl.Series, unit: str | None = None) -> Times:
    """Times of `column`: epochs in s, ms, us or ns (by magnitude, 1990 to 2100), ISO 8601 text, or typed times.

    `unit` (s, ms, us, ns or iso) overrides detection. InvalidFile where one column mixes units or holds no time at all.
    """
    if unit is not None and unit not in (*UNITS, ISO):
        raise InvalidFile(f"time unit must be one of {' '.join(UNITS)} {ISO}, was {unit!r}")
    if isinstance(column.dtype, pl.Datetime):
        zoned = column.dt.replace_time_zone("UTC") if column.dtype.time_zone is None else column
        return Times(zoned.cast(INSTANT), ISO, is_zoned=column.dtype.time_zone is not None)
    if column.dtype == pl.Date:
        return Times(column.cast(pl.Datetime("us")).dt.replace_time_zone("UTC"), ISO, is_zoned=False)
    text = column.cast(pl.String).str.strip_chars()
    found = unit or _unit_of(text)
    times = _from_text(text) if found == ISO else Times(_from_epochs(text, found), found)
    if times.instants.null_count() == times.instants.len():
        shown = text.drop_nulls().head(1).to_list()
        raise InvalidFile(f"column {column.name!r} holds no readable time, first {shown[0] if shown else None!r}")
    return times


def _unit_of(text: pl.Series) -> str:
    """The one unit whose years 1990 to 2100 hold the numbers of `text`, `iso` where it holds no such number."""
    seconds = text.cast(pl.Float64, strict=False)
    counts = {
        unit: int(seconds.is_between(_YEAR_1990_S * ticks, _YEAR_2100_S * ticks, closed="left").sum())
        for unit, ticks in UNITS.items()
    }
    held = {unit: count for unit, count in counts.items() if count}
    if len(held) > 1:
        parts = " and ".join(f"{count} rows in {unit}" for unit, count in held.items())
        raise InvalidFile(f"column {text.name!r} mixes time units ({parts}): name the right one, or split the file")
    return next(iter(held), ISO)


def _from_epochs(text: pl.Series, unit: str) -> pl.Series:
    ticks = UNITS[unit]
    whole, part = pl.col("t").cast(pl.Int64, strict=False), pl.col("t").cast(pl.Float64, strict=False)
    micros = (part * (1_000_000 / ticks)).round().cast(pl.Int64, strict=False)
    in_range = part.is_between(_YEAR_1990_S * ticks, _YEAR_2100_S * ticks, closed="left")
    read = pl.coalesce(instant(whole, unit), instant(micros, "us"))
    return text.to_frame("t").select(pl.when(in_range).then(read).alias(text.name)).to_series()


def _from_text(text: pl.Series) -> Times:
    part = text.to_frame("t").select(pl.col("t").str.extract_groups(_TEXT)).unnest("t")
    clock = [pl.col(name).fill_null(pl.lit("00")) for name in ("h", "mi", "s")]
    fraction = pl.col("f").str.replace(",", ".", literal=True).fill_null(pl.lit(".0"))
    written = pl.format("{}-{}-{} {}:{}:{}{}", "y", "mo", "d", *clock, fraction)
    offset = pl.col("zone").str.replace(":", "", literal=True)
    hours = offset.str.slice(1, 2).cast(pl.Int64, strict=False).fill_null(0)
    minutes = offset.str.slice(3, 2).cast(pl.Int64, strict=False).fill_null(0)
    sign = pl.when(offset.str.starts_with("-")).then(-1).otherwise(1)
    is_shifted = offset.str.contains(r"^[+-]").fill_null(value=False)
    shift = pl.when(is_shifted).then(sign * (hours * 60 + minutes)).otherwise(0)
    local = written.str.to_datetime("%Y-%m-%d %H:%M:%S%.f", time_unit="us", strict=False)
    instants = part.select((local.dt.replace_time_zone("UTC") - pl.duration(minutes=shift)).alias(text.name))
    zoned = part.select((pl.col("zone").is_not_null() | pl.col("y").is_null()).all()).item()
    return Times(instants.to_series().cast(INSTANT), ISO, is_zoned=bool(zoned))
