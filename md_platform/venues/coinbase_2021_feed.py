"""Coinbase Pro's live protocol, that of captures until 2022: trades and books. Frames in, events out.

`side` of a match is the maker's. Tickers of those years name best prices without sizes, which makes no quote. Coinbase
Exchange still speaks it, books to members only.
"""

import datetime as dt
from collections.abc import Sequence
from typing import Literal

import msgspec

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
from md_platform.venues.feeds import Feed, Subscription, decoded_each
from md_platform.venues.live_values import NOT_THE_PROTOCOL, Halts, Moment, batches, decoder, moment_ns
from md_platform.venues.spec import RateLimit

_CHANNELS: dict[Channel, str] = {"trades": "matches", "book": "level2"}
_SAID: dict[str, Channel] = {said: channel for channel, said in _CHANNELS.items()}
_TAKER: dict[str, Side] = {"buy": "sell", "sell": "buy"}
_PRODUCTS_PER_MESSAGE = 100
_Side = Literal["buy", "sell"]


class _Match(msgspec.Struct, gc=False, tag="match"):
    product_id: str
    trade_id: int
    side: _Side
    size: str
    price: str
    time: Moment


class _LastMatch(_Match, tag="last_match"):
    """The last trade from before the subscription."""


class _Snapshot(msgspec.Struct, tag="snapshot"):
    product_id: str
    bids: list[Level]
    asks: list[Level]


class _Changes(msgspec.Struct, tag="l2update"):
    product_id: str
    changes: list[tuple[_Side, str, str]]
    time: Moment


class _Channel(msgspec.Struct):
    name: str
    product_ids: list[str] = []


class _Subscriptions(msgspec.Struct, tag="subscriptions"):
    channels: list[_Channel]


class _Product(msgspec.Struct):
    id: str
    status: str


class _Status(msgspec.Struct, tag="status"):
    products: list[_Product]


class _Ticker(msgspec.Struct, tag="ticker"):
    """Not asked for; captures have it."""


class _Beat(msgspec.Struct, tag="heartbeat"):
    """Each second, where it is asked for."""


class _Error(msgspec.Struct, tag="error"):
    message: str = ""
    reason: str = ""


class _Typed(msgspec.Struct):
    type: str = ""


_Other = _Snapshot | _Changes | _Subscriptions | _Status | _Ticker | _Beat | _Error
_Message = _Match | _LastMatch | _Other
_decode_many = msgspec.json.Decoder(list[_Message]).decode
_decode_one = decoder(_Message, _Typed)


class Coinbase2021Session:
    """One connection."""

    def __init__(self, subscriptions: Sequence[Subscription]) -> None:
        self._wanted: dict[Channel, list[str]] = {}
        for s in subscriptions:
            self._wanted.setdefault(s.channel, []).append(s.instrument.native)
        self._ids = {s.instrument.native: s.instrument.id for s in subscriptions}
        self._halts = Halts()
        self._confirmed: set[tuple[Channel, str]] = set()

    def opening(self) -> list[bytes | str]:
        """A subscribe message for each channel and hundred products; the status of all products comes without."""
        asked = [
            (_CHANNELS[c], part) for c, ids in self._wanted.items() for part in batches(ids, _PRODUCTS_PER_MESSAGE)
        ]
        messages = [{"type": "subscribe", "product_ids": part, "channels": [name]} for name, part in asked]
        return [msgspec.json.encode(m) for m in (*messages, {"type": "subscribe", "channels": ["status"]})]

    def receive(self, frames: Sequence[bytes], received_ns: int) -> list[Event]:
        """Events of `frames`, in order."""
        out: list[Event] = []
        ids = self._ids
        for raw, message in decoded_each(_decode_many, _decode_one, frames, out):
            try:
                if not isinstance(message, _Match):
                    out += self._others(raw, message, received_ns)
                    continue
                instrument, number = ids[message.product_id], message.trade_id
                at = int(message.time.timestamp() * 1e6 + 0.5) * 1_000
                side, is_late = _TAKER[message.side], type(message) is _LastMatch
                price, size = float(message.price), float(message.size)
                out.append(Trade(instrument, at, received_ns, number, price, size, side, 1, is_late))
            except KeyError:  # of a product that nobody asked for
                out.append(Unknown(raw))
            except NOT_THE_PROTOCOL as error:
                out.append(Malformed(raw, f"{type(error).__name__}: {error}"))
        return out

    def _others(self, raw: bytes, message: _Other | _Typed, received_ns: int) -> Sequence[Event]:
        events: Sequence[Event] = []
        match message:
            case _Changes():
                events = [_update(message, self._ids[message.product_id], received_ns)]
            case _Snapshot(product_id=product, bids=bids, asks=asks):
                events = [BookUpdate(self._ids[product], received_ns, received_ns, bids, asks, is_snapshot=True)]
            case _Subscriptions():
                events = self._newly_confirmed(message.channels)
            case _Status():
                events = [event for product in message.products for event in self._status_of(product)]
            case _Beat():
                events = [Heartbeat()]
            case _Error():
                events = [Refused(f"{message.message}: {message.reason}" if message.reason else message.message)]
            case _Typed():
                events = [Unknown(raw)]
        return events

    def _newly_confirmed(self, standing: list[_Channel]) -> list[Event]:
        """The venue lists all that stands after each request: what was not there before is what it confirms."""
        out: list[Event] = []
        for said in standing:
            channel = _SAID.get(said.name)
            if channel is not None:
                new = [product for product in said.product_ids if (channel, product) not in self._confirmed]
                self._confirmed.update((channel, product) for product in new)
                out += [Subscribed(channel, new)] if new else []
        return out

    def _status_of(self, product: _Product) -> list[Event]:
        return self._halts.take(self._ids.get(product.id), is_halted=product.status != "online", reason=product.status)


def _update(message: _Changes, instrument: str, received_ns: int) -> BookUpdate:
    bids = [(price, size) for side, price, size in message.changes if side == "buy"]
    asks = [(price, size) for side, price, size in message.changes if side == "sell"]
    return BookUpdate(instrument, moment_ns(message.time), received_ns, bids, asks)


PRO = Feed(
    name="coinbase-2021",
    urls=("wss://ws-feed.pro.coinbase.com",),
    channels=frozenset(_CHANNELS),
    session=Coinbase2021Session,
    numbers_trades=True,
    connect_limit=RateLimit(weight=1, window_s=1),
    spoken=(None, dt.date(2022, 12, 1)),
)
