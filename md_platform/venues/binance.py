"""Binance spot: REST /api/v3 (klines, aggTrades) and the column layout of its bulk files. Sandbox: `sandbox`.

Trades are Binance's aggregated trades: fills of one taker order at one price are one row, `trade_count` fills.
"""

import datetime as dt
from collections.abc import Mapping
from dataclasses import replace

import polars as pl

from md_platform.domain.instruments import Instrument
from md_platform.domain.intervals import UTC, Interval, Timeframe
from md_platform.errors import MalformedPayload, SourceError
from md_platform.venues import binance_feed, binance_futures_feed
from md_platform.venues.frames import (
    bar_frame,
    decoded,
    epoch,
    instant,
    latest,
    not_the_protocol,
    number,
    records,
    table,
    trade_frame,
    whole,
)
from md_platform.venues.spec import Page, Query, RateLimit, Request, RestHistory, VenueSpec, error_of_status

MAX_BARS = 1_000
MAX_TRADES = 1_000
SEARCH_WINDOW = dt.timedelta(hours=1)
"""How far one request looks for the first trade: Binance refused longer windows for years."""

KLINE_COLUMNS = (
    "open_time",
    "open",
    "high",
    "low",
    "close",
    "volume",
    "close_time",
    "quote_volume",
    "trade_count",
    "taker_buy_volume",
    "taker_buy_quote_volume",
    "unused",
)
AGG_TRADE_COLUMNS = ("trade_id", "price", "size", "first_id", "last_id", "time", "is_buyer_maker", "is_best_match")
TRADE_COLUMNS = ("trade_id", "price", "size", "quote_size", "time", "is_buyer_maker", "is_best_match")
"""Columns of bulk files, in order; klines of REST are the same."""

_AGG_KEYS = {"a": "trade_id", "p": "price", "q": "size", "f": "first_id", "l": "last_id", "T": "time"}


def instruments_request() -> Request:
    """Every spot symbol."""
    return Request("/api/v3/exchangeInfo", weight=20)


def parse_instruments(payload: bytes, venue: str) -> list[Instrument]:
    """Instruments of exchangeInfo, those no longer traded too: their history remains."""
    answer = decoded(payload, venue)
    symbols = answer.get("symbols") if isinstance(answer, dict) else None
    found = records(symbols, ("symbol", "baseAsset", "quoteAsset"), venue)
    return [Instrument(venue, base, quote, native) for native, base, quote in found.drop_nulls().iter_rows()]


def bars_request(instrument: Instrument, timeframe: Timeframe, interval: Interval) -> Request:
    """First page of klines."""
    return Request(
        "/api/v3/klines",
        {
            "symbol": instrument.native,
            "interval": timeframe.value,
            **_times(interval.start, interval.end),
            "limit": MAX_BARS,
        },
        weight=2,
    )


def parse_bars(payload: bytes, request: Request, query: Query) -> Page:
    """A page of klines; the next starts where its last bar ends, or a page further on where there is none."""
    rows = table(decoded(payload, query.instrument.venue), KLINE_COLUMNS, query.instrument.venue)
    frame = kline_bars(rows, "ms", query)
    last = latest(frame, "open_time")
    if last is not None:
        start = epoch(query.timeframe.close_time(last), "ms")
    elif frame.is_empty() and query.timeframe.seconds:
        start = int(request.params["startTime"]) + MAX_BARS * query.timeframe.seconds * 1_000
    else:
        raise not_the_protocol(query.instrument.venue, "klines with open times in ms", payload[:100])
    return Page(frame, request.changed(startTime=start) if start <= int(request.params["endTime"]) else None)


def trades_request(instrument: Instrument, interval: Interval) -> Request:
    """First page of aggTrades by time: the venue names no trade id by time alone, so it is searched hour by hour."""
    return _search(instrument.native, interval.start, interval.end)


