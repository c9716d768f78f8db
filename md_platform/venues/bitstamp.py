"""Bitstamp live, WebSocket v2: trades and books. Frames in, events out. History comes through ccxt.

A trade's `type` is the taker's side: 0 bought, 1 sold. The book's changes stand beside a whole book over REST; both
carry `microtimestamp`, which orders them but does not tell when one is missing.
"""

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
    ReconnectAsked,
    Refused,
    Side,
    Subscribed,
    Trade,
    Unknown,
)
from md_platform.domain.instruments import Instrument
from md_platform.venues.feeds import Feed, Subscription, decoded_each
from md_platform.venues.live_values import NOT_THE_PROTOCOL
from md_platform.venues.spec import Request, VenueSpec

_NAMES: dict[Channel, str] = {"trades": "live_trades_", "book": "diff_order_book_"}
_TAKER: tuple[Side, Side] = ("buy", "sell")
_US = 1_000
_DAY_S = 86_400


class _Data(msgspec.Struct):
    """Every kind of message: which fields are there depends on the event."""

    microtimestamp: str = ""
    id: int = 0
    price_str: str = ""
    amount_str: str = ""
    type: Literal[0, 1] | None = None
    bids: list[Level] | None = None
    asks: list[Level] | None = None
    message: str = ""
    code: int | str | None = None


class _Frame(msgspec.Struct):
    event: str
    channel: str = ""
    data: _Data | str | None = None


class _Book(msgspec.Struct):
    microtimestamp: str
    bids: list[Level]
    asks: list[Level]


_decode_one = msgspec.json.Decoder(_Frame).decode
_decode_many = msgspec.json.Decoder(list[_Frame]).decode
_book = msgspec.json.Decoder(_Book)


class BitstampSession:
    """One connection."""

    def __init__(self, subscriptions: Sequence[Subscription]) -> None:
        self._channels = {_NAMES[s.channel] + s.instrument.native: s for s in subscriptions}
        self._ids = {name: s.instrument.id for name, s in self._channels.items()}

    def opening(self) -> list[bytes | str]:
        """A message for each channel; the venue takes no lists."""
        return [msgspec.json.encode({"event": "bts:subscribe", "data": {"channel": name}}) for name in self._channels]

    def receive(self, frames: Sequence[bytes], received_ns: int) -> list[Event]:
        """Events of `frames`, in order."""
        out: list[Event] = []
        ids = self._ids
        for raw, frame in decoded_each(_decode_many, _decode_one, frames, out):
            try:
                if frame.event != "trade":
                    out.append(self._other(raw, frame, received_ns))
                    continue
                data, instrument = frame.data, ids.get(frame.channel)
                if instrument is None:
                    out.append(Unknown(raw))
                    continue
                at, side = int(data.microtimestamp) * _US, _TAKER[data.type]
                price, size = float(data.price_str), float(data.amount_str)
                out.append(Trade(instrument, at, received_ns, data.id, price, size, side))
            except NOT_THE_PROTOCOL as error:
                out.append(Malformed(raw, f"{frame.event}: {error}"))
        return out

    def _other(self, raw: bytes, frame: _Frame, received_ns: int) -> Event:
        subscription = self._channels.get(frame.channel)
        data = frame.data
        event: Event = Unknown(raw)
        match frame.event:
            case "data" if subscription is not None and isinstance(data, _Data):
                at = int(data.microtimestamp)
                if data.bids is None or data.asks is None:
                    raise TypeError("a book must hold bids and asks")
                event = BookUpdate(subscription.instrument.id, at * _US, received_ns, data.bids, data.asks, sequence=at)
            case "bts:subscription_succeeded" if subscription is not None:
                event = Subscribed(subscription.channel, [subscription.instrument.native])
            case "bts:heartbeat":
                event = Heartbeat()
            case "bts:request_reconnect":
                event = ReconnectAsked()
            case "bts:error":
                said = f"{data.code or ''} {data.message}".strip() if isinstance(data, _Data) else str(data or "")
                event = Refused(said)
        return event


def _snapshot_request(instrument: Instrument) -> Request:
    return Request(f"/api/v2/order_book/{instrument.native}/")


def _parse_snapshot(payload: bytes, instrument: Instrument, received_ns: int) -> BookUpdate:
    """A REST order book. MsgspecError (a ValueError) where it is not one."""
    book = _book.decode(payload)
    at = int(book.microtimestamp)
    return BookUpdate(instrument.id, at * _US, received_ns, book.bids, book.asks, is_snapshot=True, sequence=at)


BITSTAMP = VenueSpec(
    id="bitstamp",
    title="Bitstamp",
    rest_url="https://www.bitstamp.net",
    ccxt="bitstamp",
    feeds=(
        Feed(
            name="bitstamp",
            urls=("wss://ws.bitstamp.net",),
            channels=frozenset(_NAMES),
            session=BitstampSession,
            snapshot_request=_snapshot_request,
            parse_snapshot=_parse_snapshot,
            ping=lambda: b'{"event":"bts:heartbeat"}',
            ping_after_s=30,
            max_connection_s=90 * _DAY_S,
        ),
    ),
)
VENUES = (BITSTAMP,)
