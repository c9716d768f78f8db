"""Binance live: combined streams, frames in, events out; the feed of spot. Sandbox: `sandbox`.

Trades are aggregated trades, as in history: fills of one taker order at one price are one trade of `trade_count` fills.
Spot quotes carry no time of the venue. The feeds of futures are in `binance_futures_feed`.
"""

import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import msgspec

from md_platform.domain.books import BookRules
from md_platform.domain.events import (
    Bar,
    BookUpdate,
    Channel,
    Event,
    Level,
    Malformed,
    Quote,
    ReconnectAsked,
    Refused,
    Side,
    Subscribed,
    Trade,
    TradingStatus,
    Unknown,
)
from md_platform.domain.instruments import Instrument
from md_platform.domain.intervals import Timeframe
from md_platform.venues.feeds import Feed, Subscription, decoded_each, levels_of
from md_platform.venues.spec import RateLimit, Request

_STREAMS: dict[Channel, str] = {"trades": "aggTrade", "quotes": "bookTicker", "book": "depth@100ms", "bars": "kline_1m"}
_NAMES_PER_MESSAGE = 100
_MS = 1_000_000


class _Kline(msgspec.Struct):
    t: int
    i: str
    o: str
    h: str
    l: str  # noqa: E741 - as Binance calls it
    c: str
    v: str
    n: int
    x: bool
    q: str
    V: str
    Q: str


class _Data(msgspec.Struct, gc=False):
    """Every kind of message: which fields are there depends on `e`, and spot quotes have no `e`.

    Those of aggregated trades stand first, in their order, in which msgspec looks for them.
    """

    e: str = ""
    E: int = 0
    s: str = ""
    a: str | int | list[Level] = ""
    p: float = 0.0
    q: float = 0.0
    f: int = 0
    l: int = 0  # noqa: E741 - as Binance calls it
    T: int = 0
    m: bool = False
    t: int = 0
    b: str | int | list[Level] = ""
    B: str = ""
    A: str = ""
    u: int = 0
    U: int = 0
    cs: str = ""
    pu: int | None = None
    k: _Kline | None = None


class _Error(msgspec.Struct):
    code: int = 0
    msg: str = ""


class _Frame(msgspec.Struct, gc=False):
    """A message of a stream, which says itself what it is, the answer to a request (`id`), or of no stream (`e`)."""

    data: _Data | None = None
    id: int | None = None
    error: _Error | None = None
    e: str = ""


class _Snapshot(msgspec.Struct):
    lastUpdateId: int  # noqa: N815 - as Binance calls it
    bids: list[Level]
    asks: list[Level]
    E: int = 0


_decode_one = msgspec.json.Decoder(_Frame, strict=False).decode  # lax: prices are numbers in text
_decode_many = msgspec.json.Decoder(list[_Frame], strict=False).decode


class BinanceSession:
    """One combined-stream connection; `extra` are streams of the whole venue."""

    def __init__(self, subscriptions: Sequence[Subscription], extra: Sequence[str] = ()) -> None:
        self._channels = {f"{s.instrument.native.lower()}@{_STREAMS[s.channel]}": s for s in subscriptions}
        self._streams = [*self._channels, *extra]
        self._ids = {s.instrument.native.upper(): s.instrument.id for s in subscriptions}
        self._asked: dict[int, list[str]] = {}
        self._numbers = itertools.count(1)

    def opening(self) -> list[bytes | str]:
        """SUBSCRIBE messages."""
        return [self._subscribe(names) for names in _slices(self._streams, _NAMES_PER_MESSAGE)]

    def _subscribe(self, names: list[str]) -> bytes:
        number = next(self._numbers)
        self._asked[number] = names
        return msgspec.json.encode({"method": "SUBSCRIBE", "params": names, "id": number})

    def receive(self, frames: Sequence[bytes], received_ns: int) -> list[Event]:
        """Events of `frames`, in order."""
        out: list[Event] = []
        ids = self._ids
        for raw, frame in decoded_each(_decode_many, _decode_one, frames, out):
            data = frame.data
            if data is None:
                out += self._answer(raw, frame)
                continue
            instrument = ids.get(data.s)
            kind = data.e
            if instrument is None:
                out += _of_no_instrument(raw, kind)
                continue
            try:
                if kind == "aggTrade" and type(data.a) is int:
                    side: Side = "sell" if data.m else "buy"  # m: the resting order bought
                    fills = data.l - data.f + 1
                    out.append(Trade(instrument, data.T * _MS, received_ns, data.a, data.p, data.q, side, fills))
                elif kind in _PARSERS:
                    out.append(_PARSERS[kind](data, instrument, received_ns))
                else:
                    out.append(Unknown(raw))
            except (ValueError, TypeError, OverflowError) as error:
                out.append(Malformed(raw, f"{kind or 'bookTicker'}: {error}"))
        return out

    def _answer(self, raw: bytes, frame: _Frame) -> Iterable[Event]:
        if frame.id is None and frame.error is None:
            return _of_no_instrument(raw, frame.e)
        names = self._asked.pop(frame.id or 0, [])
        if frame.error is not None:
            return [Refused(f"{frame.error.code} {frame.error.msg}")]
        confirmed: dict[Channel, list[str]] = {}
        for subscription in filter(None, map(self._channels.get, names)):
            confirmed.setdefault(subscription.channel, []).append(subscription.instrument.native)
        return [Subscribed(channel, symbols) for channel, symbols in confirmed.items()]


