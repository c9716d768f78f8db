"""Gemini live, market data v2: trades, books and 1m candles. Frames in, events out. History comes through ccxt.

`l2` carries both trades and book; a trade's `side` is the taker's: in captures those that buy are at the best ask. The
venue confirms nothing: a symbol's first message, its whole book with its last trades, is taken as the confirmation. It
numbers nothing, and book changes carry no time. Auctions are said to be Unknown, so that they are kept.
"""

from collections.abc import Sequence
from typing import Literal

import msgspec

from md_platform.domain.events import (
    Bar,
    BookUpdate,
    Channel,
    Event,
    Heartbeat,
    Level,
    Malformed,
    Refused,
    Subscribed,
    Trade,
    Unknown,
)
from md_platform.venues.feeds import Feed, Subscription, decoded_each
from md_platform.venues.live_values import NOT_THE_PROTOCOL, RunningBars, batches, decoder, running_bar
from md_platform.venues.spec import RateLimit, VenueSpec

_NAMES: dict[Channel, str] = {"trades": "l2", "book": "l2", "bars": "candles_1m"}
_SYMBOLS_PER_MESSAGE = 50
_MS = 1_000_000
_Side = Literal["buy", "sell"]


class _Trade(msgspec.Struct, tag="trade", gc=False):
    symbol: str
    event_id: int
    timestamp: int
    price: str
    quantity: str
    side: _Side


class _Changes(msgspec.Struct, tag="l2_updates"):
    symbol: str
    changes: list[tuple[_Side, str, str]]
    trades: list[_Trade] | None = None


class _Candles(msgspec.Struct, tag="candles_1m_updates"):
    symbol: str
    changes: list[tuple[int, float, float, float, float, float]]


class _Beat(msgspec.Struct, tag="heartbeat"):
    """Every five seconds."""


class _Answer(msgspec.Struct):
    """A refusal, or a message of a type that we do not know."""

    type: str = ""
    result: str = ""
    reason: str = ""
    message: str = ""


_Message = _Trade | _Changes | _Candles | _Beat
_decode_many = msgspec.json.Decoder(list[_Message]).decode
_decode_one = decoder(_Message, _Answer)


class GeminiSession:
    """One connection."""

    def __init__(self, subscriptions: Sequence[Subscription]) -> None:
        self._wanted: dict[str, dict[str, list[Channel]]] = {}
        for s in subscriptions:
            symbols = self._wanted.setdefault(_NAMES[s.channel], {})
            symbols.setdefault(s.instrument.native.upper(), []).append(s.channel)
        self._ids = {s.instrument.native.upper(): s.instrument.id for s in subscriptions}
        self._natives = {s.instrument.native.upper(): s.instrument.native for s in subscriptions}
        self._heard: set[tuple[str, str]] = set()
        self._bars = RunningBars()

    def opening(self) -> list[bytes | str]:
        """A subscribe message for `l2` and one for candles, for each fifty symbols."""
        return [
            msgspec.json.encode({"type": "subscribe", "subscriptions": [{"name": name, "symbols": part}]})
            for name, symbols in self._wanted.items()
            for part in batches(list(symbols), _SYMBOLS_PER_MESSAGE)
        ]

    def receive(self, frames: Sequence[bytes], received_ns: int) -> list[Event]:
        """Events of `frames`, in order."""
        out: list[Event] = []
        ids = self._ids
        for raw, message in decoded_each(_decode_many, _decode_one, frames, out):
            try:
                if type(message) is _Trade:
                    at, price, size = message.timestamp * _MS, float(message.price), float(message.quantity)
                    instrument = ids[message.symbol]
                    out.append(Trade(instrument, at, received_ns, message.event_id, price, size, message.side))
                else:
                    out += self._others(raw, message, received_ns)
            except KeyError:  # of a symbol that nobody asked for
                out.append(Unknown(raw))
            except NOT_THE_PROTOCOL as error:
                out.append(Malformed(raw, f"{type(error).__name__}: {error}"))
        return out

    def _others(self, raw: bytes, message: _Changes | _Candles | _Beat | _Answer, received_ns: int) -> list[Event]:
        match message:
            case _Beat():
                return [Heartbeat()]
            case _Answer(type="", result="error"):
                return [Refused(f"{message.reason} {message.message}".strip())]
            case _Answer():
                return [Unknown(raw)]
            case _Candles(symbol=symbol, changes=changes):
                bars = [_bar(row, self._ids[symbol], received_ns) for row in changes]
                return [*self._first("candles_1m", symbol), *self._bars.take(bars)]
        return self._changed(message, self._ids[message.symbol], received_ns)

    def _changed(self, message: _Changes, instrument: str, received_ns: int) -> list[Event]:
        """The first message of a symbol is its whole book, as is any that comes with its last trades."""
        confirmed = self._first("l2", message.symbol)
        bids: list[Level] = [(price, size) for side, price, size in message.changes if side == "buy"]
        asks: list[Level] = [(price, size) for side, price, size in message.changes if side == "sell"]
        is_snapshot = bool(confirmed) or message.trades is not None
        trades = [_late(trade, instrument, received_ns) for trade in reversed(message.trades or ())]
        return [*confirmed, *trades, BookUpdate(instrument, received_ns, received_ns, bids, asks, is_snapshot)]

    def _first(self, name: str, symbol: str) -> list[Event]:
        if (name, symbol) in self._heard:
            return []
        self._heard.add((name, symbol))
        return [Subscribed(channel, [self._natives[symbol]]) for channel in self._wanted.get(name, {}).get(symbol, ())]


def _late(trade: _Trade, instrument: str, received_ns: int) -> Trade:
    at, price, size = trade.timestamp * _MS, float(trade.price), float(trade.quantity)
    return Trade(instrument, at, received_ns, trade.event_id, price, size, trade.side, sent_late=True)


def _bar(row: tuple[int, float, float, float, float, float], instrument: str, received_ns: int) -> Bar:
    """`[time in ms, open, high, low, close, volume]`."""
    return running_bar(instrument, 1, row[0] * _MS, row[1:], received_ns)


GEMINI = VenueSpec(
    id="gemini",
    title="Gemini",
    rest_url="https://api.gemini.com",
    ccxt="gemini",
    feeds=(
        Feed(
            name="gemini",
            urls=("wss://api.gemini.com/v2/marketdata",),
            channels=frozenset(_NAMES),
            session=GeminiSession,
            connect_limit=RateLimit(weight=60, window_s=60),
        ),
    ),
)
VENUES = (GEMINI,)
