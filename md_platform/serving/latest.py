"""What Redis has of an instrument now in; its last price, quote, day and book out, with their age."""

import datetime as dt
import time
from collections.abc import Mapping, Sequence

import msgspec
from redis.asyncio import Redis

from md_platform.domain.events import Book
from md_platform.domain.wire import decode
from md_platform.errors import NotFound

STALE_AFTER_MS = 60_000
"""An instrument of which nothing came for this long is said to be stale."""


class Day(msgspec.Struct, frozen=True):
    """The last 24 hours, to the minute; `change` is relative (0.01: one per cent)."""

    open: float
    high: float
    low: float
    close: float
    volume: float
    quote_volume: float | None
    change: float


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
    values = {name.decode(): float(value) for name, value in fields.items() if name != b"trade_ts"}
    trade_ns = int(fields[b"trade_ts"]) if b"trade_ts" in fields else None
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
    )


def _instant(ns: int) -> dt.datetime:
    return dt.datetime.fromtimestamp(0, dt.UTC) + dt.timedelta(microseconds=ns // 1_000)
