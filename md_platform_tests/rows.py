"""Bars and trades for tests: a few telling values in, frames of the stored schema out."""

import datetime as dt
import math
from collections.abc import Iterable, Mapping
from typing import Any

import polars as pl

from md_platform.domain.intervals import UTC, Timeframe
from md_platform.domain.schemas import RAW_BARS, RAW_TRADES

DAY0 = dt.datetime(2024, 2, 26, tzinfo=UTC)
"""A Monday; its week holds a 29 February and the end of a month."""

KNOWN_AT = dt.datetime(2024, 3, 20, tzinfo=UTC)
BTC = "binance:BTC-USDT"


def bar(minute: float | None, close: float | None = 10.0, **given: Any) -> dict[str, Any]:
    """A valid 1m bar that opens `minute` minutes after DAY0 (None: nobody knows when), but for what is `given`."""
    opened = None if minute is None else DAY0 + dt.timedelta(minutes=minute)
    price = 10.0 if close is None else close
    return {
        "instrument": BTC,
        "timeframe": "1m",
        "open_time": opened,
        "close_time": opened and opened + dt.timedelta(minutes=1),
        "open": price,
        "high": price + 1,
        "low": price / 2,
        "close": close,
        "volume": 4.0,
        "quote_volume": 4 * price,
        "vwap": price,
        "trade_count": 3,
        "taker_buy_volume": 1.0,
        "taker_buy_quote_volume": price,
        "is_closed": True,
        "source": "binance",
        "revision": 0,
        "known_at": KNOWN_AT,
    } | given


def daily(day: int, close: float = 10.0, **given: Any) -> dict[str, Any]:
    """A 1d bar `day` days after DAY0."""
    opened = DAY0 + dt.timedelta(days=day)
    return bar(day * 1_440, close, timeframe="1d", close_time=Timeframe.D1.close_time(opened), **given)


def trade(second: float | None, trade_id: str | None, price: float | None = 10.0, **given: Any) -> dict[str, Any]:
    """A valid trade `second` seconds after DAY0, but for what is `given`."""
    return {
        "instrument": BTC,
        "ts_event": None if second is None else DAY0 + dt.timedelta(seconds=second),
        "ts_received": KNOWN_AT,
        "trade_id": trade_id,
        "price": price,
        "size": 0.5,
        "taker_side": "buy",
        "trade_count": 1,
        "source": "binance",
    } | given


def bar_rows(rows: Iterable[Mapping[str, Any]]) -> pl.DataFrame:
    """Frame in the schema of raw bars."""
    return pl.DataFrame(list(rows), schema=RAW_BARS.schema, orient="row")


def trade_rows(rows: Iterable[Mapping[str, Any]]) -> pl.DataFrame:
    """Frame in the schema of raw trades."""
    return pl.DataFrame(list(rows), schema=RAW_TRADES.schema, orient="row")


def day_of_bars(date: dt.date, minutes: Iterable[int] = range(1_440), **given: Any) -> pl.DataFrame:
    """1m bars of the UTC day `date`, at prices that wave calmly, so that no check finds anything odd in them."""
    offset = (dt.datetime(date.year, date.month, date.day, tzinfo=UTC) - DAY0) // dt.timedelta(minutes=1)
    return bar_rows(
        bar(offset + n, price, **{"low": price - 1, **given}) for n in minutes if (price := wave(offset + n))
    )


def wave(minute: int) -> float:
    """A price around 100 that moves by some hundredths a minute."""
    return round(100 + 5 * math.sin(minute / 97) + (minute * 7919 % 13) / 100, 2)