def _of_no_instrument(raw: bytes, kind: str) -> list[Event]:
    """The server says ten minutes before that it goes; contracts that nobody asked for are told with all others."""
    if kind == "serverShutdown":
        return [ReconnectAsked(kind)]
    return [] if kind == "contractInfo" else [Unknown(raw)]


def _single(data: _Data, instrument: str, received_ns: int) -> Trade:
    side: Side = "sell" if data.m else "buy"
    return Trade(instrument, data.T * _MS, received_ns, data.t, data.p, data.q, side)


def _quote(data: _Data, instrument: str, received_ns: int) -> Quote:
    if not isinstance(data.b, str) or not isinstance(data.a, str):
        raise TypeError("bid and ask of a quote must be text")
    at = data.T * _MS or received_ns
    return Quote(instrument, at, received_ns, float(data.b), float(data.B), float(data.a), float(data.A), data.u)


def _depth(data: _Data, instrument: str, received_ns: int) -> BookUpdate:
    if not isinstance(data.b, list) or not isinstance(data.a, list):
        raise TypeError("sides of a book must be lists")
    at = (data.T or data.E) * _MS
    return BookUpdate(
        instrument,
        at,
        received_ns,
        levels_of(data.b),
        levels_of(data.a),
        sequence=data.u,
        first_sequence=data.U,
        previous_sequence=data.pu,
    )


def _bar(data: _Data, instrument: str, received_ns: int) -> Bar:
    kline = data.k
    if kline is None:
        raise TypeError("a kline must hold k")
    opened = kline.t * _MS
    is_inverse = instrument.endswith("-USD-PERP")  # COIN-M: V and v are contracts, Q and q the base currency
    return Bar(
        instrument,
        kline.i,
        opened,
        opened + (Timeframe(kline.i).seconds or 0) * 1_000_000_000,
        float(kline.o),
        float(kline.h),
        float(kline.l),
        float(kline.c),
        float(kline.v),
        None if is_inverse else float(kline.q),
        kline.n,
        float(kline.V),
        None if is_inverse else float(kline.Q),
        kline.x,
        "venue",
        0,
        received_ns,
    )


def _status(data: _Data, instrument: str, _received_ns: int) -> TradingStatus:
    return TradingStatus(data.cs != "TRADING", instrument, data.cs)


_PARSERS: dict[str, Callable[[_Data, str, int], Event]] = {
    "trade": _single,
    "bookTicker": _quote,
    "": _quote,
    "depthUpdate": _depth,
    "kline": _bar,
    "contractInfo": _status,
}


def _slices(names: list[str], size: int) -> Iterable[list[str]]:
    return (names[n : n + size] for n in range(0, len(names), size))


def spot_follows(last: int, update: BookUpdate) -> bool:
    """Spot updates number what they hold: the next begins right after, or overlaps where a snapshot came between."""
    first, end = update.first_sequence, update.sequence
    return first is not None and end is not None and first <= last + 1 <= end


def _parse_snapshot(payload: bytes, instrument: Instrument, received_ns: int) -> BookUpdate:
    """A REST depth answer; ValueError where it is not one."""
    book = msgspec.json.decode(payload, type=_Snapshot)
    at = book.E * _MS or received_ns
    bids, asks = levels_of(book.bids), levels_of(book.asks)
    return BookUpdate(instrument.id, at, received_ns, bids, asks, is_snapshot=True, sequence=book.lastUpdateId)


def snapshot_request(path: str, weight: float) -> Callable[[Instrument], Request]:
    """How a book is asked at `path`."""
    return lambda instrument: Request(path, {"symbol": instrument.native, "limit": 1_000}, weight)


SPOT = Feed(
    name="binance",
    urls=("wss://stream.binance.com:9443/stream", "wss://data-stream.binance.vision/stream"),
    channels=frozenset(_STREAMS),
    session=BinanceSession,
    numbers_trades=True,
    book=BookRules(follows=spot_follows),
    snapshot_request=snapshot_request("/api/v3/depth", 50),
    parse_snapshot=_parse_snapshot,
    max_streams=1_024,
    max_connection_s=24 * 3_600,
    connect_limit=RateLimit(weight=300, window_s=300),
)
SANDBOX = replace(SPOT, name="sandbox", urls=("ws://127.0.0.1:8090/binance/stream",))
