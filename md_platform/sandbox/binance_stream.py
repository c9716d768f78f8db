"""Binance spot streams: stream names and spans of time in, the venue's exact messages out; and the session."""

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import msgspec

from md_platform.domain.intervals import Timeframe
from md_platform.errors import InvalidTimeframe
from md_platform.sandbox.binance_payloads import book_levels, decimal, symbol_of
from md_platform.sandbox.book import sequence_of
from md_platform.sandbox.history import Bar, History, close_of, open_of
from md_platform.sandbox.limits import TokenBucket
from md_platform.sandbox.listings import Listing
from md_platform.sandbox.live import SECOND_US, Frame, Tick, boundaries, changed_steps, running_bar, traded_seconds
from md_platform.sandbox.prices import STEP_US
from md_platform.sandbox.rest import Distortion, Json, undistorted

_STREAM = re.compile(
    r"(?P<symbol>[a-z0-9]+)@"
    r"(?:(?P<plain>trade|aggTrade|bookTicker|ticker|miniTicker)"
    r"|kline_(?P<interval>\w+)"
    r"|depth(?P<levels>5|10|20)?(?:@(?P<speed>100|1000)ms)?)"
)
_CHANNELS = {
    "trade": "trades",
    "aggTrade": "trades",
    "bookTicker": "ticker",
    "ticker": "ticker",
    "miniTicker": "ticker",
}
_METHODS = ("SUBSCRIBE", "UNSUBSCRIBE", "LIST_SUBSCRIPTIONS", "SET_PROPERTY", "GET_PROPERTY")
_DEFAULT_SPEED_MS = 1_000


