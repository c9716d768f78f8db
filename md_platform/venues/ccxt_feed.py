"""Any exchange that ccxt.pro watches: ccxt's unified structures in, events out.

A frame is one trade, ticker or book as ccxt gives it, in JSON, with the channel, ccxt's symbol and how much of the base
currency one contract is: `{"channel": "trades", "symbol": "BTC/USDT", "contract_size": 1.0, "data": {…}}`.
"""

from collections.abc import Sequence
from typing import Annotated

import msgspec

from md_platform.domain.events import (
    BookUpdate,
    Channel,
    Event,
    Level,
    Quote,
    Refused,
    Side,
    Trade,
    Unknown,
)
from md_platform.venues.feeds import Feed, Session, Subscription, decoded_each

CHANNELS: frozenset[Channel] = frozenset({"trades", "quotes", "book"})
BOOK_LEVELS = 25
"""Levels a side of the whole books that ccxt's frames hold."""

_NAMED = "ccxt-"
_MS_NS = 1_000_000
_BEFORE_NS = 1_000_000_000
_MAX_STREAMS = 60  # ccxt sends one message a subscription, at its own rate for the exchange
_SILENCE_S: dict[Channel, float] = {"trades": 900, "quotes": 300, "book": 120}
_Sequence = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]


class _Trade(msgspec.Struct):
    timestamp: int
    price: float
    amount: float
    side: Side | None = None
    id: str | None = None


class _Ticker(msgspec.Struct, rename="camel"):
    timestamp: int | None = None
    bid: float | None = None
    bid_volume: float | None = None
    ask: float | None = None
    ask_volume: float | None = None


class _Book(msgspec.Struct):
    bids: list[tuple[float, float]]
    asks: list[tuple[float, float]]
    timestamp: int | None = None
    nonce: _Sequence | None = None


class _Message(msgspec.Struct, tag_field="channel"):
    symbol: str
    contract_size: float


class _Trades(_Message, tag="trades"):
    data: _Trade


class _Quotes(_Message, tag="quotes"):
    data: _Ticker


class _Books(_Message, tag="book"):
    data: _Book


_Frame = _Trades | _Quotes | _Books
_decode = msgspec.json.Decoder(_Frame).decode
_decode_many = msgspec.json.Decoder(list[_Frame]).decode


def feed_of(exchange: str, channels: frozenset[Channel] = CHANNELS) -> Feed:
    """The feed of the exchange that ccxt calls `exchange`, which gives `channels`."""
    return Feed(
        name=f"{_NAMED}{exchange}",
        urls=(f"ccxt:{exchange}",),
        channels=channels,
        session=CcxtSession,
        accepts=lambda _: True,
        max_streams=_MAX_STREAMS,
        silence_s=_SILENCE_S,
        ccxt=exchange,
    )


def feed_named(name: str) -> Feed | None:
    """The feed that `feed_of` calls `name`, None where the name is not one of its."""
    return feed_of(name.removeprefix(_NAMED)) if name.startswith(_NAMED) else None


class CcxtSession(Session):
    """One connection's frames. A trade without an id gets one of its values, counted where they repeat."""

    def __init__(self, subscriptions: Sequence[Subscription]) -> None:
        self._instruments = {each.instrument.ccxt: each.instrument for each in subscriptions}
        self._without_sizes: set[str] = set()
        self._repeats: dict[str, tuple[int, dict[str, int]]] = {}
        self._began_ns = 0

    def opening(self) -> list[bytes | str]:
        """Nothing: ccxt subscribes."""
        return []

    def receive(self, frames: Sequence[bytes], received_ns: int) -> list[Event]:
        """Events of ccxt's answers."""
        self._began_ns = self._began_ns or received_ns
        out: list[Event] = []
        for frame, message in decoded_each(_decode_many, _decode, frames, out):
            instrument = self._instruments.get(message.symbol)
            if instrument is None:
                out.append(Unknown(frame))
                continue
            match message:
                case _Trades():
                    out.append(self._trade(instrument.id, message, received_ns))
                case _Quotes():
                    out += self._quote(instrument.id, instrument.native, message, received_ns)
                case _Books():
                    out.append(_book(instrument.id, message, received_ns))
        return out

    def _trade(self, instrument: str, message: _Trades, received_ns: int) -> Trade:
        trade = message.data
        ts_event = trade.timestamp * _MS_NS
        id_ = trade.id or self._made_id(instrument, trade)
        return Trade(
            instrument,
            ts_event,
            received_ns,
            int(id_) if id_.isdigit() else id_,
            trade.price,
            trade.amount * message.contract_size,
            trade.side,
            sent_late=ts_event < self._began_ns - _BEFORE_NS,
        )

    def _made_id(self, instrument: str, trade: _Trade) -> str:
        text = f"{trade.timestamp}:{trade.price!r}:{trade.amount!r}:{trade.side or ''}"
        at, seen = self._repeats.get(instrument, (0, {}))
        if at != trade.timestamp:
            seen = {}
            self._repeats[instrument] = trade.timestamp, seen
        seen[text] = number = seen.get(text, 0) + 1
        return text if number == 1 else f"{text}:{number}"

    def _quote(self, instrument: str, native: str, message: _Quotes, received_ns: int) -> list[Event]:
        ticker, size = message.data, message.contract_size
        if ticker.bid is None or ticker.ask is None:  # a side is empty
            return []
        if ticker.bid_volume is None or ticker.ask_volume is None:
            if instrument in self._without_sizes:
                return []
            self._without_sizes.add(instrument)
            return [Refused("ccxt gives best prices without their sizes", "quotes", [native])]
        ts_event = received_ns if ticker.timestamp is None else ticker.timestamp * _MS_NS
        bid_size, ask_size = ticker.bid_volume * size, ticker.ask_volume * size
        return [Quote(instrument, ts_event, received_ns, ticker.bid, bid_size, ticker.ask, ask_size)]


def _book(instrument: str, message: _Books, received_ns: int) -> BookUpdate:
    book, size = message.data, message.contract_size
    ts_event = received_ns if book.timestamp is None else book.timestamp * _MS_NS
    bids, asks = _levels(book.bids, size), _levels(book.asks, size)
    return BookUpdate(instrument, ts_event, received_ns, bids, asks, is_snapshot=True, sequence=book.nonce)


def _levels(levels: Sequence[tuple[float, float]], contract_size: float) -> list[Level]:
    return [(repr(price), repr(amount * contract_size)) for price, amount in levels]
