"""Kraken live, WebSocket v2: trades, best quotes, books, 1m candles. Frames in, events out. Sandbox: `sandbox-kraken`.

A trade's `side` is the taker's. Symbols are BASE/QUOTE in everyone's names ("BTC/USD"), which an instrument's id bears;
its native name is that of REST (XXBTZUSD). Candles name vwap and no quote volume. v1: kraken_v1_feed.
"""

import itertools
import zlib
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Literal

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
    Quote,
    Refused,
    Subscribed,
    Trade,
    TradingStatus,
    Unknown,
)
from md_platform.domain.instruments import Instrument
from md_platform.venues.feeds import Feed, Subscription, decoded_each
from md_platform.venues.live_values import (
    NOT_THE_PROTOCOL,
    Halts,
    Moment,
    RunningBars,
    batches,
    decoder,
    digits,
    iso_ns,
    moment_ns,
    running_bar,
)
from md_platform.venues.spec import RateLimit

DEPTH = 100
CHECKSUM_DEPTH = 10
CONNECT_LIMIT = RateLimit(weight=150, window_s=600)
_CHANNELS: dict[Channel, str] = {"trades": "trade", "quotes": "ticker", "book": "book", "bars": "ohlc"}
_OPTIONS: dict[Channel, dict[str, str | int | bool]] = {
    "trades": {"snapshot": False},
    "quotes": {"event_trigger": "bbo"},
    "book": {"depth": DEPTH},
    "bars": {"interval": 1},
}
_SAID: dict[str, Channel] = {said: channel for channel, said in _CHANNELS.items()}
_SYMBOLS_PER_MESSAGE = 100
_INSTRUMENT = "instrument"
_MATCHING = {"online", "limit_only", "reduce_only"}
"""Statuses in which orders are matched; all others (cancel_only, maintenance, post_only, ...) are halts."""

_Side = Literal["buy", "sell"]
_Kind = Literal["snapshot", "update"]


class _Trade(msgspec.Struct, gc=False):
    symbol: str
    side: _Side
    price: float
    qty: float
    trade_id: int
    timestamp: Moment


class _Trades(msgspec.Struct, gc=False, tag="trade", tag_field="channel"):
    type: _Kind
    data: list[_Trade]


class _Level(msgspec.Struct, gc=False):
    """Untyped, so that numbers keep their own digits."""

    price: Any
    qty: Any


class _Book(msgspec.Struct):
    symbol: str
    bids: list[_Level]
    asks: list[_Level]
    checksum: int | None = None
    timestamp: Moment | None = None


class _Books(msgspec.Struct, tag="book", tag_field="channel"):
    type: _Kind
    data: list[_Book]


class _Ticker(msgspec.Struct):
    symbol: str
    bid: float
    bid_qty: float
    ask: float
    ask_qty: float
    timestamp: Moment | None = None


class _Tickers(msgspec.Struct, tag="ticker", tag_field="channel"):
    data: list[_Ticker]


class _Candle(msgspec.Struct):
    symbol: str
    open: float
    high: float
    low: float
    close: float
    volume: float
    trades: int
    interval_begin: str
    interval: int


class _Candles(msgspec.Struct, tag="ohlc", tag_field="channel"):
    data: list[_Candle]


class _System(msgspec.Struct):
    system: str


class _Status(msgspec.Struct, tag="status", tag_field="channel"):
    data: list[_System]


class _Pair(msgspec.Struct):
    symbol: str
    status: str


class _Reference(msgspec.Struct):
    pairs: list[_Pair] = []


class _Instruments(msgspec.Struct, tag=_INSTRUMENT, tag_field="channel"):
    data: _Reference


class _Beat(msgspec.Struct, tag="heartbeat", tag_field="channel"):
    """Each second, once something is subscribed."""


class _Result(msgspec.Struct):
    channel: str = ""
    symbol: str = ""


class _Answer(msgspec.Struct):
    """The answer to a request, or a message of a channel that we do not know."""

    channel: str | None = None
    method: str | None = None
    success: bool = True
    error: str = ""
    symbol: str = ""
    result: _Result | None = None
    req_id: int | None = None


_Other = _Books | _Tickers | _Candles | _Status | _Instruments | _Beat
_Message = _Trades | _Other
_decode_many = msgspec.json.Decoder(list[_Message], float_hook=str).decode
_decode_one = decoder(_Message, _Answer, float_hook=str)
"""Floats of untyped fields stay the text that they were: checksums are made of it."""


