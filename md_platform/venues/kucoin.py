"""KuCoin spot live: matches, tickers, candles and changes of books, at an address that comes with a token.

`side` of a match is the taker's. Without a key KuCoin serves the best 100 levels of a book and no more: beyond those of
the snapshot the book holds nothing, and is asked again when few of them are left.
"""

from collections.abc import Callable, Iterable, Sequence
from urllib.parse import quote as quoted

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
    Side,
    Subscribed,
    Trade,
    Unknown,
)
from md_platform.domain.instruments import Instrument
from md_platform.domain.intervals import Timeframe
from md_platform.venues.feeds import Feed, Subscription, decoded_each, levels_of
from md_platform.venues.frames import decoded, records
from md_platform.venues.spec import RateLimit, Request, VenueSpec

_TOPICS: dict[Channel, str] = {
    "trades": "/market/match:",
    "quotes": "/market/ticker:",
    "book": "/market/level2:",
    "bars": "/market/candles:",
}
_SYMBOLS_PER_MESSAGE = {"trades": 100, "quotes": 100, "book": 100, "bars": 1}
_CANDLE_CELLS = 7
_SNAPSHOT_LEVELS = 100
_MS = 1_000_000
_S = 1_000_000_000
_MINUTE = 60 * _S


class _Changes(msgspec.Struct, gc=False):
    """Rows of price, size and sequence."""

    asks: list[list[str]] = []
    bids: list[list[str]] = []


class _Data(msgspec.Struct, gc=False):
    """Every kind of message: times are ns of matches and candles, ms of the others."""

    price: str | None = None
    size: str | None = None
    side: Side | None = None
    tradeId: str = ""  # noqa: N815 - as KuCoin calls it, and so below
    time: int | str = 0
    sequence: int | str = 0
    bestBid: str | None = None  # noqa: N815
    bestBidSize: str | None = None  # noqa: N815
    bestAsk: str | None = None  # noqa: N815
    bestAskSize: str | None = None  # noqa: N815
    sequenceStart: int | None = None  # noqa: N815
    sequenceEnd: int | None = None  # noqa: N815
    changes: _Changes | None = None
    candles: list[str] | None = None


class _Frame(msgspec.Struct, gc=False):
    """A message of a topic, or the answer to a request (`id`)."""

    type: str = ""
    topic: str = ""
    data: _Data | str | None = None
    id: str = ""
    code: int | str = ""


class _Snapshot(msgspec.Struct):
    sequence: str
    bids: list[list[str]]
    asks: list[list[str]]
    time: int = 0


class _SnapshotAnswer(msgspec.Struct):
    data: _Snapshot


class _Server(msgspec.Struct):
    endpoint: str


class _Token(msgspec.Struct):
    token: str
    instanceServers: list[_Server]  # noqa: N815


class _TokenAnswer(msgspec.Struct):
    data: _Token


_decode_one = msgspec.json.Decoder(_Frame).decode
_decode_many = msgspec.json.Decoder(list[_Frame]).decode


class KucoinSession:
    """One connection."""

    def __init__(self, subscriptions: Sequence[Subscription]) -> None:
        self._subscriptions = subscriptions
        self._topics = {_TOPICS[s.channel] + _symbol(s): (s.channel, s.instrument.id) for s in subscriptions}
        self._asked: dict[str, Sequence[Subscription]] = {}

    def opening(self) -> list[bytes | str]:
        """Subscribe messages, each for many symbols of one topic."""
        messages: list[bytes | str] = []
        for channel, topic in _TOPICS.items():
            all_asked = [s for s in self._subscriptions if s.channel == channel]
            size = _SYMBOLS_PER_MESSAGE[channel]
            for n in range(0, len(all_asked), size):
                number, asked = str(len(messages) + 1), all_asked[n : n + size]
                self._asked[number] = asked
                names = topic + ",".join(map(_symbol, asked))
                messages.append(
                    msgspec.json.encode({"id": number, "type": "subscribe", "topic": names, "response": True})
                )
        return messages

    def receive(self, frames: Sequence[bytes], received_ns: int) -> list[Event]:
        """Events of `frames`, in order."""
        out: list[Event] = []
        topics = self._topics
        for raw, frame in decoded_each(_decode_many, _decode_one, frames, out):
            known, data = topics.get(frame.topic), frame.data
            if known is None or not isinstance(data, _Data):
                out += self._answer(raw, frame)
                continue
            channel, instrument = known
            try:
                if channel == "trades":
                    price, size = float(data.price or ""), float(data.size or "")
                    out.append(Trade(instrument, int(data.time), received_ns, data.tradeId, price, size, data.side))
                else:
                    out += _PARSERS[channel](data, instrument, received_ns)
            except (ValueError, TypeError) as error:
                out.append(Malformed(raw, f"{frame.topic}: {error}"))
        return out

    def _answer(self, raw: bytes, frame: _Frame) -> Iterable[Event]:
        if frame.topic:
            return [Unknown(raw)]
        if frame.type == "pong":
            return [Heartbeat()]
        asked = self._asked.pop(frame.id, ())
        channel = asked[0].channel if asked else None
        symbols = [s.instrument.native for s in asked]
        if frame.type == "ack":
            return [Subscribed(channel, symbols)]
        if frame.type == "error":
            return [Refused(f"{frame.code} {frame.data}", channel, symbols)]
        return [] if frame.type == "welcome" else [Unknown(raw)]


