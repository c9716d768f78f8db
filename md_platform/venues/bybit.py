"""Bybit v5 live: spot, linear (USDT and USDC) and inverse perpetuals, each at an address of its own.

Quotes are the book of depth 1. Sizes of inverse contracts are in USD, and the turnover of their candles is in the base
currency: it is no quote volume. The protocol of 2021 is in `bybit_2021_feed`.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import msgspec

from md_platform.domain.books import BookRules
from md_platform.domain.events import (
    Bar,
    BookUpdate,
    Channel,
    Event,
    Heartbeat,
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
from md_platform.venues import bybit_2021_feed
from md_platform.venues.feeds import Feed, Subscription, decoded_each, levels_of
from md_platform.venues.frames import decoded, records
from md_platform.venues.spec import RateLimit, Request, VenueSpec

_TOPICS: dict[Channel, str] = {
    "trades": "publicTrade",
    "quotes": "orderbook.1",
    "book": "orderbook.200",
    "bars": "kline.1",
}
_TOPICS_PER_MESSAGE = 10
"""Spot takes no more; elsewhere a message may have 21,000 characters."""
_SIDES: dict[str, Side] = {"Buy": "buy", "Sell": "sell"}
_UNUSED = {"tickers", "allLiquidation"}
"""Topics that others subscribe, and whose content other topics carry better."""
_MS = 1_000_000
_MINUTE = 60_000_000_000


class _Row(msgspec.Struct, gc=False):
    """A trade (capitals) or a candle."""

    T: int = 0
    S: str = ""  # of the taker
    v: str = ""
    p: str = ""
    i: str = ""
    start: int = 0
    open: str = ""
    high: str = ""
    low: str = ""
    close: str = ""
    volume: str = ""
    turnover: str = ""
    confirm: bool = False


class _Levels(msgspec.Struct, gc=False):
    b: list[list[str]] | None = None
    a: list[list[str]] | None = None
    u: int | None = None


class _Frame(msgspec.Struct, gc=False):
    """A message of a topic, or the answer to a request (`op`)."""

    topic: str = ""
    type: str = ""
    ts: int = 0
    cts: int = 0
    data: list[_Row] | _Levels | None = None
    success: bool = True
    ret_msg: str = ""
    op: str = ""
    req_id: str = ""


_decode_one = msgspec.json.Decoder(_Frame).decode
_decode_many = msgspec.json.Decoder(list[_Frame]).decode


class BybitSession:
    """One connection to the address of spot, linear or inverse."""

    def __init__(self, subscriptions: Sequence[Subscription]) -> None:
        self._subscriptions = subscriptions
        self._topics = {
            f"{_TOPICS[s.channel]}.{s.instrument.native}": (s.channel, s.instrument.id) for s in subscriptions
        }
        self._asked: dict[str, Sequence[Subscription]] = {}

    def opening(self) -> list[bytes | str]:
        """Subscribe messages, numbered, as answers name no topics."""
        all_asked = self._subscriptions
        messages: list[bytes | str] = []
        for number, n in enumerate(range(0, len(all_asked), _TOPICS_PER_MESSAGE), 1):
            asked = self._asked[str(number)] = all_asked[n : n + _TOPICS_PER_MESSAGE]
            names = [f"{_TOPICS[s.channel]}.{s.instrument.native}" for s in asked]
            messages.append(msgspec.json.encode({"op": "subscribe", "req_id": str(number), "args": names}))
        return messages

    def receive(self, frames: Sequence[bytes], received_ns: int) -> list[Event]:
        """Events of `frames`, in order."""
        out: list[Event] = []
        topics = self._topics
        for raw, frame in decoded_each(_decode_many, _decode_one, frames, out):
            known = topics.get(frame.topic)
            if known is None:
                out += self._other(raw, frame)
                continue
            channel, instrument = known
            data = frame.data
            try:
                if channel == "trades" and isinstance(data, list):
                    for row in data:
                        price, size, side = float(row.p), float(row.v), _SIDES[row.S]
                        out.append(Trade(instrument, row.T * _MS, received_ns, row.i, price, size, side))
                elif channel != "trades":
                    out += _PARSERS[channel](frame, instrument, received_ns)
                else:
                    out.append(Malformed(raw, f"{frame.topic}: data must be a list"))
            except (ValueError, TypeError, KeyError) as error:
                out.append(Malformed(raw, f"{frame.topic}: {error}"))
        return out

    def _other(self, raw: bytes, frame: _Frame) -> Iterable[Event]:
        if frame.topic:
            return [] if frame.topic.partition(".")[0] in _UNUSED else [Unknown(raw)]
        if frame.ret_msg == "pong" or frame.op == "pong":
            return [Heartbeat()]
        asked: dict[Channel, list[str]] = {}
        for subscription in self._asked.pop(frame.req_id, ()):
            asked.setdefault(subscription.channel, []).append(subscription.instrument.native)
        if not frame.success:
            return [Refused(frame.ret_msg, channel, names) for channel, names in asked.items()] or [
                Refused(frame.ret_msg)
            ]
        if frame.op != "subscribe":
            return [Unknown(raw)]
        return [Subscribed(channel, names) for channel, names in asked.items()] or [Subscribed(None, [])]


def _quotes(frame: _Frame, instrument: str, received_ns: int) -> Iterable[Event]:
    """The whole book of depth 1, sent again after three quiet seconds. A side that nobody offers is empty.

    Its number begins anew when the venue's service restarts, so that it says nothing of what is older: it is left out.
    """
    data = _levels(frame)
    if frame.type != "snapshot":
        raise ValueError(f"a book of depth 1 must be a snapshot, was {frame.type!r}")
    if data.b and data.a:
        (bid, bid_size), (ask, ask_size) = data.b[0][:2], data.a[0][:2]
        best = float(bid), float(bid_size), float(ask), float(ask_size)
        yield Quote(instrument, (frame.cts or frame.ts) * _MS, received_ns, *best)


def _book(frame: _Frame, instrument: str, received_ns: int) -> Iterable[Event]:
    """A snapshot comes first, and again when the venue's service has restarted (then `u` is 1)."""
    data = _levels(frame)
    if frame.type not in ("snapshot", "delta") or data.u is None:
        raise ValueError(f"a book must be a snapshot or delta with u, was {frame.type!r}")
    yield BookUpdate(
        instrument,
        (frame.cts or frame.ts) * _MS,  # cts: of the matching engine, as the times of trades
        received_ns,
        levels_of(data.b or ()),
        levels_of(data.a or ()),
        is_snapshot=frame.type == "snapshot",
        sequence=data.u,
    )


