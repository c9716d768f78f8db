"""Binance spot REST: requests in, the venue's exact bodies, headers and error codes out. Streams: binance_stream.

Times are milliseconds; intervals are inclusive at both ends, as the venue has them.
"""

import re
from collections.abc import Callable
from typing import ClassVar

from md_platform.domain.intervals import Timeframe
from md_platform.errors import InvalidTimeframe
from md_platform.sandbox.binance_payloads import (
    aggregate_row,
    book_levels,
    decimal,
    kline_row,
    symbol_info,
    symbol_of,
    trade_row,
)
from md_platform.sandbox.book import sequence_of, step_at
from md_platform.sandbox.history import DayStats, History
from md_platform.sandbox.limits import MinuteBudget
from md_platform.sandbox.listings import Listing
from md_platform.sandbox.prices import HOUR_US
from md_platform.sandbox.rest import Json, Refused, Request, Response, json_response

WEIGHT_LIMIT = 6_000
_BOOK_WEIGHTS = ((100, 5), (500, 25), (1_000, 50), (5_000, 250))
_SYMBOL = re.compile(r"[A-Z0-9-_.]{1,20}")
_DIGITS = re.compile(r"[0-9]{1,20}")
_TOO_MUCH = (
    "Too much request weight used; current limit is {limit} request weight per 1 MINUTE. "
    "Please use WebSocket Streams for live updates to avoid polling the API."
)
_BANNED = (
    "Way too much request weight used; IP banned until {until}. "
    "Please use WebSocket Streams for live updates to avoid bans."
)


