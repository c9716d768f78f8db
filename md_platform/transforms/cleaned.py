"""Raw rows of one source in; valid, unique, ordered rows on the grid out, and the rejects with the rule they broke.

Nothing is filled here: a minute without a bar stays without one.
"""

from dataclasses import dataclass
from typing import cast

import polars as pl

from md_platform.domain.intervals import Timeframe
from md_platform.domain.rules import BAR_RULES, TRADE_RULES, broken_rule


@dataclass(frozen=True, slots=True)
class Cleaned:
    """`kept` has the dataset's columns, `rejected` the same and `rule`; `reordered` counts rows that came late."""

    kept: pl.DataFrame
    rejected: pl.DataFrame
    reordered: int


def clean_bars(raw: pl.DataFrame) -> Cleaned:
    """Clean 1m bars (BAR_COLUMNS) of one instrument and source, any number of days, all revisions.

    Of each open_time the newest revision counts. Rejected as `time_missing`, `off_grid`, `not_closed`, by BAR_RULES, or
    as `duplicate` (every row of the newest revision but the last received).
    """
    newest = raw.filter(pl.col("revision") == pl.col("revision").max().over("open_time"))
    rule = (
        pl.when(pl.col("open_time").is_null())
        .then(pl.lit("time_missing"))
        .when(pl.col("open_time") != pl.col("open_time").dt.truncate(Timeframe.M1.polars_every))
        .then(pl.lit("off_grid"))
        .when(~pl.col("is_closed"))
        .then(pl.lit("not_closed"))
        .otherwise(broken_rule(BAR_RULES))
    )
    winner = pl.col("open_time").is_last_distinct()
    return _split(newest.with_columns(rule=rule), winner, order=[pl.col("open_time")])


def clean_trades(raw: pl.DataFrame) -> Cleaned:
    """Clean trades (TRADE_COLUMNS) of one instrument and source, any number of days.

    Rejected as `time_missing`, `id_missing`, by TRADE_RULES, or as `duplicate` (every row of one trade_id but the
    first received). Ordered by time, then by trade id where ids are numbers.
    """
    rule = (
        pl.when(pl.col("ts_event").is_null())
        .then(pl.lit("time_missing"))
        .when(pl.col("trade_id").is_null())
        .then(pl.lit("id_missing"))
        .otherwise(broken_rule(TRADE_RULES))
    )
    numeric_id = pl.col("trade_id").cast(pl.Int64, strict=False)
    winner = pl.col("trade_id").is_first_distinct()
    return _split(raw.with_columns(rule=rule), winner, order=[pl.col("ts_event"), numeric_id, pl.col("trade_id")])


def has_consecutive_ids(trades: pl.DataFrame) -> bool:
    """Whether the ids of cleaned trades are whole numbers without a gap: then none of the day is missing."""
    ids = trades["trade_id"].cast(pl.Int64, strict=False)
    first, last = cast("tuple[int | None, int | None]", (ids.min(), ids.max()))
    return first is not None and last is not None and not ids.null_count() and last - first + 1 == ids.len()


def _split(judged: pl.DataFrame, winner: pl.Expr, order: list[pl.Expr]) -> Cleaned:
    broken = judged.filter(pl.col("rule").is_not_null())
    valid = judged.filter(pl.col("rule").is_null()).with_columns(
        rule=pl.when(winner).then(None).otherwise(pl.lit("duplicate"))
    )
    kept = valid.filter(pl.col("rule").is_null()).drop("rule")
    reordered = kept.select((order[0] < order[0].cum_max()).sum()).item()
    rejected = pl.concat([broken, valid.filter(pl.col("rule").is_not_null())])
    return Cleaned(kept.sort(order, maintain_order=True), rejected, reordered)


@dataclass(frozen=True, slots=True)
class Choice:
    """The source whose rows were taken for a partition, and why."""

    source: str
    reason: str


def choose_source(valid_rows: dict[str, int], expected: int) -> Choice:
    """Choose among sources of one partition: the one with most valid rows, the first of them where several are equal.

    `valid_rows` is in order of preference; `expected` is how many rows the calendar wants.
    """
    chosen = max(valid_rows, key=lambda source: valid_rows[source])
    coverage = ", ".join(f"{source} {rows} of {expected}" for source, rows in valid_rows.items())
    return Choice(chosen, coverage if len(valid_rows) > 1 else f"only source: {coverage}")
