"""Kraken's WebSocket v2: subscriptions and spans of time in, the venue's exact messages out.

Prices and quantities are JSON numbers whose digits matter: the book's checksum is made of them as written.
"""

import zlib
from collections.abc import Iterator
from functools import lru_cache
from itertools import groupby
from typing import Any

import msgspec

from md_platform.sandbox.book import Levels, step_at
from md_platform.sandbox.coinbase import rfc3339
from md_platform.sandbox.history import Bar, History, Trade
from md_platform.sandbox.kraken import INTERVALS, symbol_of
from md_platform.sandbox.listings import Listing
from md_platform.sandbox.live import SECOND_US, Frame, Tick, boundaries, changed_steps, running_bar, traded_seconds
from md_platform.sandbox.prices import STEP_US
from md_platform.sandbox.rest import Distortion, Json, undistorted

DEPTHS = (10, 25, 100, 500, 1_000)
_SNAPSHOT_TRADES = 50
_SNAPSHOT_BARS = 720
_LATENCY_US = 35
_CHANNELS = {"trade": "trades", "book": "book", "ticker": "ticker", "ohlc": "bars"}
_SNAPSHOT_UNLESS_REFUSED = {"trade": False, "book": True, "ticker": True, "ohlc": True}


def price_text(listing: Listing, ticks: int) -> str:
    """A price with the pair's decimals."""
    return f"{listing.price(ticks):.{listing.tick_decimals}f}"


def lots_text(listing: Listing, lots: int) -> str:
    """A quantity with eight decimals."""
    return f"{listing.size(lots):.8f}"


def checksum(asks: list[tuple[str, str]], bids: list[tuple[str, str]]) -> int:
    """CRC32 of the ten best levels' digits, asks before bids, without points and leading zeros."""
    levels = [*asks[:10], *bids[:10]]
    digits = "".join(text.replace(".", "").lstrip("0") for level in levels for text in level)
    return zlib.crc32(digits.encode())


def in_scope(old: Levels, new: Levels, changes: Levels, depth: int, *, is_bid: bool) -> Levels:
    """The changes that a client of `depth` is told: levels pushed out of its depth are its own to forget."""
    if len(new) < depth or len(old) < depth:
        return changes
    worst = min(new) if is_bid else max(new)
    return {p: lots for p, lots in changes.items() if lots or (p > worst if is_bid else p < worst)}


