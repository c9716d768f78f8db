"""Kraken spot: public REST /0/public (OHLC, Trades). Sandbox: `sandbox-kraken`.

OHLC serves the last 720 bars and nothing older, whatever is asked; Trades goes back to the first. Kraken's names differ
from everyone's: XXBTZUSD is BTC-USD.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import polars as pl

from md_platform.domain.instruments import Instrument
from md_platform.domain.intervals import Interval, Timeframe
from md_platform.errors import InvalidTimeframe, RateLimited, SourceError, SourceRejected, SourceUnavailable
from md_platform.venues import kraken_feed, kraken_v1_feed
from md_platform.venues.frames import (
    bar_frame,
    decoded,
    epoch,
    instant,
    not_the_protocol,
    number,
    records,
    table,
    trade_frame,
    whole,
)
from md_platform.venues.spec import Page, Query, RateLimit, Request, RestHistory, VenueSpec, error_of_status

MAX_BARS = 720
MAX_TRADES = 1_000
INTERVALS = {
    Timeframe.M1: 1,
    Timeframe.M5: 5,
    Timeframe.M15: 15,
    Timeframe.M30: 30,
    Timeframe.H1: 60,
    Timeframe.H4: 240,
    Timeframe.D1: 1_440,
}
CURRENCIES = {code: name for name, code in kraken_v1_feed.CODES.items()}
"""Kraken's own codes in pair names, and the ones that everyone else uses."""
OHLC_COLUMNS = ("time", "open", "high", "low", "close", "vwap", "volume", "trade_count")
TRADE_COLUMNS = ("price", "size", "time", "side", "order_type", "misc", "trade_id")

_SLOW_DOWN = ("Rate limit", "Too many requests", "Temporary lockout", "Throttled")
_UNAVAILABLE = ("EService", "EGeneral:Internal error")


def instruments_request() -> Request:
    """Every pair."""
    return Request("/0/public/AssetPairs")


def parse_instruments(payload: bytes, venue: str) -> list[Instrument]:
    """Instruments of AssetPairs, by the readable name (`wsname`, "XBT/USD") of each; dark pools have none."""
    pairs = _result(payload, venue)
    named = [
        {"native": native, "wsname": pair.get("wsname")} for native, pair in pairs.items() if isinstance(pair, dict)
    ]
    names = records(named, ("native", "wsname"), venue).drop_nulls()
    return [_instrument(venue, native, name) for native, name in names.iter_rows() if name.count("/") == 1]


def _instrument(venue: str, native: str, name: str) -> Instrument:
    base, quote = (CURRENCIES.get(code, code) for code in name.split("/"))
    return Instrument(venue, base, quote, native)


def bars_request(instrument: Instrument, timeframe: Timeframe, interval: Interval) -> Request:
    """The one page of bars that there is: `since` is exclusive, and there is no end."""
    if timeframe not in INTERVALS:
        raise InvalidTimeframe(f"kraken serves {' '.join(INTERVALS)}, was {timeframe}")
    since = epoch(interval.start, "s") - 1
    return Request("/0/public/OHLC", {"pair": instrument.native, "interval": INTERVALS[timeframe], "since": since})


def parse_bars(payload: bytes, _request: Request, query: Query) -> Page:
    """All bars since; the last one still runs. Kraken names vwap, and no quote volume."""
    rows = table(_rows(payload, query), OHLC_COLUMNS, query.instrument.venue)
    values = ("open", "high", "low", "close", "volume")
    traded = pl.when(number("volume") > 0).then(number("vwap")).alias("vwap")
    opened = instant(whole("time"), "s").alias("open_time")
    return Page(bar_frame(rows.select(opened, *map(number, values), traded, whole("trade_count")), query))


def trades_request(instrument: Instrument, interval: Interval) -> Request:
    """First page of trades: `since` is exclusive, in ns."""
    since = epoch(interval.start, "ns") - 1
    return Request("/0/public/Trades", {"pair": instrument.native, "since": str(since), "count": MAX_TRADES})


def parse_trades(payload: bytes, request: Request, query: Query) -> Page:
    """A page of trades; `last`, the time in ns of its last one, is where the next begins."""
    venue = query.instrument.venue
    rows = table(_rows(payload, query), TRADE_COLUMNS, venue)
    time = (number("time") * 1_000_000).round().cast(pl.Int64, strict=False)
    side = pl.col("side").replace_strict({"b": "buy", "s": "sell"}, default=None).alias("taker_side")
    count = pl.lit(1, pl.Int64).alias("trade_count")
    frame = trade_frame(
        rows.select(instant(time, "us").alias("ts_event"), "trade_id", number("price"), number("size"), side, count),
        query,
    )
    last = str(_result(payload, venue).get("last", ""))
    if not (last.isascii() and last.isdigit()):
        raise not_the_protocol(venue, "a whole number of ns in `last`", last)
    if frame.is_empty() or int(last) >= epoch(query.interval.end, "ns") or int(last) <= int(request.params["since"]):
        return Page(frame)
    return Page(frame, request.changed(since=last))


def _result(payload: bytes, venue: str) -> dict[str, Any]:
    """The `result` of an answer; its errors, which come with status 200, raised."""
    answer = decoded(payload, venue)
    if not isinstance(answer, dict) or not isinstance(answer.get("error"), list):
        raise not_the_protocol(venue, "an object with error and result", answer)
    if answer["error"]:
        raise _error(venue, answer["error"])
    result = answer.get("result")
    if not isinstance(result, dict):
        raise not_the_protocol(venue, "an object in result", answer)
    return result


def _rows(payload: bytes, query: Query) -> object:
    """The rows beside `last`: their key is the pair's own name, whichever of its names was asked for."""
    named = [rows for key, rows in _result(payload, query.instrument.venue).items() if key != "last"]
    if len(named) != 1:
        raise not_the_protocol(query.instrument.venue, "rows of one pair", named)
    return named[0]


def _error(venue: str, messages: list[Any]) -> SourceError:
    said = f"{venue} answered {' '.join(map(str, messages))[:300]}"
    if any(word in said for word in _SLOW_DOWN):
        return RateLimited(said)
    if any(word in said for word in _UNAVAILABLE):
        return SourceUnavailable(said)
    return SourceRejected(said)


def parse_error(status: int, headers: Mapping[str, str], body: bytes) -> SourceError:
    """Errors of the API itself come with status 200: other statuses are from servers before it."""
    return error_of_status("kraken", status, headers, body[:100].decode(errors="replace") if body else "")


KRAKEN = VenueSpec(
    id="kraken",
    title="Kraken spot",
    rest_url="https://api.kraken.com",
    rate_limit=RateLimit(weight=1, window_s=1.1),
    max_bars=MAX_BARS,
    bars_back=MAX_BARS,
    ccxt="kraken",
    history=RestHistory(
        instruments_request, parse_instruments, bars_request, parse_bars, trades_request, parse_trades, parse_error
    ),
    feeds=(kraken_feed.V2, kraken_v1_feed.V1),
)
SANDBOX = replace(
    KRAKEN,
    id="sandbox-kraken",
    title="Sandbox speaking Kraken's protocol",
    rest_url="http://127.0.0.1:8090/kraken",
    rate_limit=RateLimit(weight=55, window_s=60),  # the sandbox lets 60 through at once
    ccxt=None,
    is_simulated=True,
    feeds=(kraken_feed.SANDBOX,),
)
VENUES = (KRAKEN, SANDBOX)
