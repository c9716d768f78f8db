"""What Redis has of an instrument now in; its last price, quote, day and book out, with their age."""

import datetime as dt
import math
import time
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import polars as pl
from redis.asyncio import Redis

from md_platform.domain.events import Book
from md_platform.domain.wire import decode
from md_platform.errors import NotFound

STALE_AFTER_MS = 60_000
"""An instrument of which nothing came for this long is said to be stale."""


class Day(msgspec.Struct, frozen=True):
    """The 24 hours before `until`, a whole minute. `change` is relative (0.01: one per cent).

    `is_whole` is false where bars may be missing from them.
    """

    until: dt.datetime
    open: float
    high: float
    low: float
    volume: float
    quote_volume: float | None
    change: float
    is_whole: bool


class Latest(msgspec.Struct, frozen=True):
    """The last trade and quote of an instrument. What never came is None; `age_ms` counts from the trade."""

    instrument: str
    price: float | None
    size: float | None
    time: dt.datetime | None
    bid: float | None
    bid_size: float | None
    ask: float | None
    ask_size: float | None
    age_ms: int | None
    is_stale: bool
    day: Day | None = None


class Level(msgspec.Struct, array_like=True, frozen=True):
    """Price (quote) and size (base)."""

    price: float
    size: float


class BookTop(msgspec.Struct, frozen=True):
    """The best levels of a book that was known to be right, from the best on, as [price, size]."""

    instrument: str
    time: dt.datetime
    sequence: int
    age_ms: int
    is_stale: bool
    bids: list[Level]
    asks: list[Level]


async def latest(client: Redis, instruments: Sequence[str]) -> list[Latest | None]:
    """The last of each of `instruments`, None where Redis knows nothing of it; redis.RedisError."""
    if len(instruments) == 1:  # most often, and a pipeline of one costs twice as much
        found: list[Any] = [await client.hgetall(f"md:latest:{instruments[0]}")]
    else:
        async with client.pipeline(transaction=False) as pipeline:
            for instrument in instruments:
                pipeline.hgetall(f"md:latest:{instrument}")
            found = await pipeline.execute()
    now_ns = time.time_ns()
    return [_latest(id_, fields, now_ns) if fields else None for id_, fields in zip(instruments, found, strict=True)]


async def book_top(client: Redis, instrument: str, depth: int) -> BookTop:
    """The newest book of `instrument`, `depth` levels a side at most; NotFound, redis.RedisError."""
    found = await client.get(f"md:latest-book:{instrument}")
    books = [event for event in decode(found) if isinstance(event, Book)] if isinstance(found, bytes) else []
    if not books:
        raise NotFound(f"no order book of {instrument} is known: is it streamed?")
    book = books[-1]
    age_ms = max((time.time_ns() - book.ts_received) // 1_000_000, 0)
    return BookTop(
        instrument,
        _instant(book.ts_event),
        book.sequence,
        age_ms,
        age_ms > STALE_AFTER_MS,
        [Level(*level) for level in book.bids[:depth]],
        [Level(*level) for level in book.asks[:depth]],
    )


def _latest(instrument: str, fields: Mapping[bytes, bytes], now_ns: int) -> Latest:
    values = {name.decode(): float(value) for name, value in fields.items()}
    trade_ns = int(float(fields[b"trade_ts"])) if b"trade_ts" in fields else None
    age_ms = None if trade_ns is None else max((now_ns - trade_ns) // 1_000_000, 0)
    return Latest(
        instrument,
        values.get("price"),
        values.get("size"),
        None if trade_ns is None else _instant(trade_ns),
        values.get("bid"),
        values.get("bid_size"),
        values.get("ask"),
        values.get("ask_size"),
        age_ms,
        age_ms is None or age_ms > STALE_AFTER_MS,
        _day(values) if "ts_24h" in values else None,
    )


def _day(values: Mapping[str, float]) -> Day:
    quote_volume = values["quote_volume_24h"]
    return Day(
        _instant(int(values["ts_24h"])),
        values["open_24h"],
        values["high_24h"],
        values["low_24h"],
        values["volume_24h"],
        None if math.isnan(quote_volume) else quote_volume,
        values["change_24h"],
        values["whole_24h"] == 1.0,
    )


def day_of(bars: pl.DataFrame, until: dt.datetime) -> Day | None:
    """The same of 1m bars (BAR_COLUMNS) of the 24 hours before `until`; None where nothing traded."""
    if bars.is_empty():
        return None
    first, last = bars.row(0, named=True), bars.row(-1, named=True)
    sums = bars.select(pl.col("high").max(), pl.col("low").min(), pl.col("volume", "quote_volume").sum()).row(0)
    high, low, volume, quote_volume = sums
    known = None if bars["quote_volume"].null_count() else quote_volume
    is_whole = bool(bars["is_closed"].all())
    return Day(until, first["open"], high, low, volume, known, last["close"] / first["open"] - 1.0, is_whole)


def from_bar(instrument: str, bar: Mapping[str, Any], day: Day | None, now: dt.datetime) -> Latest:
    """What the last bar says of an instrument of which Redis knows nothing: its close, and no quote."""
    age_ms = max(int((now - bar["close_time"]).total_seconds() * 1_000), 0)
    nothing = (None, None, None, None)
    return Latest(instrument, bar["close"], None, bar["close_time"], *nothing, age_ms, age_ms > STALE_AFTER_MS, day)


class Ranked(msgspec.Struct, frozen=True):
    """An instrument and what it is ranked by."""

    instrument: str
    value: float


class Summary(msgspec.Struct, frozen=True):
    """The last 24 hours of all instruments quoted in `quote`: relative changes, and volumes in that currency."""

    quote: str
    gainers: list[Ranked]
    losers: list[Ranked]
    volume_leaders: list[Ranked]


async def summaries(client: Redis, quotes: Sequence[str], limit: int) -> list[Summary]:
    """The first `limit` of each ranking, for each of `quotes`; redis.RedisError."""
    async with client.pipeline(transaction=False) as pipeline:
        for quote in quotes:
            movers, volume = f"md:movers:24h:{quote}", f"md:volume:24h:{quote}"
            pipeline.zrevrangebyscore(movers, "+inf", "(0", start=0, num=limit, withscores=True)
            pipeline.zrangebyscore(movers, "-inf", "(0", start=0, num=limit, withscores=True)
            pipeline.zrevrange(volume, 0, limit - 1, withscores=True)
        found = [[Ranked(id_.decode(), score) for id_, score in ranking] for ranking in await pipeline.execute()]
    return [Summary(quote, *found[3 * n : 3 * n + 3]) for n, quote in enumerate(quotes)]


def _instant(ns: int) -> dt.datetime:
    return dt.datetime.fromtimestamp(0, dt.UTC) + dt.timedelta(microseconds=ns // 1_000)
