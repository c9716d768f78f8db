"""Kraken's WebSocket v1, which older clients still speak: subscriptions and spans of time in, messages out.

Data messages are arrays `[channel id, payload, channel name, pair]`; every number is text.
"""

import zlib
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import msgspec

from md_platform.sandbox.book import Levels, step_at
from md_platform.sandbox.history import Bar, History
from md_platform.sandbox.kraken import INTERVALS, KrakenRest, long_price, ohlc_row, volume, wsname_of
from md_platform.sandbox.kraken_stream import DEPTHS, checksum, in_scope
from md_platform.sandbox.listings import Listing
from md_platform.sandbox.live import SECOND_US, Frame, Tick, boundaries, changed_steps, running_bar, traded_seconds
from md_platform.sandbox.prices import STEP_US
from md_platform.sandbox.rest import Distortion, Json, undistorted

_CHANNELS = {"trade": "trades", "book": "book", "ticker": "ticker", "ohlc": "bars", "spread": "ticker"}
_DEFAULTS = {"book": 10, "ohlc": 1}


class KrakenV1Streams:
    """Every channel's payloads, rendered once however many connections carry them."""

    def __init__(self, history: History, distort: Distortion = undistorted) -> None:
        self._history = history
        self._distort = distort
        self._rest = KrakenRest(history)
        listed = [listing for listing in history.simulation.listings.values() if listing.venue == "kraken"]
        self.pairs = {wsname_of(listing): listing for listing in listed}
        self.ticks = lru_cache(512)(self._make_ticks)

    def snapshot(self, name: str, pair: str, option: int, now_us: int) -> str | None:
        """The message that a subscription begins with; None where the channel has none."""
        listing = self.pairs[pair]
        match name:
            case "book":
                bids, asks = self._history.books.at(listing, step_at(now_us))
                sides = {"as": _levels(listing, asks, now_us), "bs": _levels(listing, bids, now_us)}
                return _message(name, option, pair, sides)
            case "ticker":
                return _message(name, option, pair, self._ticker(listing, now_us))
            case "ohlc":
                bar = running_bar(self._history, listing, INTERVALS[str(option)], now_us)
                return None if bar is None else _message(name, option, pair, self._ohlc(listing, bar, now_us))
            case _:
                return None

    def _make_ticks(self, name: str, pair: str, option: int, since_us: int, now_us: int) -> list[Tick]:
        """The channel's messages for one pair in `(since_us, now_us]`."""
        found = getattr(self, f"_{name}_ticks")(self.pairs[pair], option, since_us, now_us)
        return [Tick(time_us, _message(name, option, pair, *payloads)) for time_us, *payloads in found]

    def _trade_ticks(
        self, listing: Listing, _option: int, since_us: int, now_us: int
    ) -> Iterator[tuple[int, list[list[str]]]]:
        for trade in self._history.trades(listing, since_us + 1, now_us + 1):
            yield (
                trade.time_us,
                [
                    [
                        long_price(listing, trade.price_ticks),
                        volume(listing.size(trade.lots)),
                        _seconds(trade.time_us),
                        "b" if trade.is_buy else "s",
                        "m" if trade.aggregate_id % 3 else "l",
                        "",
                    ]
                ],
            )

    def _book_ticks(
        self, listing: Listing, depth: int, since_us: int, now_us: int
    ) -> Iterator[tuple[int, Json] | tuple[int, Json, Json]]:
        """Updates of one side come alone, of both in two payloads; the checksum is in the last."""
        books = self._history.books
        for before, step in changed_steps(self._history, listing, since_us, now_us):
            old, new, changes = books.at(listing, before), books.at(listing, step), books.changes(listing, before, step)
            asks = in_scope(old.asks, new.asks, changes.asks, depth, is_bid=False)
            bids = in_scope(old.bids, new.bids, changes.bids, depth, is_bid=True)
            time_us = step * STEP_US
            whole = [[(row[0], row[1]) for row in _levels(listing, side, time_us)] for side in new]
            crc = str(checksum(whole[1], whole[0]))
            payloads = [{key: _levels(listing, side, time_us)} for key, side in (("a", asks), ("b", bids)) if side]
            if payloads:
                payloads[-1]["c"] = crc  # type: ignore[assignment]
                yield (time_us, *payloads)  # type: ignore[misc]

    def _ticker_ticks(self, listing: Listing, _option: int, since_us: int, now_us: int) -> Iterator[tuple[int, Json]]:
        for trade in self._history.trades(listing, since_us + 1, now_us + 1):
            yield trade.time_us, self._ticker(listing, trade.time_us + 1)

    def _spread_ticks(
        self, listing: Listing, _option: int, since_us: int, now_us: int
    ) -> Iterator[tuple[int, list[str]]]:
        books = self._history.books
        for before, step in changed_steps(self._history, listing, since_us, now_us):
            best = [next(iter(side.items())) for side in books.at(listing, step)]
            if best != [next(iter(side.items())) for side in books.at(listing, before)]:
                (bid, bid_lots), (ask, ask_lots) = best
                yield (
                    step * STEP_US,
                    [
                        long_price(listing, bid),
                        long_price(listing, ask),
                        _seconds(step * STEP_US),
                        volume(listing.size(bid_lots)),
                        volume(listing.size(ask_lots)),
                    ],
                )

    def _ohlc_ticks(
        self, listing: Listing, interval: int, since_us: int, now_us: int
    ) -> Iterator[tuple[int, list[str | int]]]:
        for end_us in traded_seconds(self._history, listing, since_us, now_us):
            bar = running_bar(self._history, listing, INTERVALS[str(interval)], end_us)
            if bar is not None:
                yield end_us, self._ohlc(listing, bar, end_us)

    def _ohlc(self, listing: Listing, bar: Bar, now_us: int) -> list[str | int]:
        bar = self._distort(listing, "bars", [bar], now_us)[0]
        last = self._history.last_trades(listing, 1, now_us)[0]
        row = ohlc_row(listing, bar)
        return [_seconds(last.time_us), _seconds(bar.close_us), *row[1:]]

    def _ticker(self, listing: Listing, now_us: int) -> Json:
        ticker = self._rest.ticker(listing, now_us)
        whole = {side: [ticker[side][0], int(ticker[side][1]), ticker[side][2]] for side in ("a", "b")}
        return {**ticker, **whole, "o": [ticker["o"], ticker["o"]]}