class KrakenStreams:
    """Every channel's messages, rendered once however many connections carry them."""

    def __init__(self, history: History, distort: Distortion = undistorted) -> None:
        self.history = history
        self._distort = distort
        listed = [listing for listing in history.simulation.listings.values() if listing.venue == "kraken"]
        self.symbols = {symbol_of(listing): listing for listing in listed}
        self.ticks = lru_cache(512)(self._make_ticks)

    def snapshot(self, channel: str, symbol: str, option: int, now_us: int) -> str:
        """The message that a subscription begins with."""
        listing = self.symbols[symbol]
        match channel:
            case "trade":
                trades = self.history.last_trades(listing, _SNAPSHOT_TRADES, now_us)
                return _message("trade", "snapshot", [_trade(listing, trade) for trade in trades])
            case "book":
                book = self.history.books.at(listing, step_at(now_us))
                return self._book("snapshot", listing, book.bids, book.asks, now_us)
            case "ticker":
                return _message("ticker", "snapshot", [self._ticker(listing, now_us)])
            case _:
                timeframe = INTERVALS[str(option)]
                start_us = self.history.before_buckets(timeframe, now_us, _SNAPSHOT_BARS)
                bars = self.history.bars(listing, timeframe, start_us, now_us, now_us)
                return _message("ohlc", "snapshot", [self._ohlc(listing, bar, option, now_us) for bar in bars])

    def _make_ticks(self, channel: str, symbol: str, option: int, since_us: int, now_us: int) -> list[Tick]:
        """The channel's messages for one symbol in `(since_us, now_us]`; option is book's depth, ohlc's interval."""
        return list(getattr(self, f"_{channel}_ticks")(self.symbols[symbol], option, since_us, now_us))

    def _trade_ticks(self, listing: Listing, _option: int, since_us: int, now_us: int) -> Iterator[Tick]:
        trades = self.history.trades(listing, since_us + 1, now_us + 1)
        for time_us, together in groupby(trades, key=lambda trade: trade.time_us):
            yield Tick(time_us, _message("trade", "update", [_trade(listing, trade) for trade in together]))

    def _book_ticks(self, listing: Listing, depth: int, since_us: int, now_us: int) -> Iterator[Tick]:
        books = self.history.books
        for before, step in changed_steps(self.history, listing, since_us, now_us):
            old, new, changes = books.at(listing, before), books.at(listing, step), books.changes(listing, before, step)
            bids = in_scope(old.bids, new.bids, changes.bids, depth, is_bid=True)
            asks = in_scope(old.asks, new.asks, changes.asks, depth, is_bid=False)
            yield Tick(step * STEP_US, self._book("update", listing, bids, asks, step * STEP_US))

    def _ticker_ticks(self, listing: Listing, _option: int, since_us: int, now_us: int) -> Iterator[Tick]:
        for trade in self.history.trades(listing, since_us + 1, now_us + 1):
            yield Tick(trade.time_us, _message("ticker", "update", [self._ticker(listing, trade.time_us + 1)]))

    def _ohlc_ticks(self, listing: Listing, interval: int, since_us: int, now_us: int) -> Iterator[Tick]:
        for end_us in traded_seconds(self.history, listing, since_us, now_us):
            bar = running_bar(self.history, listing, INTERVALS[str(interval)], end_us)
            if bar is not None:
                yield Tick(end_us, _message("ohlc", "update", [self._ohlc(listing, bar, interval, end_us)]))

    def _book(self, kind: str, listing: Listing, bids: Levels, asks: Levels, now_us: int) -> str:
        whole = self.history.books.at(listing, step_at(now_us))
        texts = [
            [(price_text(listing, price), lots_text(listing, lots)) for price, lots in side.items()] for side in whole
        ]
        body = {
            "symbol": symbol_of(listing),
            "bids": [_level(listing, price, lots) for price, lots in bids.items()],
            "asks": [_level(listing, price, lots) for price, lots in asks.items()],
            "checksum": checksum(texts[1], texts[0]),
            "timestamp": microseconds(now_us),
        }
        return _message("book", kind, [body])

    def _ticker(self, listing: Listing, now_us: int) -> Json:
        bar = self.history.day_stats(listing, now_us).bar
        last = self.history.last_trades(listing, 1, now_us)[0]
        price = listing.price(last.price_ticks)
        (bid, bid_lots), (ask, ask_lots) = (
            next(iter(side.items())) for side in self.history.books.at(listing, step_at(now_us))
        )
        digits = listing.tick_decimals
        return {
            "symbol": symbol_of(listing),
            "bid": _raw(price_text(listing, bid)),
            "bid_qty": _raw(lots_text(listing, bid_lots)),
            "ask": _raw(price_text(listing, ask)),
            "ask_qty": _raw(lots_text(listing, ask_lots)),
            "last": _raw(price_text(listing, last.price_ticks)),
            "volume": _raw(f"{bar.volume:.8f}"),
            "vwap": _raw(f"{bar.quote_volume / bar.volume if bar.volume else price:.{digits}f}"),
            "low": _raw(f"{min(bar.low, price):.{digits}f}"),
            "high": _raw(f"{max(bar.high, price):.{digits}f}"),
            "change": _raw(f"{price - bar.open:.{digits}f}"),
            "change_pct": _raw(f"{(price / bar.open - 1) * 100:.2f}"),
            "timestamp": microseconds(now_us),
        }

    def _ohlc(self, listing: Listing, bar: Bar, interval: int, now_us: int) -> Json:
        bar = self._distort(listing, "bars", [bar], now_us)[0]
        vwap = bar.quote_volume / bar.volume if bar.volume else 0.0
        digits = listing.tick_decimals
        return {
            "symbol": symbol_of(listing),
            "open": _raw(f"{bar.open:.{digits}f}"),
            "high": _raw(f"{bar.high:.{digits}f}"),
            "low": _raw(f"{bar.low:.{digits}f}"),
            "close": _raw(f"{bar.close:.{digits}f}"),
            "trades": bar.trades,
            "volume": _raw(f"{bar.volume:.8f}"),
            "vwap": _raw(f"{vwap:.{digits}f}"),
            "interval_begin": rfc3339(bar.open_us).removesuffix("Z") + ".000000000Z",
            "interval": interval,
            "timestamp": microseconds(bar.close_us),
        }