def _levels(frame: _Frame) -> _Levels:
    if not isinstance(frame.data, _Levels):
        raise TypeError("data of a book must be an object")
    return frame.data


def _bars(frame: _Frame, instrument: str, received_ns: int) -> Iterable[Event]:
    """Candles: `turnover` is in the quote currency, of inverse contracts (in USD) in the base currency."""
    if not isinstance(frame.data, list):
        raise TypeError("data of candles must be a list")
    is_inverse = instrument.endswith("-USD-PERP")
    for row in frame.data:
        opened = row.start * _MS
        prices = float(row.open), float(row.high), float(row.low), float(row.close)
        turnover = float(row.turnover)
        yield Bar(
            instrument,
            Timeframe.M1,
            opened,
            opened + _MINUTE,
            *prices,
            float(row.volume),
            None if is_inverse else turnover,
            None,
            None,
            None,
            row.confirm,
            "venue",
            0,
            received_ns,
        )


_PARSERS: dict[Channel, Callable[[_Frame, str, int], Iterable[Event]]] = {
    "quotes": _quotes,
    "book": _book,
    "bars": _bars,
}


def follows(last: int, update: BookUpdate) -> bool:
    """Updates are numbered one by one."""
    return update.sequence == last + 1


def parse_instruments(payload: bytes, venue: str) -> list[Instrument]:
    """Instruments of /v5/market/instruments-info: spot and perpetuals; contracts that are delivered are left out."""
    answer = decoded(payload, venue)
    result = answer.get("result") if isinstance(answer, dict) else None
    rows = result.get("list") if isinstance(result, dict) else None
    is_spot = isinstance(result, dict) and result.get("category") == "spot"
    names = ("symbol", "baseCoin", "quoteCoin") if is_spot else ("symbol", "baseCoin", "quoteCoin", "contractType")
    found = records(rows, names, venue).drop_nulls()
    return [
        Instrument(venue, base, quote, native, is_perpetual=not is_spot)
        for native, base, quote, *kind in found.iter_rows()
        if is_spot or kind[0].endswith("Perpetual")
    ]


def _instruments_of(category: str) -> tuple[Request, ...]:
    return (Request("/v5/market/instruments-info", {"category": category, "status": "Trading", "limit": 1_000}),)


SPOT = Feed(
    name="bybit",
    urls=("wss://stream.bybit.com/v5/public/spot",),
    channels=frozenset(_TOPICS),
    session=BybitSession,
    book=BookRules(follows=follows),
    instruments_requests=_instruments_of("spot"),
    parse_instruments=parse_instruments,
    ping=lambda: '{"op":"ping"}',
    ping_after_s=20,
    connect_limit=RateLimit(weight=500, window_s=300),
)
LINEAR = replace(
    SPOT,
    name="bybit-linear",
    urls=("wss://stream.bybit.com/v5/public/linear",),
    accepts=lambda instrument: instrument.is_perpetual and instrument.quote != "USD",
    instruments_requests=_instruments_of("linear"),
)
INVERSE = replace(
    LINEAR,
    name="bybit-inverse",
    urls=("wss://stream.bybit.com/v5/public/inverse",),
    accepts=lambda instrument: instrument.is_perpetual and instrument.quote == "USD",
    instruments_requests=_instruments_of("inverse"),
)
BYBIT = VenueSpec(
    id="bybit",
    title="Bybit",
    rest_url="https://api.bybit.com",
    rate_limit=RateLimit(weight=600, window_s=5),
    ccxt="bybit",
    feeds=(SPOT, LINEAR, INVERSE, *bybit_2021_feed.FEEDS),
)
VENUES = (BYBIT,)
