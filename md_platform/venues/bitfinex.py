"""Bitfinex live, WebSocket v2: trades, books and 1m candles. Frames in, events out. History comes through ccxt.

Messages are arrays `[channel id, payload, number, time]`: the tail is what the `conf` answer grants, and every message
of a connection takes the next number. A positive amount is bought by the taker (of a trade) or bid (in a book). Tickers
name best prices with the sum of 25 levels as sizes, which makes no quote.
"""

import zlib
from collections.abc import Sequence
from itertools import zip_longest
from typing import Any

import msgspec

from md_platform.domain.books import BookRules
from md_platform.domain.events import (
    Bar,
    BookUpdate,
    Channel,
    Event,
    Heartbeat,
    Level,
    Malformed,
    ReconnectAsked,
    Refused,
    SequenceGap,
    Side,
    Subscribed,
    Trade,
    TradingStatus,
    Unknown,
)
from md_platform.domain.instruments import Instrument
from md_platform.venues.feeds import Feed, Subscription, decoded_each
from md_platform.venues.live_values import NOT_THE_PROTOCOL, RunningBars, digits, follows, running_bar
from md_platform.venues.spec import RateLimit, VenueSpec

_TIMES, _NUMBERS, _CHECKSUMS = 32_768, 65_536, 131_072
FLAGS = _TIMES | _NUMBERS | _CHECKSUMS
CHECKSUM_DEPTH = 25
_MS = 1_000_000
_WITH_PAYLOAD = ("te", "tu", "cs")
_NAMES: dict[Channel, str] = {"trades": "trades", "book": "book", "bars": "candles"}
_SAID: dict[str, Channel] = {said: channel for channel, said in _NAMES.items()}
_CANDLES = "trade:1m:"
_LEVELS = 100

_decode_one = msgspec.json.Decoder(list[Any] | dict[str, Any], float_hook=str).decode
_decode_many = msgspec.json.Decoder(list[list[Any] | dict[str, Any]], float_hook=str).decode
"""Floats stay the text that they were: checksums are made of it."""


class BitfinexSession:
    """One connection. Channels have numbers that the venue chooses as it confirms them."""

    def __init__(self, subscriptions: Sequence[Subscription]) -> None:
        self._subscriptions = subscriptions
        self._ids = {s.instrument.native: s.instrument.id for s in subscriptions}
        self._channels: dict[int, tuple[str, str]] = {}
        self._flags = 0
        self._next: int | None = None
        self._booked: dict[str, int | None] = {}
        self._bars = RunningBars()

    def opening(self) -> list[bytes | str]:
        """The flags, then a message for each subscription."""
        asked = [{"event": "subscribe", **_named(s.channel, s.instrument)} for s in self._subscriptions]
        return [msgspec.json.encode(message) for message in ({"event": "conf", "flags": FLAGS}, *asked)]

    def receive(self, frames: Sequence[bytes], received_ns: int) -> list[Event]:
        """Events of `frames`, in order; a SequenceGap where the connection's numbers jump."""
        out: list[Event] = []
        channels = self._channels
        for raw, message in decoded_each(_decode_many, _decode_one, frames, out):
            try:
                if type(message) is dict:
                    out += self._event(raw, message)
                    continue
                kind = message[1]
                if self._flags & _NUMBERS:
                    number = message[3 if kind in _WITH_PAYLOAD else 2]
                    if number == self._next:
                        self._next = number + 1
                    else:
                        out += self._jumped(int(number))
                if kind == "te":
                    name, instrument = channels[message[0]]
                    out.append(_trade(message[2], instrument, received_ns) if name == "trades" else Unknown(raw))
                else:
                    out += self._others(raw, message, received_ns)
            except KeyError:  # a channel that was never confirmed
                out.append(Unknown(raw))
            except NOT_THE_PROTOCOL as error:
                out.append(Malformed(raw, f"{type(error).__name__}: {error}"))
        return out

    def _jumped(self, number: int) -> list[Event]:
        """The first number of all begins the count; an old one, a frame that came twice or late, leaves it as it is."""
        expected = self._next
        if expected is not None and number < expected:
            return []
        self._next = number + 1
        self._booked.clear()
        return [] if expected is None else [SequenceGap(expected, number)]

    def _others(self, raw: bytes, message: list[Any], received_ns: int) -> Sequence[Event]:
        """Behind the payload stands what the venue granted: the message's number, its time in ms, or both."""
        payload = message[1]
        name, instrument = self._channels.get(message[0], ("", ""))
        tail = message[3 if payload in _WITH_PAYLOAD else 2 :]
        number = int(tail.pop(0)) if self._flags & _NUMBERS else None
        at = int(tail[0]) * _MS if self._flags & _TIMES else received_ns
        events: Sequence[Event] = []
        match name, payload:
            case _, "hb":  # which may come before the channel is confirmed
                events = [Heartbeat()]
            case ("trades", "tu") | ("ticker", list()):
                pass  # what "te" said already; not asked for
            case "trades", list():
                events = [_trade(row, instrument, received_ns, sent_late=True) for row in reversed(payload)]
            case "book", "cs":
                update = BookUpdate(instrument, at, received_ns, [], [], checksum=int(message[2]))
                events = [self._numbered(update, number)]
            case "book", list():
                events = [self._numbered(_book(payload, instrument, at, received_ns), number)]
            case "candles", list():
                rows = payload if not payload or isinstance(payload[0], list) else [payload]
                events = self._bars.take([_bar(row, instrument, received_ns) for row in rows])
            case _:
                events = [Unknown(raw)]
        return events

    def _numbered(self, update: BookUpdate, number: int | None) -> BookUpdate:
        update.sequence, update.previous_sequence = number, self._booked.get(update.instrument)
        self._booked[update.instrument] = number
        return update

    def _event(self, raw: bytes, message: dict[str, Any]) -> list[Event]:
        events: list[Event] = [Unknown(raw)]
        match message.get("event"):
            case "subscribed":
                events = self._confirmed(raw, message)
            case "conf" if message.get("status") == "OK":
                self._flags = int(message.get("flags", FLAGS))
                events = []
            case "conf":
                events = [Refused(f"flags {FLAGS} were refused")]
            case "error":
                symbol = str(message.get("symbol") or message.get("key", "")).removeprefix(_CANDLES)
                said = f"{message.get('code')} {message.get('msg')}"
                events = [Refused(said, _SAID.get(str(message.get("channel"))), [symbol] if symbol else [])]
            case "info":
                events = _news(message) or events
            case "pong":
                events = [Heartbeat()]
        return events

    def _confirmed(self, raw: bytes, message: dict[str, Any]) -> list[Event]:
        name = str(message["channel"])
        native = str(message.get("symbol") or message["key"]).removeprefix(_CANDLES)
        if native not in self._ids:
            return [Unknown(raw)]
        self._channels[message["chanId"]] = name, self._ids[native]
        return [Subscribed(_SAID[name], [native])] if name in _SAID else []