class BinanceStreams:
    """Every stream, rendered once however many connections carry it."""

    def __init__(self, history: History, distort: Distortion = undistorted) -> None:
        self._history = history
        self._distort = distort
        listed = [listing for listing in history.simulation.listings.values() if listing.venue == "binance"]
        self._by_symbol = {symbol_of(listing).lower(): listing for listing in listed}
        self.ticks = lru_cache(512)(self._make_ticks)

    def subject(self, name: str) -> tuple[str, str]:
        """Channel and instrument of a stream, both empty when there is no such stream."""
        match = _STREAM.fullmatch(name)
        if match is None or match["symbol"] not in self._by_symbol:
            return "", ""
        channel = "bars" if match["interval"] else _CHANNELS.get(match["plain"] or "", "book")
        return channel, self._by_symbol[match["symbol"]].pair

    def _make_ticks(self, name: str, since_us: int, now_us: int) -> list[Tick]:
        """The stream's messages in `(since_us, now_us]`."""
        match = _STREAM.fullmatch(name)
        if match is None or match["symbol"] not in self._by_symbol:
            return []
        listing = self._by_symbol[match["symbol"]]
        if match["interval"]:
            found = self._klines(listing, match["interval"], since_us, now_us)
        elif match["plain"]:
            found = getattr(self, f"_{match['plain']}")(listing, since_us, now_us)
        else:
            every = int(match["speed"] or _DEFAULT_SPEED_MS) * 1_000 // STEP_US
            levels = int(match["levels"]) if match["levels"] else None
            found = self._depth(listing, since_us, now_us, every, levels)
        return [Tick(time_us, msgspec.json.encode(body).decode()) for time_us, body in found]

    def _trade(self, listing: Listing, since_us: int, now_us: int) -> Iterator[tuple[int, Json]]:
        for trade in self._history.trades(listing, since_us + 1, now_us + 1):
            yield (
                trade.time_us,
                {
                    "e": "trade",
                    "E": trade.time_us // 1_000,
                    "s": symbol_of(listing),
                    "t": trade.id,
                    "p": decimal(listing.price(trade.price_ticks)),
                    "q": decimal(listing.size(trade.lots)),
                    "T": trade.time_us // 1_000,
                    "m": not trade.is_buy,
                    "M": True,
                },
            )

    def _aggTrade(self, listing: Listing, since_us: int, now_us: int) -> Iterator[tuple[int, Json]]:  # noqa: N802
        for trade in self._history.aggregates(listing, since_us + 1, now_us + 1):
            yield (
                trade.time_us,
                {
                    "e": "aggTrade",
                    "E": trade.time_us // 1_000,
                    "s": symbol_of(listing),
                    "a": trade.id,
                    "p": decimal(listing.price(trade.price_ticks)),
                    "q": decimal(listing.size(trade.lots)),
                    "f": trade.first_id,
                    "l": trade.last_id,
                    "T": trade.time_us // 1_000,
                    "m": not trade.is_buy,
                    "M": True,
                },
            )

    def _bookTicker(self, listing: Listing, since_us: int, now_us: int) -> Iterator[tuple[int, Json]]:  # noqa: N802
        books = self._history.books
        for before, step in changed_steps(self._history, listing, since_us, now_us):
            old, new = books.at(listing, before), books.at(listing, step)
            best = [next(iter(side.items())) for side in new]
            if best == [next(iter(side.items())) for side in old]:
                continue
            (bid, bid_lots), (ask, ask_lots) = best
            yield (
                step * STEP_US,
                {
                    "u": sequence_of(step),
                    "s": symbol_of(listing),
                    "b": decimal(listing.price(bid)),
                    "B": decimal(listing.size(bid_lots)),
                    "a": decimal(listing.price(ask)),
                    "A": decimal(listing.size(ask_lots)),
                },
            )

    def _depth(
        self, listing: Listing, since_us: int, now_us: int, every: int, levels: int | None
    ) -> Iterator[tuple[int, Json]]:
        books = self._history.books
        for before, step in changed_steps(self._history, listing, since_us, now_us, every):
            if levels is not None:
                bids, asks = books.at(listing, step)
                yield (
                    step * STEP_US,
                    {
                        "lastUpdateId": sequence_of(step),
                        "bids": book_levels(listing, bids, levels),
                        "asks": book_levels(listing, asks, levels),
                    },
                )
                continue
            bids, asks = books.changes(listing, before, step)
            yield (
                step * STEP_US,
                {
                    "e": "depthUpdate",
                    "E": step * STEP_US // 1_000,
                    "s": symbol_of(listing),
                    "U": sequence_of(before) + 1,
                    "u": sequence_of(step),
                    "b": book_levels(listing, bids, len(bids)),
                    "a": book_levels(listing, asks, len(asks)),
                },
            )

    def _klines(self, listing: Listing, interval: str, since_us: int, now_us: int) -> Iterator[tuple[int, Json]]:
        """The running bar after each second with trades, and every bar once more when it has closed."""
        try:
            timeframe = Timeframe.parse(interval)
        except InvalidTimeframe:
            return
        closes = []
        opens = open_of(timeframe, since_us)
        while (opens := close_of(timeframe, opens)) <= now_us:
            closes.append(opens)
        for time_us in sorted({*traded_seconds(self._history, listing, since_us, now_us), *closes}):
            if time_us in closes:
                start_us = open_of(timeframe, time_us - 1)
                bar: Bar | None = self._history.filled_bars(listing, timeframe, start_us, time_us, time_us)[0]
            else:
                bar = running_bar(self._history, listing, timeframe, time_us)
            if bar is not None:
                yield time_us, self._kline(listing, interval, bar, time_us)

    def _kline(self, listing: Listing, interval: str, bar: Bar, now_us: int) -> Json:
        bar = self._distort(listing, "bars", [bar], now_us)[0]
        end_us = min(now_us, bar.close_us)
        return {
            "e": "kline",
            "E": now_us // 1_000,
            "s": symbol_of(listing),
            "k": {
                "t": bar.open_us // 1_000,
                "T": bar.close_us // 1_000 - 1,
                "s": symbol_of(listing),
                "i": interval,
                "f": self._history.id_at(listing, bar.open_us) if bar.trades else -1,
                "L": self._history.id_at(listing, end_us) - 1 if bar.trades else -1,
                "o": decimal(bar.open),
                "c": decimal(bar.close),
                "h": decimal(bar.high),
                "l": decimal(bar.low),
                "v": decimal(bar.volume),
                "n": bar.trades,
                "x": now_us >= bar.close_us,
                "q": decimal(bar.quote_volume),
                "V": decimal(bar.buy_volume),
                "Q": decimal(bar.buy_quote_volume),
                "B": "0",
            },
        }

    def _ticker(self, listing: Listing, since_us: int, now_us: int) -> Iterator[tuple[int, Json]]:
        for time_us in boundaries(since_us, now_us, SECOND_US):
            stats = self._history.day_stats(listing, time_us)
            bar, step = stats.bar, time_us // STEP_US
            last = self._history.last_trades(listing, 1, time_us)[0]
            close = listing.price(last.price_ticks)
            (bid, bid_lots), (ask, ask_lots) = (
                next(iter(side.items())) for side in self._history.books.at(listing, step)
            )
            yield (
                time_us,
                {
                    "e": "24hrTicker",
                    "E": time_us // 1_000,
                    "s": symbol_of(listing),
                    "p": decimal(close - bar.open),
                    "P": f"{(close / bar.open - 1) * 100:.3f}",
                    "w": decimal(bar.quote_volume / bar.volume if bar.volume else close),
                    "x": decimal(stats.previous_close),
                    "c": decimal(close),
                    "Q": decimal(listing.size(last.lots)),
                    "b": decimal(listing.price(bid)),
                    "B": decimal(listing.size(bid_lots)),
                    "a": decimal(listing.price(ask)),
                    "A": decimal(listing.size(ask_lots)),
                    "o": decimal(bar.open),
                    "h": decimal(bar.high),
                    "l": decimal(bar.low),
                    "v": decimal(bar.volume),
                    "q": decimal(bar.quote_volume),
                    "O": bar.open_us // 1_000,
                    "C": bar.close_us // 1_000,
                    "F": stats.first_id,
                    "L": stats.last_id,
                    "n": bar.trades,
                },
            )

    def _miniTicker(self, listing: Listing, since_us: int, now_us: int) -> Iterator[tuple[int, Json]]:  # noqa: N802
        for time_us, full in self._ticker(listing, since_us, now_us):
            yield (
                time_us,
                {"e": "24hrMiniTicker", **{key: full[key] for key in ("E", "s", "c", "o", "h", "l", "v", "q")}},
            )