class BinanceRest:
    """`/api/v3` of Binance spot, and the empty futures listings that clients ask for beside it."""

    def __init__(self, history: History, weight_limit: int = WEIGHT_LIMIT) -> None:
        self._history = history
        self._budget = MinuteBudget(weight_limit)
        listed = [listing for listing in history.simulation.listings.values() if listing.venue == "binance"]
        self._by_symbol = {symbol_of(listing): listing for listing in listed}

    def respond(self, request: Request) -> Response:
        """The venue's answer with its weight headers, errors included."""
        name = request.path.removeprefix("/api/v3/")
        if request.path in ("/fapi/v1/exchangeInfo", "/dapi/v1/exchangeInfo"):
            return json_response({"symbols": []})
        if name not in self._ROUTES:
            return Response(404, b"")
        used = self._budget.spend(request.client, self._weight(name, request))
        headers = {"x-mbx-used-weight": str(used), "x-mbx-used-weight-1m": str(used)}
        try:
            self._check_budget(request.client)
            response = json_response(self._ROUTES[name](self, request), headers)
        except Refused as refusal:
            answer = refusal.response
            response = Response(answer.status, answer.body, {**headers, **answer.headers})
        return response

    def failure(self, status: int, retry_after_s: int, now_us: int) -> Response:
        """What the venue answers when it limits (429), bans (418) or breaks (5xx)."""
        headers = {"Retry-After": str(retry_after_s)} if status in (418, 429) else {}
        message = {
            418: _BANNED.format(until=now_us // 1_000 + retry_after_s * 1_000),
            429: _TOO_MUCH.format(limit=self._budget.limit),
        }
        if status in message:
            return Refused(status, {"code": -1003, "msg": message[status]}, headers).response
        return Refused(
            status, {"code": -1000, "msg": "An unknown error occurred while processing the request."}
        ).response

    def _check_budget(self, client: str) -> None:
        wait_s = self._budget.wait_s(client)
        until = self._budget.banned_until(client)
        if until is not None:
            body = {"code": -1003, "msg": _BANNED.format(until=int(until * 1_000))}
            raise Refused(418, body, {"Retry-After": "120"})
        if wait_s:
            body = {"code": -1003, "msg": _TOO_MUCH.format(limit=self._budget.limit)}
            raise Refused(429, body, {"Retry-After": str(wait_s)})

    @staticmethod
    def _weight(name: str, request: Request) -> int:
        if name == "depth":
            limit = int(request.params.get("limit", "100")) if request.params.get("limit", "100").isdigit() else 100
            return next((weight for most, weight in _BOOK_WEIGHTS if limit <= most), 250)
        if name.startswith("ticker/"):
            single, every = (2, 80) if name == "ticker/24hr" else (2, 4)
            return single if "symbol" in request.params else every
        return {"exchangeInfo": 20, "klines": 2, "uiKlines": 2, "avgPrice": 2, "aggTrades": 4, "trades": 25}.get(
            name, 25 if name == "historicalTrades" else 1
        )

    def _listing(self, request: Request) -> Listing:
        symbol = request.params.get("symbol", "")
        if not symbol:
            raise _refused(-1102, "Mandatory parameter 'symbol' was not sent, was empty/null, or malformed.")
        if not _SYMBOL.fullmatch(symbol):
            legal = "legal range is '^[A-Z0-9-_.]{1,20}$'."
            raise _refused(-1100, f"Illegal characters found in parameter 'symbol'; {legal}")
        if symbol not in self._by_symbol:
            raise _refused(-1121, "Invalid symbol.")
        return self._by_symbol[symbol]

    def _ping(self, _request: Request) -> Json:
        return {}

    def _time(self, request: Request) -> Json:
        return {"serverTime": request.now_us // 1_000}

    def _exchange_info(self, request: Request) -> Json:
        chosen = list(self._by_symbol.values())
        if "symbol" in request.params:
            chosen = [self._listing(request)]
        elif "symbols" in request.params:
            names = re.findall(r'"([^"]*)"', request.params["symbols"])
            if not names or any(name not in self._by_symbol for name in names):
                raise _refused(-1121, "Invalid symbol.")
            chosen = [self._by_symbol[name] for name in names]
        halted = self._history.simulation.is_halted
        return {
            "timezone": "UTC",
            "serverTime": request.now_us // 1_000,
            "rateLimits": [
                {
                    "rateLimitType": "REQUEST_WEIGHT",
                    "interval": "MINUTE",
                    "intervalNum": 1,
                    "limit": self._budget.limit,
                },
                {"rateLimitType": "RAW_REQUESTS", "interval": "MINUTE", "intervalNum": 5, "limit": 61_000},
            ],
            "exchangeFilters": [],
            "symbols": [symbol_info(listing, halted=halted(listing, request.now_us)) for listing in chosen],
        }

    def _klines(self, request: Request) -> list[list[int | str]]:
        listing = self._listing(request)
        interval = request.params.get("interval", "")
        if not interval:
            raise _refused(-1102, "Mandatory parameter 'interval' was not sent, was empty/null, or malformed.")
        try:
            timeframe = Timeframe.parse(interval)
        except InvalidTimeframe:
            raise _refused(-1120, "Invalid interval.") from None
        limit = _limit(request)
        start_us, end_us = _span(request)
        end_us = min(end_us, request.now_us)
        if start_us is None:
            start_us = self._history.before_buckets(timeframe, end_us, limit)
        else:
            end_us = min(end_us, self._history.after_buckets(timeframe, start_us, limit))
        bars = self._history.filled_bars(listing, timeframe, start_us, end_us, request.now_us)
        return [kline_row(bar) for bar in request.distort(listing, "bars", bars, request.now_us)]

    def _agg_trades(self, request: Request) -> list[Json]:
        listing, limit = self._listing(request), _limit(request)
        start_us, end_us = _span(request)
        if "fromId" in request.params:
            if start_us is not None or "endTime" in request.params:
                raise _refused(-1128, "Combination of optional parameters invalid.")
            first = _integer(request, "fromId")
            found = self._history.aggregates_from(listing, first, limit, request.now_us)
        elif start_us is not None:
            found = self._history.aggregates(listing, start_us, min(end_us, request.now_us), limit)
        else:
            found = self._history.last_aggregates(listing, limit, min(end_us, request.now_us))
        return [aggregate_row(listing, row) for row in request.distort(listing, "trades", found, request.now_us)]

    def _trades(self, request: Request) -> list[Json]:
        listing = self._listing(request)
        found = self._history.last_trades(listing, _limit(request), request.now_us)
        return [trade_row(listing, row) for row in request.distort(listing, "trades", found, request.now_us)]

    def _historical_trades(self, request: Request) -> list[Json]:
        if "fromId" not in request.params:
            return self._trades(request)
        listing, first = self._listing(request), _integer(request, "fromId")
        found = self._history.trades_from(listing, first, _limit(request), request.now_us)
        return [trade_row(listing, row) for row in request.distort(listing, "trades", found, request.now_us)]

    def _depth(self, request: Request) -> Json:
        listing, limit = self._listing(request), _limit(request, usual=100, most=5_000)
        step = step_at(request.now_us)
        bids, asks = self._history.books.at(listing, step)
        return {
            "lastUpdateId": sequence_of(step),
            "bids": book_levels(listing, bids, limit),
            "asks": book_levels(listing, asks, limit),
        }

    def _ticker(self, request: Request, render: Callable[["BinanceRest", Listing, int], Json]) -> Json | list[Json]:
        if "symbol" in request.params:
            return render(self, self._listing(request), request.now_us)
        return [render(self, listing, request.now_us) for listing in self._by_symbol.values()]

    def _ticker_24h(self, request: Request) -> Json | list[Json]:
        return self._ticker(request, lambda api, listing, now: api.day_ticker(listing, now))

    def _ticker_price(self, request: Request) -> Json | list[Json]:
        return self._ticker(
            request,
            lambda api, listing, now: {
                "symbol": symbol_of(listing),
                "price": decimal(api._history.last_price(listing, now)),  # noqa: SLF001
            },
        )

    def _book_ticker(self, request: Request) -> Json | list[Json]:
        return self._ticker(request, lambda api, listing, now: api.best(listing, now))

    def _average_price(self, request: Request) -> Json:
        listing = self._listing(request)
        start_us = request.now_us - HOUR_US // 12
        bars = self._history.bars(listing, Timeframe.M1, start_us, request.now_us, request.now_us)
        volume, value = sum(bar.volume for bar in bars), sum(bar.quote_volume for bar in bars)
        price = value / volume if volume else self._history.last_price(listing, request.now_us)
        return {"mins": 5, "price": decimal(price), "closeTime": request.now_us // 1_000}

    def best(self, listing: Listing, now_us: int) -> Json:
        """`ticker/bookTicker` of one symbol."""
        bids, asks = self._history.books.at(listing, step_at(now_us))
        (bid, bid_size), (ask, ask_size) = next(iter(bids.items())), next(iter(asks.items()))
        return {
            "symbol": symbol_of(listing),
            "bidPrice": decimal(listing.price(bid)),
            "bidQty": decimal(listing.size(bid_size)),
            "askPrice": decimal(listing.price(ask)),
            "askQty": decimal(listing.size(ask_size)),
        }

    def day_ticker(self, listing: Listing, now_us: int) -> Json:
        """`ticker/24hr` of one symbol."""
        stats: DayStats = self._history.day_stats(listing, now_us)
        bar, best = stats.bar, self.best(listing, now_us)
        last = self._history.last_trades(listing, 1, now_us)[0]
        return {
            "symbol": symbol_of(listing),
            "priceChange": decimal(bar.close - bar.open),
            "priceChangePercent": f"{(bar.close / bar.open - 1) * 100:.3f}",
            "weightedAvgPrice": decimal(bar.quote_volume / bar.volume if bar.volume else bar.close),
            "prevClosePrice": decimal(stats.previous_close),
            "lastPrice": decimal(bar.close),
            "lastQty": decimal(listing.size(last.lots)),
            **{name: best[name] for name in ("bidPrice", "bidQty", "askPrice", "askQty")},
            "openPrice": decimal(bar.open),
            "highPrice": decimal(bar.high),
            "lowPrice": decimal(bar.low),
            "volume": decimal(bar.volume),
            "quoteVolume": decimal(bar.quote_volume),
            "openTime": bar.open_us // 1_000,
            "closeTime": now_us // 1_000,
            "firstId": stats.first_id,
            "lastId": stats.last_id,
            "count": bar.trades,
        }

    _ROUTES: ClassVar[dict[str, Callable[["BinanceRest", Request], object]]] = {
        "ping": _ping,
        "time": _time,
        "exchangeInfo": _exchange_info,
        "klines": _klines,
        "uiKlines": _klines,
        "aggTrades": _agg_trades,
        "trades": _trades,
        "historicalTrades": _historical_trades,
        "depth": _depth,
        "avgPrice": _average_price,
        "ticker/24hr": _ticker_24h,
        "ticker/price": _ticker_price,
        "ticker/bookTicker": _book_ticker,
    }


def _refused(code: int, message: str) -> Refused:
    return Refused(400, {"code": code, "msg": message})


def _integer(request: Request, name: str) -> int:
    text = request.params[name]
    if not _DIGITS.fullmatch(text):
        raise _refused(-1100, f"Illegal characters found in parameter '{name}'; legal range is '^[0-9]{{1,20}}$'.")
    return int(text)


def _limit(request: Request, usual: int = 500, most: int = 1_000) -> int:
    if "limit" not in request.params:
        return usual
    limit = _integer(request, "limit")
    if limit == 0:
        raise _refused(-1130, "Data sent for parameter 'limit' is not valid.")
    return min(limit, most)


def _span(request: Request) -> tuple[int | None, int]:
    """`[start_us, end_us)` from startTime and endTime, both inclusive milliseconds."""
    start = _integer(request, "startTime") * 1_000 if "startTime" in request.params else None
    end = (_integer(request, "endTime") + 1) * 1_000 if "endTime" in request.params else 1 << 60
    return start, end
