"""Bars in, the same with a bar for every period out: those that were never observed repeat the close before them."""

import datetime as dt

import polars as pl

from md_platform.domain.intervals import Timeframe


def fill_previous(bars: pl.DataFrame, timeframe: Timeframe, end: dt.datetime) -> pl.DataFrame:
    """`bars` (BAR_COLUMNS, one instrument, sorted, unique) and a bar for each period from the first of them to `end`.

    Added rows have the last close as their prices, nothing traded, and `is_filled` true; nothing is known of what
    came before the first bar, so nothing is added there.
    """
    observed = bars.with_columns(is_filled=pl.lit(False))
    if bars.is_empty():
        return observed
    first = bars["open_time"][0]
    grid = pl.DataFrame(
        {"open_time": pl.datetime_range(first, end, timeframe.polars_every, closed="left", eager=True)},
        schema={"open_time": bars.schema["open_time"]},
    )
    added = grid.join(bars, on="open_time", how="anti").join_asof(
        bars.select("open_time", "instrument", "timeframe", "close", "source", "known_at"), on="open_time"
    )
    nothing = {name: pl.lit(0.0) for name in ("volume", "quote_volume", "taker_buy_volume", "taker_buy_quote_volume")}
    added = added.with_columns(
        pl.col("open_time").dt.offset_by(timeframe.polars_every).alias("close_time"),
        *(pl.col("close").alias(name) for name in ("open", "high", "low")),
        **nothing,
        vwap=pl.lit(None, pl.Float64),
        trade_count=pl.lit(0, pl.Int64),
        is_closed=pl.lit(True),
        revision=pl.lit(0, pl.Int64),
        is_filled=pl.lit(True),
    )
    return pl.concat([observed, added.select(observed.columns)]).sort("open_time")
