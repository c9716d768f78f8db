"""Kraken spot REST: requests in, the venue's exact bodies and errors out. Streams: kraken_stream and kraken_v1.

Errors come with HTTP 200. OHLC never reaches further back than 720 entries; older history is in Trades.
"""

import datetime as dt
from collections.abc import Callable
from http import HTTPStatus
from typing import ClassVar

from md_platform.domain.intervals import UTC, Timeframe
from md_platform.sandbox.book import step_at
from md_platform.sandbox.coinbase import rfc3339
from md_platform.sandbox.history import START_US, Bar, History, Trade
from md_platform.sandbox.limits import TokenBucket
from md_platform.sandbox.listings import ASSETS, Listing
from md_platform.sandbox.rest import Json, Refused, Request, Response, json_response

INTERVALS = {
    "1": Timeframe.M1,
    "5": Timeframe.M5,
    "15": Timeframe.M15,
    "30": Timeframe.M30,
    "60": Timeframe.H1,
    "240": Timeframe.H4,
    "1440": Timeframe.D1,
    "10080": Timeframe.W1,
}
_MOST_BARS = 720
_MOST_TRADES = 1_000
_ALTNAMES = {"BTC": "XBT", "DOGE": "XDG"}
_OLD_ASSETS = {"BTC": "XXBT", "ETH": "XETH", "XRP": "XXRP", "LTC": "XLTC", "DOGE": "XXDG", "USD": "ZUSD"}
_FEES = [[0, 0.4], [10000, 0.35], [50000, 0.24], [100000, 0.22], [250000, 0.2], [500000, 0.18]]
_MAKER_FEES = [[0, 0.25], [10000, 0.2], [50000, 0.14], [100000, 0.12], [250000, 0.1], [500000, 0.08]]
_NANOSECONDS_FROM = 10**15


def asset_of(code: str) -> str:
    """The venue's id of an asset: `XXBT`, `ZUSD`, `SOL`."""
    return _OLD_ASSETS.get(code, code)


def altname_of(code: str) -> str:
    """The venue's short name of an asset: `XBT`, `USD`, `SOL`."""
    return _ALTNAMES.get(code, code)


def pair_of(listing: Listing) -> str:
    """The venue's id of a pair: `XXBTZUSD` where both assets have old names, else `SOLUSD`, `XDGUSD`."""
    both_old = listing.base in _OLD_ASSETS and listing.quote in _OLD_ASSETS and listing.base != "DOGE"
    name = asset_of if both_old else altname_of
    return name(listing.base) + name(listing.quote)


def wsname_of(listing: Listing) -> str:
    """The name in WebSocket v1: `XBT/USD`."""
    return f"{altname_of(listing.base)}/{altname_of(listing.quote)}"


def symbol_of(listing: Listing) -> str:
    """The name in WebSocket v2: `BTC/USD`."""
    return f"{listing.base}/{listing.quote}"


def long_price(listing: Listing, ticks: int) -> str:
    """A price as Trades and Depth give it: at least five decimals."""
    return f"{listing.price(ticks):.{max(5, listing.tick_decimals)}f}"


def short_price(listing: Listing, price: float) -> str:
    """A price as OHLC gives it: the pair's own decimals."""
    return f"{price:.{listing.tick_decimals}f}"


def volume(value: float) -> str:
    """Volumes carry eight decimals."""
    return f"{value:.8f}"


def trade_row(listing: Listing, trade: Trade) -> list[str | float | int]:
    """`[price, volume, time, side, order type, misc, id]`."""
    return [
        long_price(listing, trade.price_ticks),
        volume(listing.size(trade.lots)),
        trade.time_us / 1_000_000,
        "b" if trade.is_buy else "s",
        "m" if trade.aggregate_id % 3 else "l",
        "",
        trade.id,
    ]


def ohlc_row(listing: Listing, bar: Bar) -> list[str | int]:
    """`[time, open, high, low, close, vwap, volume, count]`."""
    vwap = bar.quote_volume / bar.volume if bar.volume else 0.0
    prices = (bar.open, bar.high, bar.low, bar.close, vwap)
    return [
        bar.open_us // 1_000_000,
        *(short_price(listing, price) for price in prices),
        volume(bar.volume),
        bar.trades,
    ]


