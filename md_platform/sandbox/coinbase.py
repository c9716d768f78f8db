"""Coinbase Advanced Trade REST: requests in, the venue's exact bodies and errors out. Streams: coinbase_stream.

Times are seconds in parameters and RFC 3339 in bodies; candles come newest first; decimals carry no trailing zeros.
"""

import datetime as dt
import re
from collections.abc import Callable
from http import HTTPStatus
from typing import ClassVar

from md_platform.domain.intervals import UTC, Timeframe
from md_platform.sandbox.book import step_at
from md_platform.sandbox.history import Bar, History, Trade
from md_platform.sandbox.limits import TokenBucket
from md_platform.sandbox.listings import ASSETS, Listing
from md_platform.sandbox.rest import Json, Refused, Request, Response, json_response

GRANULARITIES = {
    "ONE_MINUTE": Timeframe.M1,
    "FIVE_MINUTE": Timeframe.M5,
    "FIFTEEN_MINUTE": Timeframe.M15,
    "THIRTY_MINUTE": Timeframe.M30,
    "ONE_HOUR": Timeframe.H1,
    "FOUR_HOUR": Timeframe.H4,
    "ONE_DAY": Timeframe.D1,
}
_MOST_CANDLES = 350
_MOST_TRADES = 1_000
_REQUESTS_PER_SECOND = 10
_PRODUCT_PATH = re.compile(r"products/(?P<product>[^/]+)(?:/(?P<what>candles|ticker))?")


def product_of(listing: Listing) -> str:
    """`BTC-USD`."""
    return listing.pair


def plain(value: float, decimals: int = 8) -> str:
    """A decimal without trailing zeros: "65062.5", "0"."""
    text = f"{value:.{decimals}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def rfc3339(time_us: int) -> str:
    """UTC with as many fractional digits as needed, up to six: "2026-08-09T21:05:38.50436Z"."""
    text = (dt.datetime(1970, 1, 1, tzinfo=UTC) + dt.timedelta(microseconds=time_us)).strftime("%Y-%m-%dT%H:%M:%S.%f")
    return text.rstrip("0").rstrip(".") + "Z"


def trade_row(listing: Listing, trade: Trade) -> Json:
    """A trade as the stream gives it; REST adds four fields. `side` is the resting order's side."""
    return {
        "product_id": product_of(listing),
        "trade_id": str(trade.id),
        "price": plain(listing.price(trade.price_ticks)),
        "size": plain(listing.size(trade.lots)),
        "time": rfc3339(trade.time_us),
        "side": "SELL" if trade.is_buy else "BUY",
    }


