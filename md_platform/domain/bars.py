"""The bar: one table says how bars combine, `roll_up` and `bars_from_trades` apply it to columns."""

import datetime as dt

import polars as pl

from md_platform.domain.intervals import Timeframe
from md_platform.domain.schemas import BAR_COLUMNS

BAR_RULE: dict[str, str] = {
    "open": "first",
    "high": "max",
    "low": "min",
    "close": "last",
    "volume": "sum",
    "quote_volume": "sum",
    "trade_count": "sum",
    "taker_buy_volume": "sum",
    "taker_buy_quote_volume": "sum",
    "revision": "sum",
    "known_at": "max",
}
"""How each column of a longer bar comes from the shorter bars in it, in time order.

A sum is null as soon as one of its members is null: an unknown part makes the whole unknown. `revision` sums, so that
it grows whenever a member is revised; `known_at` is when the last member became known.
"""

_BAR_ORDER = [column.name for column in BAR_COLUMNS]


def _combined(name: str, how: str) -> pl.Expr:
    column = pl.col(name)
    match how:
        case "first":
            return column.first()
        case "last":
            return column.last()
        case "max":
            return column.max()
        case "min":
            return column.min()
        case "sum":
            return pl.when(column.null_count() == 0).then(column.sum()).alias(name)
        case _:
            raise AssertionError(f"BAR_RULE has no meaning for {how!r}")


def vwap() -> pl.Expr:
    """`vwap` = quote_volume / volume, null where either is unknown or nothing traded."""
    return pl.when(pl.col("volume") > 0).then(pl.col("quote_volume") / pl.col("volume")).alias("vwap")


def _close_time(timeframe: Timeframe) -> pl.Expr:
    return pl.col("open_time").dt.offset_by(timeframe.polars_every).alias("close_time")


def roll_up(bars: pl.LazyFrame, timeframe: Timeframe, until: dt.datetime) -> pl.LazyFrame:
    """Bars of `timeframe` from shorter bars of ONE instrument and source, unique and sorted by open_time.

    In and out: BAR_COLUMNS. A bucket without bars yields no bar. `until` (UTC) is how far the input is complete: a bar
    is closed when its period ends by then and its members are closed.
    """
    rolled = bars.group_by_dynamic(
        "open_time", every=timeframe.polars_every, closed="left", label="left", start_by="window"
    ).agg(
        pl.col("instrument", "source").last(),
        pl.col("is_closed").all(),
        *(_combined(name, how) for name, how in BAR_RULE.items()),
    )
    return (
        rolled.with_columns(_close_time(timeframe), vwap(), timeframe=pl.lit(timeframe.value))
        .with_columns(is_closed=pl.col("is_closed") & (pl.col("close_time") <= until))
        .select(_BAR_ORDER)
    )


def bars_from_trades(trades: pl.LazyFrame, timeframe: Timeframe, until: dt.datetime) -> pl.LazyFrame:
    """Bars of `timeframe` from trades of ONE instrument and source (TRADE_COLUMNS), sorted by ts_event.

    Each trade is a bar of its own, combined by BAR_RULE. Taker volumes are null where a trade in the bar does not name
    its side. Minutes without trades yield no bar.
    """
    bought = pl.when(pl.col("taker_side").is_not_null()).then((pl.col("taker_side") == "buy").cast(pl.Float64))
    return roll_up(
        trades.with_columns(
            *(pl.col("price").alias(name) for name in ("open", "high", "low", "close")),
            open_time=pl.col("ts_event"),
            volume=pl.col("size"),
            quote_volume=pl.col("price") * pl.col("size"),
            taker_buy_volume=pl.col("size") * bought,
            taker_buy_quote_volume=pl.col("price") * pl.col("size") * bought,
            is_closed=pl.lit(True),
            revision=pl.lit(0, pl.Int64),
            known_at=pl.col("ts_received"),
        ),
        timeframe,
        until,
    )
