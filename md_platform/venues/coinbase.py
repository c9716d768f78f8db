"""Coinbase Advanced Trade: public REST /api/v3/brokerage/market (candles, trades). Sandbox: `sandbox-coinbase`.

Candles carry neither quote volume nor counts nor taker volumes. Trades come newest first and are paged backwards.
"""

import datetime as dt
from collections.abc import Mapping
from dataclasses import replace

import polars as pl

from md_platform.domain.instruments import Instrument
from md_platform.domain.intervals import Interval, Timeframe
from md_platform.errors import InvalidTimeframe, MalformedPayload, SourceError, SourceRejected
from md_platform.venues import coinbase_2021_feed, coinbase_feed
from md_platform.venues.frames import (
    bar_frame,
    decoded,
    epoch,
    instant,
    iso_instant,
    not_the_protocol,
    number,
    records,
    trade_frame,
    whole,
)
from md_platform.venues.spec import Page, Query, RateLimit, Request, RestHistory, VenueSpec, error_of_status

MAX_BARS = 300
"""Of the 350 buckets that one answer may hold."""
MAX_TRADES = 1_000
GRANULARITIES = {
    Timeframe.M1: "ONE_MINUTE",
    Timeframe.M5: "FIVE_MINUTE",
    Timeframe.M15: "FIFTEEN_MINUTE",
    Timeframe.M30: "THIRTY_MINUTE",
    Timeframe.H1: "ONE_HOUR",
    Timeframe.D1: "ONE_DAY",
}
_PRODUCTS = "/api/v3/brokerage/market/products"


def instruments_request() -> Request:
    """Every spot product, those no longer traded too."""
    return Request(_PRODUCTS, {"product_type": "SPOT", "get_all_products": "true"})


def parse_instruments(payload: bytes, venue: str) -> list[Instrument]:
    """Instruments of the products list, under the names that their ids bear."""
    found = records(_list(payload, "products", venue), ("product_id", "base_currency_id", "quote_currency_id"), venue)
    return [Instrument(venue, base, quote, native) for native, base, quote in found.drop_nulls().iter_rows()]


def bars_request(instrument: Instrument, timeframe: Timeframe, interval: Interval) -> Request:
    """First window of candles. Windows share their edge, because the docs do not say which edge is inclusive."""
    if timeframe not in GRANULARITIES:
        raise InvalidTimeframe(f"coinbase serves {' '.join(GRANULARITIES)}, was {timeframe}")
    start, end = epoch(interval.start, "s"), epoch(interval.end, "s")
    end = _window_end(start, timeframe, end)
    path = f"{_PRODUCTS}/{instrument.native}/candles"
    return Request(path, {"granularity": GRANULARITIES[timeframe], "start": start, "end": end})


def parse_bars(payload: bytes, request: Request, query: Query) -> Page:
    """A window of candles, turned oldest first; the next window begins where it ends."""
    names = ("start", "open", "high", "low", "close", "volume")
    rows = records(_list(payload, "candles", query.instrument.venue), names, query.instrument.venue)
    opened = instant(whole("start"), "s").alias("open_time")
    frame = bar_frame(rows.reverse().select(opened, *map(number, names[1:])), query)
    end, last = epoch(query.interval.end, "s"), int(request.params["end"])
    if last >= end:
        return Page(frame)
    return Page(frame, request.changed(start=last, end=_window_end(last, query.timeframe, end)))


def _window_end(start: int, timeframe: Timeframe, end: int) -> int:
    return min(start + MAX_BARS * (timeframe.seconds or 0), end)


def trades_request(instrument: Instrument, interval: Interval) -> Request:
    """The newest trades of the interval, whose bounds are whole seconds: rounded outwards."""
    start, end = epoch(interval.start, "s"), epoch(interval.end - dt.timedelta(microseconds=1), "s") + 1
    return Request(f"{_PRODUCTS}/{instrument.native}/ticker", {"limit": MAX_TRADES, "start": start, "end": end})


def parse_trades(payload: bytes, request: Request, query: Query) -> Page:
    """A page of trades, turned oldest first; the next ends with the second of the oldest one, which it repeats.

    How many trades the venue really gives is not promised, so only an empty page is the last one.
    """
    venue = query.instrument.venue
    rows = records(_list(payload, "trades", venue), ("trade_id", "price", "size", "time", "side"), venue)
    frame = trade_frame(rows.reverse().select(
        iso_instant("time").alias("ts_event"), "trade_id", number("price"), number("size"), _taker_side(),
        pl.lit(1, pl.Int64).alias("trade_count"),
    ), query)  # fmt: skip
    oldest = frame["ts_event"].min()
    if not isinstance(oldest, dt.datetime):
        if frame.is_empty():
            return Page(frame)
        raise not_the_protocol(venue, "trades with ISO times", payload[:100])
    asked_end = int(request.params["end"])
    end = epoch(oldest, "s") + 1
    if end >= asked_end and frame.height >= MAX_TRADES:
        raise SourceRejected(
            f"{venue} has more than {MAX_TRADES} trades in the second before {asked_end}: it pages no finer"
        )
    end = min(end, asked_end - 1)
    if oldest < query.interval.start or end <= int(request.params["start"]):
        return Page(frame)
    return Page(frame, request.changed(end=end))


def _taker_side() -> pl.Expr:
    """`side` is the resting order's, so the aggressor is the other one."""
    return pl.col("side").replace_strict({"BUY": "sell", "SELL": "buy"}, default=None).alias("taker_side")


def _list(payload: bytes, key: str, venue: str) -> object:
    answer = decoded(payload, venue)
    if not isinstance(answer, dict) or key not in answer:
        raise not_the_protocol(venue, f"an object with {key}", answer)
    return answer[key]


def parse_error(status: int, headers: Mapping[str, str], body: bytes) -> SourceError:
    """Errors carry `error` and `message`."""
    try:
        answer = decoded(body, "coinbase")
        detail = " ".join(str(answer[key]) for key in ("error", "message") if answer.get(key))
    except (MalformedPayload, AttributeError):
        detail = ""
    return error_of_status("coinbase", status, headers, detail)


COINBASE = VenueSpec(
    id="coinbase",
    title="Coinbase Advanced Trade",
    rest_url="https://api.coinbase.com",
    rate_limit=RateLimit(weight=8, window_s=1),  # of 10 an address
    max_bars=MAX_BARS,
    ccxt="coinbase",
    history=RestHistory(
        instruments_request, parse_instruments, bars_request, parse_bars, trades_request, parse_trades, parse_error
    ),
    feeds=(coinbase_feed.ADVANCED, coinbase_2021_feed.PRO),
)
SANDBOX = replace(
    COINBASE,
    id="sandbox-coinbase",
    title="Sandbox speaking Coinbase's protocol",
    rest_url="http://127.0.0.1:8090/coinbase",
    ccxt=None,
    is_simulated=True,
    feeds=(coinbase_feed.SANDBOX,),
)
VENUES = (COINBASE, SANDBOX)