class KrakenSession:
    """One v2 connection. `halts`: whether the status of each pair is asked for, which the sandbox does not serve."""

    def __init__(self, subscriptions: Sequence[Subscription], *, halts: bool = True) -> None:
        self._wanted: dict[Channel, dict[str, str]] = {}
        for s in subscriptions:
            self._wanted.setdefault(s.channel, {})[symbol_of(s.instrument)] = s.instrument.native
        self._ids = {symbol_of(s.instrument): s.instrument.id for s in subscriptions}
        self._asks_halts = halts
        self._halts = Halts()
        self._asked: dict[int, Channel] = {}
        self._numbers = itertools.count(1)
        self._asked_halts = -1
        self._bars = RunningBars()

    def opening(self) -> list[bytes | str]:
        """A subscribe message for each channel and hundred symbols."""
        messages = [
            self._subscribe({"channel": _CHANNELS[channel], "symbol": symbols, **_OPTIONS[channel]}, channel)
            for channel, natives in self._wanted.items()
            for symbols in batches(list(natives), _SYMBOLS_PER_MESSAGE)
        ]
        return [*messages, self._subscribe({"channel": _INSTRUMENT})] if self._asks_halts else [*messages]

    def _subscribe(self, params: dict[str, Any], channel: Channel | None = None) -> bytes:
        number = next(self._numbers)
        if channel is None:
            self._asked_halts = number
        else:
            self._asked[number] = channel
        return msgspec.json.encode({"method": "subscribe", "params": params, "req_id": number})

    def receive(self, frames: Sequence[bytes], received_ns: int) -> list[Event]:
        """Events of `frames`, in order."""
        out: list[Event] = []
        ids = self._ids
        for raw, message in decoded_each(_decode_many, _decode_one, frames, out):
            if type(message) is not _Trades:
                out += self._others(raw, message, received_ns)
                continue
            is_late = message.type == "snapshot"
            for t in message.data:
                instrument = ids.get(t.symbol)
                if instrument is None:
                    out.append(Unknown(raw))
                    continue
                at = int(t.timestamp.timestamp() * 1e6 + 0.5) * 1_000
                out.append(Trade(instrument, at, received_ns, t.trade_id, t.price, t.qty, t.side, 1, is_late))
        return out

    def _others(self, raw: bytes, message: _Other | _Answer, received_ns: int) -> Sequence[Event]:
        events: Sequence[Event]
        match message:
            case _Beat():
                events = [Heartbeat()]
            case _Answer():
                events = self._answer(raw, message)
            case _Status():
                events = [TradingStatus(s.system not in _MATCHING, None, s.system) for s in message.data]
            case _Instruments():
                events = [event for pair in message.data.pairs for event in self._status_of(pair)]
            case _:
                events = self._market(raw, message, received_ns)
        return events

    def _status_of(self, pair: _Pair) -> list[Event]:
        is_halted = pair.status not in _MATCHING
        return self._halts.take(self._ids.get(pair.symbol), is_halted=is_halted, reason=pair.status)

    def _market(self, raw: bytes, message: _Books | _Tickers | _Candles, received_ns: int) -> Sequence[Event]:
        ids = self._ids
        if not all(part.symbol in ids for part in message.data):
            return [Unknown(raw)]
        try:
            match message:
                case _Books():
                    return [_update(book, ids[book.symbol], message.type, received_ns) for book in message.data]
                case _Tickers():
                    return [_quote(ticker, ids[ticker.symbol], received_ns) for ticker in message.data]
                case _Candles():
                    return self._bars.take(_bar(candle, ids[candle.symbol], received_ns) for candle in message.data)
        except NOT_THE_PROTOCOL as error:
            return [Malformed(raw, f"{type(error).__name__}: {error}")]

    def _answer(self, raw: bytes, answer: _Answer) -> list[Event]:
        result = answer.result
        if answer.channel is not None or (answer.error and answer.req_id == self._asked_halts):
            return [Unknown(raw)]  # no subscription depends on being told of halts
        if answer.method == "pong":
            return [Heartbeat()]
        if answer.error or not answer.success:
            channel = self._asked.get(answer.req_id or 0)
            native = self._wanted.get(channel, {}).get(answer.symbol) if channel else None
            return [Refused(answer.error, channel, [native] if native else [answer.symbol] if answer.symbol else [])]
        if answer.method != "subscribe" or result is None:
            return [Unknown(raw)]
        if result.channel == _INSTRUMENT:
            return []
        channel = _SAID.get(result.channel)
        native = self._wanted.get(channel, {}).get(result.symbol) if channel else None
        return [Unknown(raw)] if native is None else [Subscribed(channel, [native])]


def symbol_of(instrument: Instrument) -> str:
    """v2's own name: `BTC/USD`."""
    return f"{instrument.base}/{instrument.quote}"


def _update(book: _Book, instrument: str, kind: _Kind, received_ns: int) -> BookUpdate:
    at = received_ns if book.timestamp is None else moment_ns(book.timestamp)
    bids, asks = _levels(book.bids), _levels(book.asks)
    return BookUpdate(instrument, at, received_ns, bids, asks, kind == "snapshot", checksum=book.checksum)


def _levels(levels: list[_Level]) -> list[Level]:
    return [(digits(level.price), digits(level.qty)) for level in levels]


def _quote(ticker: _Ticker, instrument: str, received_ns: int) -> Quote:
    at = received_ns if ticker.timestamp is None else moment_ns(ticker.timestamp)
    return Quote(instrument, at, received_ns, ticker.bid, ticker.bid_qty, ticker.ask, ticker.ask_qty)


def _bar(candle: _Candle, instrument: str, received_ns: int) -> Bar:
    ohlcv = candle.open, candle.high, candle.low, candle.close, candle.volume
    return running_bar(instrument, candle.interval, iso_ns(candle.interval_begin), ohlcv, received_ns, candle.trades)


def checksum(bids: Sequence[Level], asks: Sequence[Level]) -> int:
    """CRC32 of the ten best asks, then bids: price and size of each without point and leading zeros."""
    levels = (*asks[:CHECKSUM_DEPTH], *bids[:CHECKSUM_DEPTH])
    return zlib.crc32("".join([text.replace(".", "").lstrip("0") for level in levels for text in level]).encode())


V2 = Feed(
    name="kraken",
    urls=("wss://ws.kraken.com/v2",),
    channels=frozenset(_CHANNELS),
    session=KrakenSession,
    book=BookRules(checksum=checksum, checksum_depth=CHECKSUM_DEPTH, depth=DEPTH),
    numbers_trades=True,
    ping=lambda: b'{"method":"ping"}',
    ping_after_s=30,
    connect_limit=CONNECT_LIMIT,
)
SANDBOX = replace(
    V2,
    name="sandbox-kraken",
    urls=("ws://127.0.0.1:8090/kraken/v2",),
    session=partial(KrakenSession, halts=False),
)