def candle_row(bar: Bar) -> Json:
    """A candle as REST gives it; the stream adds the product."""
    return {
        "start": str(bar.open_us // 1_000_000),
        "low": plain(bar.low),
        "high": plain(bar.high),
        "open": plain(bar.open),
        "close": plain(bar.close),
        "volume": plain(bar.volume),
    }


class CoinbaseRest:
    """`/api/v3/brokerage` of Coinbase with the few `/v2` lists that clients ask for beside it."""

    def __init__(self, history: History, requests_per_second: float = _REQUESTS_PER_SECOND) -> None:
        self._history = history
        self._bucket = TokenBucket(requests_per_second, burst=2 * requests_per_second)
        listed = [listing for listing in history.simulation.listings.values() if listing.venue == "coinbase"]
        self._by_product = {product_of(listing): listing for listing in listed}

    def respond(self, request: Request) -> Response:
        """The venue's answer, errors included. Public paths (`/market/...`) and signed ones answer alike."""
        if not self._bucket.take(request.client):
            return self.failure(429, 1, request.now_us)
        try:
            return json_response(self._body(request))
        except Refused as refusal:
            return refusal.response

    def failure(self, status: int, retry_after_s: int, now_us: int) -> Response:  # noqa: ARG002
        """What the venue answers when it limits (429) or breaks (5xx)."""
        if status == HTTPStatus.TOO_MANY_REQUESTS:
            body: Json = {"errors": [{"id": "rate_limit_exceeded", "message": "Too many requests"}]}
            return Refused(status, body, {"Retry-After": str(retry_after_s)}).response
        reason = "internal server error"
        return Refused(status, {"error": "INTERNAL", "error_details": reason, "message": reason}).response

    def _body(self, request: Request) -> object:
        path = request.path.removeprefix("/api/v3/brokerage/").removeprefix("market/")
        if path in self._FIXED:
            return self._FIXED[path](self, request)
        match = _PRODUCT_PATH.fullmatch(path)
        if match is None:
            raise Refused(404, {"error": "unknown", "error_details": "Not Found", "message": "Not Found"})
        listing = self._listing(match["product"])
        match match["what"]:
            case "candles":
                return self._candles(listing, request)
            case "ticker":
                return self._ticker(listing, request)
            case _:
                return self._product(listing, request.now_us)

    def _listing(self, product: str) -> Listing:
        if product not in self._by_product:
            reason = "valid product_id is required"
            raise Refused(404, {"error": "NOT_FOUND", "error_details": reason, "message": reason})
        return self._by_product[product]

    def _time(self, request: Request) -> Json:
        return {
            "iso": rfc3339(request.now_us // 1_000_000 * 1_000_000),
            "epochSeconds": str(request.now_us // 1_000_000),
            "epochMillis": str(request.now_us // 1_000),
        }

    def _time_v2(self, request: Request) -> Json:
        seconds = request.now_us // 1_000_000
        return {"data": {"iso": rfc3339(seconds * 1_000_000), "epoch": seconds}}

    def _currencies(self, _request: Request) -> Json:
        return {"data": [{"id": "USD", "name": "US Dollar", "min_size": "0.01"}]}

    def _crypto(self, _request: Request) -> Json:
        return {
            "data": [
                {
                    "asset_id": f"00000000-0000-4000-8000-{number:012d}",
                    "code": asset.code,
                    "name": asset.name,
                    "color": "#0433FF",
                    "sort_index": 100 + number,
                    "exponent": 8,
                    "type": "crypto",
                    "address_regex": "^[0-9a-zA-Z]{20,100}$",
                }
                for number, asset in enumerate(ASSETS.values())
            ]
        }

    def _exchange_rates(self, request: Request) -> Json:
        rates = {
            listing.base: plain(1 / self._history.last_price(listing, request.now_us), 12)
            for listing in self._by_product.values()
            if listing.quote == "USD"
        }
        return {"data": {"currency": "USD", "rates": {"USD": "1.0", **rates}}}

    def _products(self, request: Request) -> Json:
        spot = request.params.get("product_type", "SPOT") in ("SPOT", "UNKNOWN_PRODUCT_TYPE")
        rows = [self._product(listing, request.now_us) for listing in self._by_product.values()] if spot else []
        return {"products": rows, "num_products": len(rows)}

    def _product(self, listing: Listing, now_us: int) -> Json:
        stats = self._history.day_stats(listing, now_us)
        bar, halted = stats.bar, self._history.simulation.is_halted(listing, now_us)
        step = plain(10.0**-listing.lot_decimals)
        dollars = listing.quote == "USD"
        return {
            "product_id": product_of(listing),
            "price": plain(bar.close),
            "price_percentage_change_24h": plain((bar.close / bar.open - 1) * 100, 14),
            "volume_24h": plain(bar.volume),
            "volume_percentage_change_24h": "0",
            "base_increment": step,
            "quote_increment": plain(listing.tick),
            "quote_min_size": "1" if dollars else "0.000016",
            "quote_max_size": "150000000" if dollars else "200",
            "base_min_size": step,
            "base_max_size": "9000000",
            "base_name": ASSETS[listing.base].name,
            "quote_name": "US Dollar" if dollars else ASSETS[listing.quote].name,
            "watched": False,
            "is_disabled": False,
            "new": False,
            "status": "online",
            "cancel_only": False,
            "limit_only": False,
            "post_only": False,
            "trading_disabled": halted,
            "auction_mode": False,
            "product_type": "SPOT",
            "quote_currency_id": listing.quote,
            "base_currency_id": listing.base,
            "fcm_trading_session_details": None,
            "mid_market_price": "",
            "alias": "",
            "alias_to": [],
            "base_display_symbol": listing.base,
            "quote_display_symbol": listing.quote,
            "view_only": False,
            "price_increment": plain(listing.tick),
            "display_name": product_of(listing),
            "product_venue": "CBE",
            "approximate_quote_24h_volume": plain(bar.quote_volume, 2),
            "new_at": "2023-01-01T00:00:00Z",
            "market_cap": "",
            "base_cbrn": "",
            "quote_cbrn": "",
            "product_cbrn": "",
            "icon_color": "",
            "icon_url": "",
            "display_name_overwrite": "",
            "is_alpha_testing": False,
            "about_description": "",
            "best_bid_price": "",
            "best_ask_price": "",
        }

    def _candles(self, listing: Listing, request: Request) -> Json:
        timeframe = GRANULARITIES.get(request.params.get("granularity", ""))
        if timeframe is None or timeframe.seconds is None:
            raise _invalid("granularity argument is invalid")
        limit = min(_integer(request, "limit", _MOST_CANDLES), _MOST_CANDLES)
        end_us = (_integer(request, "end", request.now_us // 1_000_000) + 1) * 1_000_000
        start_us = _integer(request, "start", end_us // 1_000_000 - limit * timeframe.seconds) * 1_000_000
        if end_us <= start_us:
            raise _invalid("start and end argument is invalid - start must be before end")
        if (end_us - start_us) // 1_000_000 // timeframe.seconds > _MOST_CANDLES:
            raise _invalid("start and end argument is invalid - number of candles requested should be less than 350")
        bars = self._history.bars(listing, timeframe, start_us, min(end_us, request.now_us), request.now_us)
        shown = request.distort(listing, "bars", bars[-limit:], request.now_us)
        return {"candles": [candle_row(bar) for bar in reversed(shown)]}

    def _ticker(self, listing: Listing, request: Request) -> Json:
        limit = min(_integer(request, "limit", 100), _MOST_TRADES)
        end_us = min(_integer(request, "end", 1 << 40) * 1_000_000, request.now_us)
        found = self._history.last_trades(listing, limit, end_us)
        start_us = _integer(request, "start", 0) * 1_000_000
        shown = request.distort(listing, "trades", [t for t in found if t.time_us >= start_us], request.now_us)
        bids, asks = self._history.books.at(listing, step_at(request.now_us))
        return {
            "trades": [
                {**trade_row(listing, trade), "bid": "", "ask": "", "exchange": "coinbase"} for trade in reversed(shown)
            ],
            "best_bid": plain(listing.price(next(iter(bids)))),
            "best_ask": plain(listing.price(next(iter(asks)))),
        }

    def _product_book(self, request: Request) -> Json:
        listing = self._listing(request.params.get("product_id", ""))
        limit = _integer(request, "limit", 500)
        bids, asks = self._history.books.at(listing, step_at(request.now_us))
        bid, ask = listing.price(next(iter(bids))), listing.price(next(iter(asks)))
        middle = (bid + ask) / 2
        return {
            "pricebook": {
                "product_id": product_of(listing),
                "bids": _levels(listing, bids, limit),
                "asks": _levels(listing, asks, limit),
                "time": rfc3339(request.now_us),
            },
            "last": plain(self._history.last_price(listing, request.now_us)),
            "mid_market": plain(middle),
            "spread_bps": plain((ask - bid) / middle * 10_000, 12),
            "spread_absolute": plain(ask - bid),
        }

    _FIXED: ClassVar[dict[str, Callable[["CoinbaseRest", Request], Json]]] = {
        "time": _time,
        "products": _products,
        "product_book": _product_book,
        "/v2/time": _time_v2,
        "/v2/currencies": _currencies,
        "/v2/currencies/crypto": _crypto,
        "/v2/exchange-rates": _exchange_rates,
    }


def _levels(listing: Listing, levels: dict[int, int], limit: int) -> list[Json]:
    return [
        {"price": plain(listing.price(price)), "size": plain(listing.size(lots))}
        for price, lots in list(levels.items())[:limit]
    ]


def _invalid(reason: str) -> Refused:
    return Refused(400, {"error": "INVALID_ARGUMENT", "error_details": reason, "message": reason})


def _integer(request: Request, name: str, default: int) -> int:
    text = request.params.get(name) or str(default)
    if not text.isdigit():
        raise _invalid(f"{name} argument is invalid")
    return int(text)