def _symbol(subscription: Subscription) -> str:
    return subscription.instrument.native + ("_1min" if subscription.channel == "bars" else "")


def _quote(data: _Data, instrument: str, received_ns: int) -> Iterable[Event]:
    """A side that nobody offers is null: then there is no quote."""
    if data.bestBid and data.bestAsk:
        best = float(data.bestBid), float(data.bestBidSize or 0), float(data.bestAsk), float(data.bestAskSize or 0)
        yield Quote(instrument, int(data.time) * _MS, received_ns, *best, int(data.sequence))


def _book(data: _Data, instrument: str, received_ns: int) -> Iterable[Event]:
    """Changes; in 2021 they had no time. Price 0 stands for a change that nobody may see: only its number counts."""
    if data.changes is None or data.sequenceStart is None or data.sequenceEnd is None:
        raise TypeError("a change of a book must hold changes, sequenceStart and sequenceEnd")
    yield BookUpdate(
        instrument,
        int(data.time) * _MS or received_ns,
        received_ns,
        _visible(data.changes.bids),
        _visible(data.changes.asks),
        sequence=data.sequenceEnd,
        first_sequence=data.sequenceStart,
    )


def _visible(rows: Sequence[Sequence[str]]) -> list[Level]:
    return [level for level in levels_of(rows) if float(level[0])]


def _bar(data: _Data, instrument: str, received_ns: int) -> Iterable[Event]:
    """Cells: start in s, open, close, high, low, volume, turnover. Closed when the venue sends it after its end."""
    cells = data.candles
    if cells is None or len(cells) < _CANDLE_CELLS:
        raise TypeError(f"a candle must have {_CANDLE_CELLS} cells")
    opened = int(cells[0]) * _S
    first, last, high, low, volume, turnover = map(float, cells[1:7])
    yield Bar(
        instrument,
        Timeframe.M1,
        opened,
        opened + _MINUTE,
        first,
        high,
        low,
        last,
        volume,
        turnover,
        None,
        None,
        None,
        int(data.time) >= opened + _MINUTE,
        "venue",
        0,
        received_ns,
    )


_PARSERS: dict[Channel, Callable[[_Data, str, int], Iterable[Event]]] = {"quotes": _quote, "book": _book, "bars": _bar}


def follows(last: int, update: BookUpdate) -> bool:
    """Updates number what they hold: the next begins right after, or overlaps where a snapshot came between."""
    first, end = update.first_sequence, update.sequence
    return first is not None and end is not None and first <= last + 1 <= end


def parse_snapshot(payload: bytes, instrument: Instrument, received_ns: int) -> BookUpdate:
    """A REST book; ValueError where it is none."""
    book = msgspec.json.decode(payload, type=_SnapshotAnswer).data
    return BookUpdate(
        instrument.id,
        book.time * _MS or received_ns,
        received_ns,
        levels_of(book.bids),
        levels_of(book.asks),
        is_snapshot=True,
        sequence=int(book.sequence),
    )


def token_url(payload: bytes) -> str:
    """The address to connect to, of the answer to the request for a token; ValueError where it is none."""
    token = msgspec.json.decode(payload, type=_TokenAnswer).data
    if not token.instanceServers:
        raise ValueError("the answer to the request for a token must name a server")
    return f"{token.instanceServers[0].endpoint}?token={quoted(token.token)}"


def parse_instruments(payload: bytes, venue: str) -> list[Instrument]:
    """Instruments of /symbols by `name`, which follows when a currency is renamed, as `symbol` does not."""
    answer = decoded(payload, venue)
    found = records(answer.get("data") if isinstance(answer, dict) else None, ("symbol", "name"), venue)
    named = ((native, name.partition("-")) for native, name in found.drop_nulls().iter_rows())
    return [Instrument(venue, base, quote, native) for native, (base, _, quote) in named]


FEED = Feed(
    name="kucoin",
    urls=("wss://ws-api-spot.kucoin.com",),
    channels=frozenset(_TOPICS),
    session=KucoinSession,
    book=BookRules(follows=follows, snapshot_depth=_SNAPSHOT_LEVELS),
    snapshot_request=lambda instrument: Request(
        "/api/v1/market/orderbook/level2_100", {"symbol": instrument.native}, weight=4
    ),
    parse_snapshot=parse_snapshot,
    instruments_requests=(Request("/api/v2/symbols", weight=4),),
    parse_instruments=parse_instruments,
    token_request=Request("/api/v1/bullet-public", weight=10, method="POST"),
    token_url=token_url,
    max_streams=300,
    ping=lambda: '{"id":"ping","type":"ping"}',
    ping_after_s=15,
    max_connection_s=24 * 3_600,
    connect_limit=RateLimit(weight=30, window_s=60),
    message_limit=RateLimit(weight=100, window_s=10),
)
KUCOIN = VenueSpec(
    id="kucoin",
    title="KuCoin",
    rest_url="https://api.kucoin.com",
    rate_limit=RateLimit(weight=1_600, window_s=30),  # of 2,000 an address
    ccxt="kucoin",
    feeds=(FEED,),
)
VENUES = (KUCOIN,)
