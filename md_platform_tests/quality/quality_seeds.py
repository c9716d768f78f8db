"""A clean partition of every dataset, and for every expectation a change to it that the expectation must catch."""

import datetime as dt
from collections.abc import Callable

import numpy as np
import polars as pl

from md_platform.domain.intervals import UTC, Timeframe
from md_platform.domain.schemas import CLEANED_BARS, CLEANED_TRADES
from md_platform.quality import expected_table
from md_platform.transforms.resampled import resample, roll_up_days

MONDAY = dt.date(2024, 1, 1)  # a Monday, and the first of a month
CALENDAR = "24/7"
_START = dt.datetime(2024, 1, 1, tzinfo=UTC)
_UNTIL = dt.datetime(2024, 6, 1, tzinfo=UTC)

Change = Callable[[pl.DataFrame], pl.DataFrame]


def minute_bars(rows: int = 1440) -> pl.DataFrame:
    random = np.random.default_rng(7)
    close = 40_000 * np.exp(np.cumsum(random.normal(0, 5e-4, rows)))
    opened = np.concatenate([[40_000.0], close[:-1]])
    return (
        pl.DataFrame(
            {
                "open_time": [_START + dt.timedelta(minutes=minute) for minute in range(rows)],
                "open": opened,
                "high": np.maximum(opened, close) * 1.0002,
                "low": np.minimum(opened, close) * 0.9998,
                "close": close,
                "volume": random.uniform(0.1, 9, rows),
            }
        )
        .with_columns(
            instrument=pl.lit("binance:BTC-USDT"),
            timeframe=pl.lit("1m"),
            close_time=pl.col("open_time").dt.offset_by("1m"),
            quote_volume=pl.col("volume") * pl.col("close"),
            vwap=pl.col("close"),
            trade_count=pl.lit(12),
            taker_buy_volume=pl.col("volume") / 2,
            taker_buy_quote_volume=pl.col("volume") * pl.col("close") / 2,
            is_closed=True,
            source=pl.lit("binance"),
            revision=pl.lit(0),
            known_at=pl.col("open_time").dt.offset_by("1d"),
        )
        .select(CLEANED_BARS.schema.names())
        .cast(dict(CLEANED_BARS.schema))
    )


def trades(rows: int = 1440) -> pl.DataFrame:
    bars = minute_bars(1440).with_row_index("trade_id").head(rows)
    return (
        bars.with_columns(
            ts_event=pl.col("open_time"),
            ts_received=pl.col("open_time").dt.offset_by("1s"),
            price=pl.col("close"),
            size=pl.col("volume"),
            taker_side=pl.when(pl.col("trade_id") % 3 == 0).then(pl.lit("buy")).otherwise(pl.lit("sell")),
            trade_count=pl.lit(1),
        )
        .select(CLEANED_TRADES.schema.names())
        .cast(dict(CLEANED_TRADES.schema))
    )


def resampled_bars() -> pl.DataFrame:
    return resample(minute_bars(), _UNTIL)


def indicators() -> pl.DataFrame:
    bars = pl.concat([minute_bars(), resampled_bars()])
    warm_up = pl.int_range(pl.len()).over("timeframe") < 3
    return bars.select(
        "instrument",
        "timeframe",
        "open_time",
        sma_3=pl.when(~warm_up).then(pl.col("close")),
        rsi_14=pl.when(warm_up).then(float("nan")).otherwise(50.0),
    )


def _period(timeframe: Timeframe) -> pl.DataFrame:
    return roll_up_days(resampled_bars().filter(pl.col("timeframe") == "1d"), timeframe, _UNTIL)


CLEAN: dict[str, Callable[[], pl.DataFrame]] = {
    "cleaned_bars": minute_bars,
    "trade_bars": minute_bars,
    "resampled_bars": resampled_bars,
    "weekly_bars": lambda: _period(Timeframe.W1),
    "monthly_bars": lambda: _period(Timeframe.MONTH1),
    "cleaned_trades": trades,
    "indicators": indicators,
}


