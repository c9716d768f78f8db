"""Coinbase Advanced Trade live: trades, quotes, books, 5m candles. Frames in, events out. Sandbox: `sandbox-coinbase`.

A trade's `side` is the maker's: in captures trades at the best ask say SELL, so the taker's is the other one. Every
message of a connection takes its next `sequence_num`: after one that jumps, no book follows what stood before. Quotes
come with trades. The only candles are of 5 minutes.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import Literal

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
    SequenceGap,
    Side,
    Subscribed,
    Trade,
    Unknown,
)
from md_platform.domain.instruments import Instrument
from md_platform.venues.feeds import Feed, Subscription, decoded_each
from md_platform.venues.live_values import (
    NOT_THE_PROTOCOL,
    SECOND_NS,
    Halts,
    Moment,
    RunningBars,
    batches,
    decoder,
    follows,
    iso_ns,
    running_bar,
)
from md_platform.venues.spec import RateLimit

_CHANNELS: dict[Channel, str] = {"trades": "market_trades", "quotes": "ticker", "book": "level2", "bars": "candles"}
_SAID: dict[str, Channel] = {said: channel for channel, said in _CHANNELS.items()}
_TAKER: dict[str, Side] = {"BUY": "sell", "SELL": "buy"}
_PRODUCTS_PER_MESSAGE = 50
_CANDLE_MINUTES = 5
_OF_DOLLAR_COINS = {"USDT", "EURC"}
_Kind = Literal["snapshot", "update"]


class _Trade(msgspec.Struct, gc=False):
    product_id: str
    trade_id: str
    price: str
    size: str
    time: Moment
    side: Literal["BUY", "SELL"]


class _TradesEvent(msgspec.Struct, gc=False):
    type: _Kind
    trades: list[_Trade]


class _Trades(msgspec.Struct, gc=False, tag="market_trades", tag_field="channel"):
    sequence_num: int
    events: list[_TradesEvent]


class _Level(msgspec.Struct, gc=False):
    side: Literal["bid", "offer"]
    price_level: str
    new_quantity: str
    event_time: str


class _BookEvent(msgspec.Struct):
    type: _Kind
    product_id: str
    updates: list[_Level]


class _Books(msgspec.Struct, tag="l2_data", tag_field="channel"):
    sequence_num: int
    timestamp: str
    events: list[_BookEvent]


class _Ticker(msgspec.Struct):
    product_id: str
    best_bid: str
    best_bid_quantity: str
    best_ask: str
    best_ask_quantity: str


class _TickersEvent(msgspec.Struct):
    tickers: list[_Ticker]


class _Tickers(msgspec.Struct, tag="ticker", tag_field="channel"):
    sequence_num: int
    timestamp: str
    events: list[_TickersEvent]


class _Candle(msgspec.Struct):
    product_id: str
    start: str
    open: str
    high: str
    low: str
    close: str
    volume: str


class _CandlesEvent(msgspec.Struct):
    candles: list[_Candle]


class _Candles(msgspec.Struct, tag="candles", tag_field="channel"):
    sequence_num: int
    events: list[_CandlesEvent]


class _Product(msgspec.Struct):
    id: str
    status: str
    status_message: str = ""


class _StatusEvent(msgspec.Struct):
    products: list[_Product]


class _Status(msgspec.Struct, tag="status", tag_field="channel"):
    sequence_num: int
    events: list[_StatusEvent]


class _SubscriptionsEvent(msgspec.Struct):
    subscriptions: dict[str, list[str]]


class _Subscriptions(msgspec.Struct, tag="subscriptions", tag_field="channel"):
    sequence_num: int
    events: list[_SubscriptionsEvent]


class _Beat(msgspec.Struct, tag="heartbeats", tag_field="channel"):
    sequence_num: int


class _Answer(msgspec.Struct):
    """An error, or a message of a channel that we do not know."""

    type: str = ""
    message: str = ""
    channel: str | None = None


_Other = _Books | _Tickers | _Candles | _Status | _Subscriptions | _Beat
_Message = _Trades | _Other
_decode_many = msgspec.json.Decoder(list[_Message]).decode
_decode_one = decoder(_Message, _Answer)


class CoinbaseSession:
    """One connection. `halts`: whether the products' status is asked for, which the sandbox does not serve."""

    def __init__(self, subscriptions: Sequence[Subscription], *, halts: bool = True) -> None:
        self._wanted: dict[Channel, list[str]] = {}
        for s in subscriptions:
            self._wanted.setdefault(s.channel, []).append(s.instrument.native)
        self._ids = {s.instrument.native: s.instrument.id for s in subscriptions}
        self._asks_halts = halts
        self._halts = Halts()
        self._confirmed: set[tuple[Channel, str]] = set()
        self._next = 0
        self._booked: dict[str, int] = {}
        self._bars = RunningBars()

    def opening(self) -> list[bytes | str]:
        """Heartbeats, without which a quiet connection is closed; then each channel, fifty products at a time."""
        asked = [(_CHANNELS[channel], part) for channel, ids in self._wanted.items() for part in _parts(ids)]
        halts = [("status", part) for part in _parts(self._ids)] if self._asks_halts else []
        messages = [{"type": "subscribe", "channel": name, "product_ids": part} for name, part in (*asked, *halts)]
        return [msgspec.json.encode(m) for m in ({"type": "subscribe", "channel": "heartbeats"}, *messages)]

    def receive(self, frames: Sequence[bytes], received_ns: int) -> list[Event]:
        """Events of `frames`, in order; a SequenceGap where the connection's numbers jump."""
        out: list[Event] = []
        ids = self._ids
        for raw, message in decoded_each(_decode_many, _decode_one, frames, out):
            if type(message) is _Answer:
                is_error = message.type == "error" and message.channel is None
                out.append(Refused(message.message) if is_error else Unknown(raw))
                continue
            number = message.sequence_num
            if number > self._next:
                out.append(SequenceGap(self._next, number))
                self._booked.clear()
            if number >= self._next:
                self._next = number + 1
            try:
                if type(message) is not _Trades:
                    out += self._others(message, received_ns)
                    continue
                for event in message.events:
                    is_late = event.type == "snapshot"
                    for t in reversed(event.trades):  # they come newest first
                        instrument = ids[t.product_id]
                        at = int(t.time.timestamp() * 1e6 + 0.5) * 1_000
                        price, size, side = float(t.price), float(t.size), _TAKER[t.side]
                        out.append(Trade(instrument, at, received_ns, int(t.trade_id), price, size, side, 1, is_late))
            except KeyError:  # of a product that nobody asked for
                out.append(Unknown(raw))
            except NOT_THE_PROTOCOL as error:
                out.append(Malformed(raw, f"{type(error).__name__}: {error}"))
        return out

    def _others(self, message: _Other, received_ns: int) -> Sequence[Event]:
        ids, number = self._ids, message.sequence_num
        events: Sequence[Event]
        match message:
            case _Beat():
                events = [Heartbeat()]
            case _Books(events=books):
                at = iso_ns(message.timestamp)
                events = [self._update(each, ids[each.product_id], at, received_ns, number) for each in books]
            case _Tickers():
                at = iso_ns(message.timestamp)
                tickers = [ticker for event in message.events for ticker in event.tickers]
                events = [_quote(ticker, ids[ticker.product_id], at, received_ns) for ticker in tickers]
            case _Candles():
                candles = [candle for event in message.events for candle in event.candles]
                events = self._bars.take([_bar(candle, ids[candle.product_id], received_ns) for candle in candles])
            case _Status():
                events = [h for event in message.events for product in event.products for h in self._status_of(product)]
            case _Subscriptions():
                events = [c for event in message.events for c in self._newly_confirmed(event.subscriptions)]
        return events

    def _update(self, event: _BookEvent, instrument: str, at: int, received_ns: int, number: int) -> BookUpdate:
        sides: dict[str, list[Level]] = {"bid": [], "offer": []}
        for level in event.updates:
            sides[level.side].append((level.price_level, level.new_quantity))
        is_snapshot = event.type == "snapshot"
        if event.updates and not is_snapshot:
            at = iso_ns(event.updates[-1].event_time)
        update = BookUpdate(instrument, at, received_ns, sides["bid"], sides["offer"], is_snapshot, number)
        update.previous_sequence = self._booked.get(instrument)
        self._booked[instrument] = number
        return update

    def _newly_confirmed(self, standing: dict[str, list[str]]) -> list[Event]:
        """The venue lists all that stands after each request: what was not there before is what it confirms."""
        out: list[Event] = []
        for name, products in standing.items():
            channel = _SAID.get(name)
            if channel is not None:
                new = [product for product in products if (channel, product) not in self._confirmed]
                self._confirmed.update((channel, product) for product in new)
                out += [Subscribed(channel, new)] if new else []
        return out

    def _status_of(self, product: _Product) -> list[Event]:
        is_halted, reason = product.status != "online", product.status_message or product.status
        return self._halts.take(self._ids.get(product.id), is_halted=is_halted, reason=reason)