class KrakenSession:
    """One connection of v2."""

    def __init__(self, streams: KrakenStreams) -> None:
        self._streams = streams
        self._since: dict[tuple[str, str, int], int] = {}

    def open(self, now_us: int) -> list[Frame]:
        """The system's status."""
        status = {"version": "2.0.10", "system": "online", "api_version": "v2", "connection_id": now_us * 1_531 % 2**63}
        return [Frame(_message("status", "update", [status]), "reply", "", now_us)]

    def receive(self, text: str, now_us: int) -> list[Frame]:
        """Acknowledgements with snapshots, errors, pongs."""
        try:
            request: Any = msgspec.json.decode(text)
        except msgspec.DecodeError:
            return [_reply({"error": "Malformed request", "success": False}, None, now_us)]
        method = request.get("method") if isinstance(request, dict) else None
        if method == "ping":
            return [_reply({"method": "pong"}, request, now_us)]
        if method not in ("subscribe", "unsubscribe"):
            return [_reply({"error": "Method(s) not found", "method": method, "success": False}, request, now_us)]
        params = request.get("params") or {}
        channel = params.get("channel")
        if channel not in _CHANNELS:
            error = "Channel not supported" if channel else "Channel field must be a string"
            return [_reply({"error": error, "method": method, "success": False}, request, now_us)]
        symbols = params.get("symbol")
        if not isinstance(symbols, list) or not symbols:
            error = "Symbol(s) not found"
            return [_reply({"error": error, "method": method, "success": False}, request, now_us)]
        return [frame for symbol in symbols for frame in self._one(request, channel, symbol, now_us)]

    def _one(self, request: Json, channel: str, symbol: str, now_us: int) -> list[Frame]:
        method, params = request["method"], request["params"]
        error = ""
        if symbol not in self._streams.symbols:
            error = f"Currency pair not supported {symbol}"
        option, extra = 0, {}
        if channel == "book":
            option = params.get("depth", 10)
            extra = {"depth": option}
            error = error or ("" if option in DEPTHS else "Subscription depth not supported")
        elif channel == "ohlc":
            option = params.get("interval", 1)
            extra = {"interval": option}
            error = error or ("" if str(option) in INTERVALS else "Subscription ohlc interval not supported")
        elif channel == "ticker":
            extra = {"event_trigger": params.get("event_trigger", "trades")}
        key = (channel, symbol, option)
        if not error and method == "subscribe" and key in self._since:
            error = "Already subscribed"
        if not error and method == "unsubscribe" and key not in self._since:
            error = "Subscription Not Found"
        if error:
            return [_reply({"error": error, "method": method, "success": False, "symbol": symbol}, request, now_us)]
        wanted = params.get("snapshot", _SNAPSHOT_UNLESS_REFUSED[channel])
        result = dict(sorted({"channel": channel, **extra, "snapshot": wanted, "symbol": symbol}.items()))
        frames = [_reply({"method": method, "result": result, "success": True}, request, now_us)]
        if method == "unsubscribe":
            del self._since[key]
            return frames
        self._since[key] = now_us
        if wanted:
            text = self._streams.snapshot(channel, symbol, option, now_us)
            frames.append(Frame(text, _CHANNELS[channel], symbol.replace("/", "-"), now_us))
        return frames

    def due(self, since_us: int, now_us: int) -> list[Frame]:
        """The subscribed channels' messages and, once subscribed, a heartbeat each second."""
        frames = [
            Frame(tick.json, _CHANNELS[channel], symbol.replace("/", "-"), tick.time_us)
            for (channel, symbol, option), from_us in self._since.items()
            for tick in self._streams.ticks(channel, symbol, option, max(since_us, from_us), now_us)
        ]
        if self._since:
            beats = boundaries(since_us, now_us, SECOND_US)
            frames.extend(Frame('{"channel":"heartbeat"}', "heartbeat", "", time_us) for time_us in beats)
        return sorted(frames, key=lambda frame: frame.time_us)


def microseconds(time_us: int) -> str:
    """RFC 3339 with six digits."""
    whole, fraction = divmod(time_us, SECOND_US)
    return f"{rfc3339(whole * SECOND_US).removesuffix('Z')}.{fraction:06d}Z"


def _trade(listing: Listing, trade: Trade) -> Json:
    return {
        "symbol": symbol_of(listing),
        "side": "buy" if trade.is_buy else "sell",
        "price": _raw(price_text(listing, trade.price_ticks)),
        "qty": _raw(lots_text(listing, trade.lots)),
        "ord_type": "market" if trade.aggregate_id % 3 else "limit",
        "trade_id": trade.id,
        "timestamp": microseconds(trade.time_us),
    }


def _level(listing: Listing, price: int, lots: int) -> Json:
    return {"price": _raw(price_text(listing, price)), "qty": _raw(lots_text(listing, lots))}


def _raw(digits: str) -> msgspec.Raw:
    return msgspec.Raw(digits.encode())


def _message(channel: str, kind: str, data: list[Json]) -> str:
    return msgspec.json.encode({"channel": channel, "type": kind, "data": data}).decode()


def _reply(body: Json, request: Json | None, now_us: int) -> Frame:
    stamped = {**body, "time_in": microseconds(now_us), "time_out": microseconds(now_us + _LATENCY_US)}
    if request is not None and "req_id" in request:
        stamped["req_id"] = request["req_id"]
    return Frame(msgspec.json.encode(stamped).decode(), "reply", "", now_us)