def _named(channel: Channel, instrument: Instrument) -> dict[str, str]:
    if channel == "bars":
        return {"channel": _NAMES[channel], "key": _CANDLES + instrument.native}
    depth = {"prec": "P0", "freq": "F0", "len": str(_LEVELS)} if channel == "book" else {}
    return {"channel": _NAMES[channel], "symbol": instrument.native, **depth}


def _news(message: dict[str, Any]) -> list[Event]:
    """The greeting tells whether the platform works; later news are of restarts and maintenance."""
    said = str(message.get("msg", ""))
    match message.get("code"):
        case None if isinstance(message.get("platform"), dict):
            return [TradingStatus(message["platform"].get("status") != 1, None, said)]
        case 20051:
            return [ReconnectAsked(said)]
        case 20060:
            return [TradingStatus(is_halted=True, reason=said)]
        case 20061:  # "it is advised to unsubscribe and subscribe again all channels"
            return [TradingStatus(is_halted=False, reason=said), ReconnectAsked(said)]
    return []


def _trade(row: list[Any], instrument: str, received_ns: int, *, sent_late: bool = False) -> Trade:
    """`[id, time in ms, amount, price]`; the amount is positive where the taker bought."""
    number, time_ms, amount, price = row[:4]
    size = float(amount)
    side: Side = "buy" if size > 0 else "sell"
    return Trade(instrument, int(time_ms) * _MS, received_ns, int(number), float(price), abs(size), side, 1, sent_late)


def _book(payload: list[Any], instrument: str, at: int, received_ns: int) -> BookUpdate:
    """`[price, orders, amount]` each: bids have a positive amount, asks a negative one; 0 orders remove the level."""
    is_snapshot = not payload or isinstance(payload[0], list)
    bids: list[Level] = []
    asks: list[Level] = []
    for price, orders, amount in payload if is_snapshot else [payload[:3]]:
        size = digits(amount)
        side = asks if size.startswith("-") else bids
        side.append((digits(price), size.removeprefix("-") if orders else "0"))
    return BookUpdate(instrument, at, received_ns, bids, asks, is_snapshot)


def _bar(row: list[Any], instrument: str, received_ns: int) -> Bar:
    """`[time in ms, open, close, high, low, volume]`."""
    time_ms, opened, closed, high, low, volume = row[:6]
    ohlcv = float(opened), float(high), float(low), float(closed), float(volume)
    return running_bar(instrument, 1, int(time_ms) * _MS, ohlcv, received_ns)


def checksum(bids: Sequence[Level], asks: Sequence[Level]) -> int:
    """Signed CRC32 of price and amount of the best bid, best ask, next bid ... of 25 each; asks are negative."""
    parts: list[str] = []
    for bid, ask in zip_longest(bids[:CHECKSUM_DEPTH], asks[:CHECKSUM_DEPTH]):
        parts += bid or ()
        parts += (ask[0], f"-{ask[1]}") if ask else ()
    crc = zlib.crc32(":".join(parts).encode())
    return crc - (1 << 32) if crc >> 31 else crc


BITFINEX = VenueSpec(
    id="bitfinex",
    title="Bitfinex",
    rest_url="https://api-pub.bitfinex.com",
    ccxt="bitfinex",
    feeds=(
        Feed(
            name="bitfinex",
            urls=("wss://api-pub.bitfinex.com/ws/2", "wss://api.bitfinex.com/ws/2"),
            channels=frozenset(_NAMES),
            session=BitfinexSession,
            book=BookRules(follows=follows, checksum=checksum, checksum_depth=CHECKSUM_DEPTH),
            max_streams=25,
            ping=lambda: b'{"event":"ping"}',
            ping_after_s=30,
            connect_limit=RateLimit(weight=20, window_s=60),
        ),
    ),
)
VENUES = (BITFINEX,)