class BinanceSession:
    """One connection: raw (`/ws`) or combined (`/stream`) streams, named in the URL or subscribed to later."""

    def __init__(self, streams: BinanceStreams, path: str, query: str, now_us: int) -> None:
        self._streams = streams
        self._combined = path.startswith("/stream")
        named = query if self._combined else path.removeprefix("/ws")
        self._since = dict.fromkeys((name for name in named.split("/") if name), now_us)
        self._requests = TokenBucket(5, 10)

    def open(self, now_us: int) -> list[Frame]:  # noqa: ARG002
        """The venue waits for the first event."""
        return []

    def receive(self, text: str, now_us: int) -> list[Frame]:
        """Replies to SUBSCRIBE, UNSUBSCRIBE, LIST_SUBSCRIPTIONS, SET_PROPERTY and GET_PROPERTY."""
        try:
            request: Any = msgspec.json.decode(text)
        except msgspec.DecodeError:
            return [_reply({"error": {"code": 3, "msg": "Invalid JSON: expected value at line 1 column 1"}}, now_us)]
        if not isinstance(request, dict) or request.get("method") not in _METHODS:
            known = ", ".join(f"`{name}`" for name in _METHODS)
            reason = f"Invalid request: unknown variant, expected one of {known}"
            return [_reply({"error": {"code": 2, "msg": reason}}, now_us)]
        number, params = request.get("id"), request.get("params") or []
        if not isinstance(params, list):
            reason = "Invalid value type: expected array"
            return [_reply({"error": {"code": 1, "msg": reason}, "id": number}, now_us)]
        result: object = None
        match request["method"]:
            case "SUBSCRIBE":
                self._since.update((name, now_us) for name in params if name not in self._since)
            case "UNSUBSCRIBE":
                for name in params:
                    self._since.pop(name, None)
            case "LIST_SUBSCRIPTIONS":
                result = list(self._since)
            case "SET_PROPERTY":
                self._combined = params == ["combined", True]
            case "GET_PROPERTY":
                result = self._combined
        return [_reply({"result": result, "id": number}, now_us)]

    def due(self, since_us: int, now_us: int) -> list[Frame]:
        """The subscribed streams' messages in `(since_us, now_us]`."""
        frames = []
        for name, from_us in self._since.items():
            channel, instrument = self._streams.subject(name)
            if channel:
                for tick in self._streams.ticks(name, max(since_us, from_us), now_us):
                    text = f'{{"stream":"{name}","data":{tick.json}}}' if self._combined else tick.json
                    frames.append(Frame(text, channel, instrument, tick.time_us))
        return sorted(frames, key=lambda frame: frame.time_us)


def _reply(body: Json, now_us: int) -> Frame:
    return Frame(msgspec.json.encode(body).decode(), "reply", "", now_us)