class KrakenV1Session:
    """One connection of v1."""

    def __init__(self, streams: KrakenV1Streams) -> None:
        self._streams = streams
        self._since: dict[tuple[str, str, int], int] = {}

    def open(self, now_us: int) -> list[Frame]:
        """The system's status."""
        status = {
            "connectionID": now_us * 7_919 % 2**64,
            "event": "systemStatus",
            "status": "online",
            "version": "1.9.6",
        }
        return [_event(status, now_us)]

    def receive(self, text: str, now_us: int) -> list[Frame]:
        """Subscription statuses with snapshots, pongs."""
        try:
            request: Any = msgspec.json.decode(text)
        except msgspec.DecodeError:
            request = None
        event = request.get("event") if isinstance(request, dict) else None
        if event == "ping":
            return [_event({"event": "pong", **_echo(request)}, now_us)]
        if event not in ("subscribe", "unsubscribe"):
            return [_event({"errorMessage": "Malformed request", "event": "error"}, now_us)]
        wanted = request.get("subscription") or {}
        name = str(wanted.get("name"))
        option = wanted.get("depth" if name == "book" else "interval", _DEFAULTS.get(name, 0))
        frames: list[Frame] = []
        for pair in request.get("pair") or []:
            error = _objection(name, option, known=pair in self._streams.pairs)
            status = (
                {"errorMessage": error} if error else {"channelID": _channel_id(name, pair), **_named(name, option)}
            )
            status |= {"event": "subscriptionStatus", **_echo(request), "pair": pair}
            status |= {"status": "error" if error else f"{event}d", "subscription": _described(name, option)}
            frames.append(_event(dict(sorted(status.items())), now_us))
            if error:
                continue
            if event == "unsubscribe":
                self._since.pop((name, pair, option), None)
                continue
            self._since[name, pair, option] = now_us
            snapshot = self._streams.snapshot(name, pair, option, now_us)
            if snapshot is not None:
                frames.append(Frame(snapshot, _CHANNELS[name], _instrument(self._streams, pair), now_us))
        return frames

    def due(self, since_us: int, now_us: int) -> list[Frame]:
        """The subscribed channels' messages and, once subscribed, a heartbeat each second."""
        frames = [
            Frame(tick.json, _CHANNELS[name], _instrument(self._streams, pair), tick.time_us)
            for (name, pair, option), from_us in self._since.items()
            for tick in self._streams.ticks(name, pair, option, max(since_us, from_us), now_us)
        ]
        if self._since:
            beats = boundaries(since_us, now_us, SECOND_US)
            frames.extend(Frame('{"event":"heartbeat"}', "heartbeat", "", time_us) for time_us in beats)
        return sorted(frames, key=lambda frame: frame.time_us)


def _objection(name: str, option: int, *, known: bool) -> str:
    if name not in _CHANNELS:
        return "Subscription name invalid"
    if not known:
        return "Currency pair not supported"
    if name == "book" and option not in DEPTHS:
        return "Subscription depth not supported"
    if name == "ohlc" and str(option) not in INTERVALS:
        return "Subscription ohlc interval not supported"
    return ""


def _instrument(streams: KrakenV1Streams, pair: str) -> str:
    return streams.pairs[pair].pair


def _echo(request: Json) -> Json:
    return {"reqid": request["reqid"]} if "reqid" in request else {}


def _channel_id(name: str, pair: str) -> int:
    return zlib.crc32(f"{name}{pair}".encode()) % 4_096


def _named(name: str, option: int) -> Json:
    return {"channelName": f"{name}-{option}" if name in _DEFAULTS else name}


def _described(name: str, option: int) -> Json:
    match name:
        case "book":
            return {"depth": option, "name": name}
        case "ohlc":
            return {"interval": option, "name": name}
        case _:
            return {"name": name}


def _levels(listing: Listing, levels: Levels, time_us: int) -> list[list[str]]:
    return [
        [long_price(listing, price), volume(listing.size(lots)), _seconds(time_us)] for price, lots in levels.items()
    ]


def _seconds(time_us: int) -> str:
    return f"{time_us // SECOND_US}.{time_us % SECOND_US:06d}"


def _message(name: str, option: int, pair: str, *payloads: object) -> str:
    body = [_channel_id(name, pair), *payloads, _named(name, option)["channelName"], pair]
    return msgspec.json.encode(body).decode()


def _event(body: Json, now_us: int) -> Frame:
    return Frame(msgspec.json.encode(body).decode(), "reply", "", now_us)