def parse_trades(payload: bytes, request: Request, query: Query) -> Page:
    """A page of aggTrades: from the first one found on, pages follow each other by trade id without a hole.

    Where no trade has the next ids, the search by time goes on behind the last one, whose time is the bookmark.
    """
    venue, native = query.instrument.venue, query.instrument.native
    rows = records(decoded(payload, venue), (*_AGG_KEYS, "m"), venue).rename(_AGG_KEYS)
    frame = aggregated_trades(rows.rename({"m": "is_buyer_maker"}), "ms", query)
    if frame.is_empty():
        searched = int(request.params["endTime"] if request.bookmark is None else request.bookmark)
        after = dt.datetime.fromtimestamp(0, UTC) + dt.timedelta(milliseconds=searched + 1)
        return Page(frame, _search(native, after, query.interval.end) if after < query.interval.end else None)
    last_id, last = rows.select(whole("trade_id")).to_series().max(), latest(frame, "ts_event")
    if not isinstance(last_id, int) or last is None:
        raise not_the_protocol(venue, "aggregated trades with a whole id `a` and a time `T`", payload[:100])
    if last >= query.interval.end:
        return Page(frame)
    params: dict[str, str | int] = {"symbol": native, "fromId": last_id + 1, "limit": MAX_TRADES}
    return Page(frame, Request(request.path, params, request.weight, bookmark=epoch(last, "ms")))


def _search(native: str, start: dt.datetime, end: dt.datetime) -> Request:
    window_end = min(start + SEARCH_WINDOW, end)
    times = _times(start, window_end)
    return Request("/api/v3/aggTrades", {"symbol": native, **times, "limit": MAX_TRADES}, weight=4)


def _times(start: dt.datetime, end: dt.datetime) -> dict[str, int]:
    """Both inclusive, in ms."""
    return {"startTime": epoch(start, "ms"), "endTime": epoch(end - dt.timedelta(microseconds=1), "ms")}


def parse_error(status: int, headers: Mapping[str, str], body: bytes) -> SourceError:
    """418 and 429 carry Retry-After; other 4xx a code and its message."""
    try:
        answer = decoded(body, "binance")
        detail = f"{answer['code']} {answer['msg']}" if {"code", "msg"} <= answer.keys() else ""
    except (MalformedPayload, AttributeError):
        detail = ""
    return error_of_status("binance", status, headers, detail)


def kline_bars(rows: pl.DataFrame, unit: str, query: Query) -> pl.DataFrame:
    """RAW_BARS from text columns KLINE_COLUMNS whose times are epochs of `unit`.

    Binance's own close time is the last tick of the period, and irregular around outages: it is not kept.
    """
    names = ("open", "high", "low", "close", "volume", "quote_volume", "taker_buy_volume", "taker_buy_quote_volume")
    return bar_frame(
        rows.select(instant(whole("open_time"), unit).alias("open_time"), *map(number, names), whole("trade_count")),
        query,
    )


def aggregated_trades(rows: pl.DataFrame, unit: str, query: Query) -> pl.DataFrame:
    """RAW_TRADES from text columns AGG_TRADE_COLUMNS."""
    return trade_frame(_sided(rows, unit, whole("last_id") - whole("first_id") + 1), query)


def single_trades(rows: pl.DataFrame, unit: str, query: Query) -> pl.DataFrame:
    """RAW_TRADES from text columns TRADE_COLUMNS: one fill a row."""
    return trade_frame(_sided(rows, unit, pl.lit(1, pl.Int64)), query)


def _sided(rows: pl.DataFrame, unit: str, count: pl.Expr) -> pl.DataFrame:
    """`is_buyer_maker` means that the resting order bought: the aggressor sold."""
    sides = {"true": "sell", "false": "buy"}
    return rows.select(
        instant(whole("time"), unit).alias("ts_event"),
        "trade_id",
        number("price"),
        number("size"),
        pl.col("is_buyer_maker").str.to_lowercase().replace_strict(sides, default=None).alias("taker_side"),
        count.alias("trade_count"),
    )


BINANCE = VenueSpec(
    id="binance",
    title="Binance spot",
    rest_url="https://data-api.binance.vision",
    bulk_url="https://data.binance.vision",
    rate_limit=RateLimit(weight=4_800, window_s=60, used_header="x-mbx-used-weight-1m"),  # of 6,000 an address
    max_bars=MAX_BARS,
    ccxt="binance",
    history=RestHistory(
        instruments_request, parse_instruments, bars_request, parse_bars, trades_request, parse_trades, parse_error
    ),
    feeds=(binance_feed.SPOT, *binance_futures_feed.FEEDS),
)
SANDBOX = replace(
    BINANCE,
    id="sandbox",
    title="Sandbox speaking Binance's protocol",
    rest_url="http://127.0.0.1:8090/binance",
    bulk_url=None,
    ccxt=None,
    is_simulated=True,
    feeds=(binance_feed.SANDBOX,),
)
VENUES = (BINANCE, SANDBOX)