class KrakenRest:
    """`/0/public` of Kraken spot."""

    def __init__(self, history: History, requests_per_second: float = 1.0, burst: float = 60.0) -> None:
        self._history = history
        self._bucket = TokenBucket(requests_per_second, burst)
        self._listed = [listing for listing in history.simulation.listings.values() if listing.venue == "kraken"]
        self._by_name: dict[str, Listing] = {}
        for listing in self._listed:
            for name in (pair_of(listing), wsname_of(listing), symbol_of(listing)):
                self._by_name[name] = self._by_name[name.replace("/", "")] = listing

    def respond(self, request: Request) -> Response:
        """The venue's answer, errors included."""
        try:
            if not self._bucket.take(request.client):
                raise _error("EGeneral:Too many requests")
            route = self._ROUTES.get(request.path.removeprefix("/0/public/"))
            if route is None:
                raise _error("EGeneral:Unknown method")
            return json_response({"error": [], "result": route(self, request)})
        except Refused as refusal:
            return refusal.response

    def failure(self, status: int, retry_after_s: int, now_us: int) -> Response:  # noqa: ARG002
        """What the venue answers when it limits (429) or breaks (5xx)."""
        limited = status < HTTPStatus.INTERNAL_SERVER_ERROR
        return Refused(
            status, {"error": ["EGeneral:Too many requests" if limited else "EService:Unavailable"]}
        ).response

    def _listing(self, request: Request) -> Listing:
        pair = request.params.get("pair", "")
        if not pair:
            raise _error("EGeneral:Invalid arguments")
        if pair not in self._by_name:
            raise _error("EQuery:Unknown asset pair")
        return self._by_name[pair]

    def _chosen(self, request: Request) -> list[Listing]:
        if "pair" not in request.params:
            return self._listed
        names = request.params["pair"].split(",")
        if any(name not in self._by_name for name in names):
            raise _error("EQuery:Unknown asset pair")
        return [self._by_name[name] for name in names]

    def _time(self, request: Request) -> Json:
        instant = dt.datetime.fromtimestamp(request.now_us // 1_000_000, UTC)
        return {"unixtime": request.now_us // 1_000_000, "rfc1123": instant.strftime("%a, %d %b %y %H:%M:%S +0000")}

    def _system_status(self, request: Request) -> Json:
        return {"status": "online", "timestamp": rfc3339(request.now_us // 1_000_000 * 1_000_000)}

    def _assets(self, _request: Request) -> Json:
        codes = [*ASSETS, "USD"]
        return {
            asset_of(code): {
                "aclass": "currency",
                "altname": altname_of(code),
                "decimals": 4 if code == "USD" else 10,
                "display_decimals": 2 if code == "USD" else 5,
                "collateral_value": 1.0,
                "status": "enabled",
            }
            for code in codes
        }

    def _asset_pairs(self, request: Request) -> Json:
        return {
            pair_of(listing): {
                "altname": altname_of(listing.base) + altname_of(listing.quote),
                "wsname": wsname_of(listing),
                "aclass_base": "currency",
                "base": asset_of(listing.base),
                "aclass_quote": "currency",
                "quote": asset_of(listing.quote),
                "lot": "unit",
                "cost_decimals": 5 if listing.quote == "USD" else 10,
                "pair_decimals": listing.tick_decimals,
                "lot_decimals": listing.lot_decimals,
                "lot_multiplier": 1,
                "leverage_buy": [2, 3, 4, 5],
                "leverage_sell": [2, 3, 4, 5],
                "fees": _FEES,
                "fees_maker": _MAKER_FEES,
                "fee_volume_currency": "ZUSD",
                "margin_call": 80,
                "margin_stop": 40,
                "ordermin": "0.00005",
                "costmin": "0.5" if listing.quote == "USD" else "0.00002",
                "tick_size": f"{listing.tick:.{listing.tick_decimals}f}",
                "status": "cancel_only" if self._history.simulation.is_halted(listing, request.now_us) else "online",
                "execution_venue": "international",
                "long_position_limit": 250,
                "short_position_limit": 250,
            }
            for listing in self._chosen(request)
        }

    def _ohlc(self, request: Request) -> Json:
        listing = self._listing(request)
        timeframe = INTERVALS.get(request.params.get("interval", "1"))
        if timeframe is None:
            raise _error("EGeneral:Invalid arguments")
        start_us = self._history.before_buckets(timeframe, request.now_us, _MOST_BARS)
        since_us = _integer(request, "since", 0) * 1_000_000
        bars = self._history.filled_bars(
            listing, timeframe, max(start_us, since_us + 1), request.now_us, request.now_us
        )
        committed = bars[-2].open_us if len(bars) > 1 else start_us
        shown = request.distort(listing, "bars", bars, request.now_us)
        return {pair_of(listing): [ohlc_row(listing, bar) for bar in shown], "last": committed // 1_000_000}

    def _trades(self, request: Request) -> Json:
        """Pages end with a whole instant, so that `last`, from which the next page begins, skips nothing."""
        listing = self._listing(request)
        count = min(_integer(request, "count", _MOST_TRADES), _MOST_TRADES)
        if count == 0:
            raise _error("EGeneral:Invalid arguments")
        if "since" in request.params:
            since_us = _microseconds(request.params["since"])
            found = self._history.trades(listing, since_us + 1, request.now_us, count + 1)
            if len(found) > count:
                whole = [trade for trade in found if trade.time_us != found[-1].time_us]
                found = whole or found
        else:
            since_us = START_US
            found = self._history.last_trades(listing, count, request.now_us)
        last_us = found[-1].time_us if found else since_us
        shown = request.distort(listing, "trades", found, request.now_us)
        return {pair_of(listing): [trade_row(listing, trade) for trade in shown], "last": str(last_us * 1_000)}

    def _depth(self, request: Request) -> Json:
        listing, count = self._listing(request), _integer(request, "count", 100)
        bids, asks = self._history.books.at(listing, step_at(request.now_us))
        return {
            pair_of(listing): {
                side: [
                    [long_price(listing, price), f"{listing.size(lots):.3f}", request.now_us // 1_000_000]
                    for price, lots in list(levels.items())[:count]
                ]
                for side, levels in (("asks", asks), ("bids", bids))
            }
        }

    def _ticker(self, request: Request) -> Json:
        return {pair_of(listing): self.ticker(listing, request.now_us) for listing in self._chosen(request)}

    def ticker(self, listing: Listing, now_us: int) -> Json:
        """Ticker of one pair; "today" and "24 hours" are both the last 24 hours."""
        stats = self._history.day_stats(listing, now_us)
        bar = stats.bar
        bids, asks = self._history.books.at(listing, step_at(now_us))
        (bid, bid_lots), (ask, ask_lots) = next(iter(bids.items())), next(iter(asks.items()))
        last = self._history.last_trades(listing, 1, now_us)[0]
        vwap = bar.quote_volume / bar.volume if bar.volume else bar.close
        long = f".{max(5, listing.tick_decimals)}f"
        return {
            "a": [long_price(listing, ask), _whole(listing, ask_lots), f"{listing.size(ask_lots):.3f}"],
            "b": [long_price(listing, bid), _whole(listing, bid_lots), f"{listing.size(bid_lots):.3f}"],
            "c": [long_price(listing, last.price_ticks), volume(listing.size(last.lots))],
            "v": [volume(bar.volume)] * 2,
            "p": [f"{vwap:{long}}"] * 2,
            "t": [bar.trades] * 2,
            "l": [f"{bar.low:{long}}"] * 2,
            "h": [f"{bar.high:{long}}"] * 2,
            "o": f"{bar.open:{long}}",
        }

    _ROUTES: ClassVar[dict[str, Callable[["KrakenRest", Request], Json]]] = {
        "Time": _time,
        "SystemStatus": _system_status,
        "Assets": _assets,
        "AssetPairs": _asset_pairs,
        "OHLC": _ohlc,
        "Trades": _trades,
        "Depth": _depth,
        "Ticker": _ticker,
    }


def _whole(listing: Listing, lots: int) -> str:
    return str(max(1, int(listing.size(lots))))


def _error(code: str) -> Refused:
    return Refused(200, {"error": [code]})


def _integer(request: Request, name: str, default: int) -> int:
    text = request.params.get(name) or str(default)
    if not text.removeprefix("-").isdigit():
        raise _error("EGeneral:Invalid arguments")
    return max(0, int(text))


def _microseconds(since: str) -> int:
    """Trades' `since` is seconds, with or without decimals, or nanoseconds as its `last` is."""
    try:
        value = float(since)
    except ValueError:
        raise _error("EGeneral:Invalid arguments") from None
    if value >= _NANOSECONDS_FROM:
        return int(since) // 1_000
    return int(value * 1_000_000)