def _parts(products: Iterable[str]) -> list[Sequence[str]]:
    return list(batches(list(products), _PRODUCTS_PER_MESSAGE))


def _quote(ticker: _Ticker, instrument: str, at: int, received_ns: int) -> Quote:
    """Without the message's number, which begins anew with each connection."""
    bid, bid_size = float(ticker.best_bid), float(ticker.best_bid_quantity)
    return Quote(instrument, at, received_ns, bid, bid_size, float(ticker.best_ask), float(ticker.best_ask_quantity))


def _bar(candle: _Candle, instrument: str, received_ns: int) -> Bar:
    prices = float(candle.open), float(candle.high), float(candle.low), float(candle.close)
    ohlcv = *prices, float(candle.volume)
    return running_bar(instrument, _CANDLE_MINUTES, int(candle.start) * SECOND_NS, ohlcv, received_ns)


def accepts(instrument: Instrument) -> bool:
    """Products in USDC are sent as those in USD, under their name; only those of other dollar coins are themselves."""
    return not instrument.is_perpetual and (instrument.quote != "USDC" or instrument.base in _OF_DOLLAR_COINS)


ADVANCED = Feed(
    name="coinbase",
    urls=("wss://advanced-trade-ws.coinbase.com",),
    channels=frozenset(_CHANNELS),
    session=CoinbaseSession,
    accepts=accepts,
    book=BookRules(follows=follows),
    numbers_trades=True,
    connect_limit=RateLimit(weight=8, window_s=1),
    message_limit=RateLimit(weight=8, window_s=1),
)
SANDBOX = replace(
    ADVANCED,
    name="sandbox-coinbase",
    urls=("ws://127.0.0.1:8090/coinbase",),
    session=partial(CoinbaseSession, halts=False),
)
