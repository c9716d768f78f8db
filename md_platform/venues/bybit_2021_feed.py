"""Bybit's protocol v2 live, for what was captured until its book `orderBookL2_25` ended: perpetuals, trades and books.

Linear writes prices as text and numbers of a message as text; inverse writes both as numbers in some messages: whatever
the form, digits are kept.
"""

import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import replace
from decimal import Decimal

import msgspec

from md_platform.domain.books import BookRules
from md_platform.domain.events import (
    BookUpdate,
    Channel,
    Event,
    Heartbeat,
    Level,
    Malformed,
    Refused,
    Side,
    Subscribed,
    Trade,
    Unknown,
)
from md_platform.venues.feeds import Feed, Subscription, decoded_each, levels_of

_TOPICS: dict[Channel, str] = {"trades": "trade", "book": "orderBookL2_25"}
_CHANNELS: dict[str, Channel] = {topic: channel for channel, topic in _TOPICS.items()}
_TOPICS_PER_MESSAGE = 10
_SIDES: dict[str, Side] = {"Buy": "buy", "Sell": "sell"}
_MS, _US = 1_000_000, 1_000


class _Row(msgspec.Struct, gc=False):
    """A trade or a level; a level that is deleted has no size."""

    side: str = ""  # of a trade: the taker's
    price: Decimal | None = None
    size: Decimal = Decimal(0)
    trade_time_ms: int | str = ""
    trade_id: str = ""


class _Levels(msgspec.Struct, gc=False):
    order_book: list[_Row] = []
    delete: list[_Row] = []
    update: list[_Row] = []
    insert: list[_Row] = []


class _Asked(msgspec.Struct, gc=False):
    op: str = ""
    args: list[str] | None = None


class _Frame(msgspec.Struct, gc=False):
    topic: str = ""
    type: str = ""
    data: list[_Row] | _Levels | None = None
    timestamp_e6: int | str = ""
    success: bool = True
    ret_msg: str = ""
    request: _Asked | None = None


_decode_one = msgspec.json.Decoder(_Frame).decode
_decode_many = msgspec.json.Decoder(list[_Frame]).decode


class Bybit2021Session:
    """One connection."""

    def __init__(self, subscriptions: Sequence[Subscription]) -> None:
        self._topics = {
            f"{_TOPICS[s.channel]}.{s.instrument.native}": (s.channel, s.instrument.id) for s in subscriptions
        }

    def opening(self) -> list[bytes | str]:
        """Subscribe messages."""
        topics = list(self._topics)
        return [
            msgspec.json.encode({"op": "subscribe", "args": topics[n : n + _TOPICS_PER_MESSAGE]})
            for n in range(0, len(topics), _TOPICS_PER_MESSAGE)
        ]

    def receive(self, frames: Sequence[bytes], received_ns: int) -> list[Event]:
        """Events of `frames`, in order."""
        out: list[Event] = []
        for raw, frame in decoded_each(_decode_many, _decode_one, frames, out):
            channel, instrument = self._topics.get(frame.topic, (None, ""))
            try:
                if channel == "trades":
                    out += _trades(frame.data, instrument, received_ns)
                elif channel == "book":
                    out.append(_book(frame, instrument, received_ns))
                else:
                    out += _answer(raw, frame)
            except (ValueError, TypeError, KeyError, OverflowError) as error:
                out.append(Malformed(raw, f"{frame.topic}: {error}"))
        return out


def _answer(raw: bytes, frame: _Frame) -> Iterable[Event]:
    asked = frame.request
    if frame.topic or asked is None:
        return [Unknown(raw)]
    if asked.op == "ping":
        return [Heartbeat()]
    names: dict[Channel, list[str]] = {}
    for topic in asked.args or ():
        name, _, symbol = topic.partition(".")
        if name in _CHANNELS:
            names.setdefault(_CHANNELS[name], []).append(symbol)
    if not frame.success:
        return [Refused(frame.ret_msg, *each) for each in names.items()] or [Refused(frame.ret_msg)]
    return [Subscribed(*each) for each in names.items()] or [Unknown(raw)]


def _trades(data: list[_Row] | _Levels | None, instrument: str, received_ns: int) -> Iterable[Event]:
    if not isinstance(data, list):
        raise TypeError("data of trades must be a list")
    for row in data:
        if row.price is None:
            raise TypeError("a trade must have a price")
        at = int(row.trade_time_ms) * _MS
        price, size = float(row.price), float(row.size)
        yield Trade(instrument, at, received_ns, row.trade_id, price, size, _SIDES[row.side])


def _book(frame: _Frame, instrument: str, received_ns: int) -> BookUpdate:
    """Numbers of messages are shared by all books, so that they prove nothing of one book."""
    data = frame.data
    if frame.type == "snapshot":
        rows = data.order_book if isinstance(data, _Levels) else data
    elif isinstance(data, _Levels) and frame.type == "delta":
        rows = data.delete + data.update + data.insert
    else:
        rows = None
    if rows is None:
        raise TypeError("a book must be a snapshot with levels or a delta")
    sides: dict[str, list[Level]] = {"Buy": [], "Sell": []}
    for row in rows:
        if row.price is None:
            raise TypeError("a level must have a price")
        sides[row.side].append((str(row.price), str(row.size)))
    at = int(frame.timestamp_e6) * _US
    is_snapshot = frame.type == "snapshot"
    bids, asks = levels_of(sides["Buy"]), levels_of(sides["Sell"])
    return BookUpdate(instrument, at, received_ns, bids, asks, is_snapshot=is_snapshot)


LINEAR = Feed(
    name="bybit-linear-2021",
    urls=("wss://stream.bybit.com/realtime_public",),
    channels=frozenset(_TOPICS),
    session=Bybit2021Session,
    accepts=lambda instrument: instrument.is_perpetual and instrument.quote != "USD",
    book=BookRules(depth=25),
    ping=lambda: '{"op":"ping"}',
    ping_after_s=30,
    spoken=(None, dt.date(2021, 10, 22)),
)
INVERSE = replace(
    LINEAR,
    name="bybit-inverse-2021",
    urls=("wss://stream.bybit.com/realtime",),
    accepts=lambda instrument: instrument.is_perpetual and instrument.quote == "USD",
)
FEEDS = (LINEAR, INVERSE)