def expected_of(dataset: str) -> pl.DataFrame:
    return expected_table(dataset, CALENDAR, MONDAY)


def put(column: str, value: object, row: int = 0) -> Change:
    """Replace one value; a polars expression is evaluated on its row."""
    new = value if isinstance(value, pl.Expr) else pl.lit(value)
    here = pl.int_range(pl.len()) == row
    return lambda rows: rows.with_columns(pl.when(here).then(new).otherwise(pl.col(column)).alias(column))


def _repeat_first(rows: pl.DataFrame) -> pl.DataFrame:
    return pl.concat([rows, rows.head(1)])


def _flat(rows: pl.DataFrame) -> pl.DataFrame:
    standing = pl.int_range(pl.len()).is_between(100, 200)
    return rows.with_columns(
        pl.when(standing).then(7.0).otherwise(pl.col(name)).alias(name) for name in ("open", "high", "low", "close")
    )


def _late_half(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.tail(rows.height // 2)


def _text(column: str) -> Change:
    return lambda rows: rows.with_columns(pl.col(column).cast(pl.String))


def _naive(column: str) -> Change:
    return lambda rows: rows.with_columns(pl.col(column).dt.replace_time_zone(None))


_TIMES = ("open_time", "close_time", "known_at", "ts_event", "ts_received")
_FLOATS = ("open", "high", "low", "close", "volume", "price", "size")
_REQUIRED = (
    *("instrument", "timeframe", "open_time", "close_time", "open", "high", "low", "close", "volume"),
    *("is_closed", "source", "revision", "known_at", "ts_event", "ts_received", "trade_id", "price", "size"),
    "trade_count",
)

SEEDS: dict[str, Change] = {
    "columns": lambda rows: rows.drop("instrument"),
    **{f"{name}_type": _naive(name) for name in _TIMES},
    **{f"{name}_type": _text(name) for name in _FLOATS},
    **{f"{name}_not_null": put(name, None) for name in _REQUIRED},
    "timeframe_known": put("timeframe", "7m"),
    "is_closed": put("is_closed", False),
    "key_unique": _repeat_first,
    "open_time_increasing": _repeat_first,
    "ts_event_increasing": _repeat_first,
    "open_time_on_grid": put("open_time", pl.col("open_time").dt.offset_by("1s")),
    "close_after_open": put("close_time", pl.col("open_time")),
    **{f"{name}_positive": put(name, 0.0) for name in ("open", "high", "low", "close", "price", "size")},
    "trade_count_positive": put("trade_count", 0),
    **{f"high_not_below_{name}": put("high", pl.col(name) - 1) for name in ("open", "close", "low")},
    **{f"low_not_above_{name}": put("low", pl.col(name) + 1) for name in ("open", "close")},
    "volume_not_negative": put("volume", -1.0),
    "quote_volume_not_negative": put("quote_volume", -1.0),
    "trade_count_not_negative": put("trade_count", -1),
    "taker_buy_share": put("taker_buy_volume", pl.col("volume") * 2),
    "taker_side_known": put("taker_side", "hold"),
    "values_finite": put("sma_3", float("inf"), row=9),
    "expected_present": _late_half,
    "return_z": lambda rows: put("price" if "price" in rows.columns else "close", 9.0, row=120)(rows),
    "range_z": put("high", pl.col("high") * 3, row=120),
    "stale_run": _flat,
}
"""What must be caught, by expectation id."""

SEEDS_OF: dict[tuple[str, str], Change] = {
    ("cleaned_trades", "stale_run"): lambda rows: pl.concat([rows.head(1)] * 5100),
    ("weekly_bars", "expected_present"): lambda rows: rows.clear(),
    ("monthly_bars", "expected_present"): lambda rows: rows.clear(),
}
"""Where a dataset needs a seed of its own."""


def seed(dataset: str, expectation: str) -> pl.DataFrame:
    """The clean partition of `dataset`, changed so that `expectation` must break."""
    change = SEEDS_OF.get((dataset, expectation)) or SEEDS[expectation]
    return change(CLEAN[dataset]())
