"""HTX (Huobi until 2023) live: spot, USDT-margined and coin-margined swaps, each at an address of its own.

Frames are gzipped. `direction` of a trade is the taker's. Sizes of swaps are contracts, as the venue counts them. Books
are the best 150 levels, whole each time: about one a second of spot, twenty of a busy swap. The first trades after a
subscription may be older than it; the venue does not mark them.
"""

import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import msgspec

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
    Reply,
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
    "trades": "trade.detail",
    "quotes": "bbo",
    "book": "depth.step0",
    "bars": "kline.1min",
}
_GZIP, _GZIP_MAGIC = 31, b"\x1f\x8b"
_MAX_FRAME = 4 << 20
_MS = 1_000_000
_S = 1_000_000_000
_MINUTE = 60 * _S


class _Trade(msgspec.Struct, gc=False):
    """`amount` of swaps is in contracts. Spot's `id` is a long one beside `tradeId`, the swaps' is all there is."""

    ts: int
    amount: float
    price: float
    direction: Side
    id: int = 0
    tradeId: int = 0  # noqa: N815 - as HTX calls it, and so below


class _Tick(msgspec.Struct, gc=False):
    """Every kind of message; the best bid and ask are numbers of spot and pairs of swaps."""

    data: list[_Trade] | None = None
    bids: list[list[msgspec.Raw]] | None = None
    asks: list[list[msgspec.Raw]] | None = None
    bid: float | list[float] | None = None
    ask: float | list[float] | None = None
    bidSize: float = 0  # noqa: N815
    askSize: float = 0  # noqa: N815
    mrid: int = 0
    version: int = 0
    seqId: int = 0  # noqa: N815
    id: int = 0
    open: float | None = None
    high: float | None = None
    low: float | None = None
    close: float | None = None
    amount: float | None = None
    vol: float | None = None
    count: int | None = None


class _Frame(msgspec.Struct, gc=False):
    """A message of a topic, the answer to a request (`status`), or a ping."""

    ch: str = ""
    ts: int = 0
    tick: _Tick | None = None
    ping: int | None = None
    status: str = ""
    subbed: str = ""
    id: int | str | None = None
    error: str = msgspec.field(default="", name="err-msg")
    code: str = msgspec.field(default="", name="err-code")


_decode_one = msgspec.json.Decoder(_Frame).decode
_decode_many = msgspec.json.Decoder(list[_Frame]).decode


class HtxSession:
    """One connection to the address of spot or of a kind of swaps."""

    def __init__(self, subscriptions: Sequence[Subscription]) -> None:
        self._topics = {f"market.{s.instrument.native}.{_TOPICS[s.channel]}": s for s in subscriptions}
        self._known = {topic: (s.channel, s.instrument.id) for topic, s in self._topics.items()}

    def opening(self) -> list[bytes | str]:
        """Subscribe messages, one a topic, which is also its number."""
        return [msgspec.json.encode({"sub": topic, "id": topic}) for topic in self._topics]

    def receive(self, frames: Sequence[bytes], received_ns: int) -> list[Event]:
        """Events of `frames`, in order. Those kept as Unknown or Malformed are inflated where they can be."""
        out: list[Event] = []
        topics = self._known
        for raw, frame in decoded_each(_decode_many, _decode_one, _inflated(frames, out), out):
            known, tick = topics.get(frame.ch), frame.tick
            if known is None or tick is None:
                out += self._answer(raw, frame)
                continue
            channel, instrument = known
            try:
                if channel == "trades":
                    for row in tick.data or ():
                        at, trade_id = row.ts * _MS, row.tradeId or row.id
                        out.append(Trade(instrument, at, received_ns, trade_id, row.price, row.amount, row.direction))
                else:
                    out += _PARSERS[channel](frame, tick, instrument, received_ns)
            except (ValueError, TypeError) as error:
                out.append(Malformed(raw, f"{frame.ch}: {error}"))
        return out

    def _answer(self, raw: bytes, frame: _Frame) -> Iterable[Event]:
        if frame.ping is not None:
            return [Heartbeat(), Reply(msgspec.json.encode({"pong": frame.ping}))]
        if frame.status == "error":
            asked = self._topics.get(str(frame.id))
            channel, symbols = (asked.channel, [asked.instrument.native]) if asked else (None, [])
            return [Refused(f"{frame.code} {frame.error}", channel, symbols)]
        asked = self._topics.get(frame.subbed)
        if frame.status == "ok" and asked:
            return [Subscribed(asked.channel, [asked.instrument.native])]
        return [Unknown(raw)]


def _inflated(frames: Sequence[bytes], out: list[Event]) -> list[bytes]:
    """Frames without their gzip; what is not whole, or inflates to more than 4 MiB, goes to `out`."""
    texts = []
    for frame in frames:
        if frame[:2] != _GZIP_MAGIC:
            texts.append(frame)
            continue
        inflater = zlib.decompressobj(_GZIP)
        try:
            text = inflater.decompress(frame, _MAX_FRAME)
        except zlib.error as error:
            out.append(Malformed(frame, str(error)))
            continue
        if inflater.eof and not inflater.unused_data:
            texts.append(text)
        else:
            out.append(Malformed(frame, f"a frame must be whole gzip of at most {_MAX_FRAME} bytes"))
    return texts


def _quote(frame: _Frame, tick: _Tick, instrument: str, received_ns: int) -> Iterable[Event]:
    """A side that nobody offers is missing: then there is no quote."""
    if isinstance(tick.bid, list) and isinstance(tick.ask, list):
        (bid, bid_size), (ask, ask_size) = tick.bid, tick.ask
    elif isinstance(tick.bid, float) and isinstance(tick.ask, float):
        bid, bid_size, ask, ask_size = tick.bid, tick.bidSize, tick.ask, tick.askSize
    else:
        return
    yield Quote(instrument, frame.ts * _MS, received_ns, bid, bid_size, ask, ask_size, tick.seqId or tick.mrid)


def _book(frame: _Frame, tick: _Tick, instrument: str, received_ns: int) -> Iterable[Event]:
    if tick.bids is None or tick.asks is None:
        raise TypeError("a book must have bids and asks")
    yield BookUpdate(
        instrument,
        frame.ts * _MS,
        received_ns,
        _written(tick.bids),
        _written(tick.asks),
        is_snapshot=True,
        sequence=tick.mrid or tick.version or None,
    )


def _written(rows: Sequence[Sequence[msgspec.Raw]]) -> list[Level]:
    return levels_of([[str(cell, "ascii") for cell in row] for row in rows])


def _bar(frame: _Frame, tick: _Tick, instrument: str, received_ns: int) -> Iterable[Event]:
    """Spot's candles: `amount` is in the base currency, `vol` in the quote. Closed when sent after its end."""
    opened, end = tick.id * _S, tick.id * _S + _MINUTE
    if tick.open is None or tick.high is None or tick.low is None or tick.close is None or tick.amount is None:
        raise TypeError("a candle must have open, high, low, close and amount")
    prices = tick.open, tick.high, tick.low, tick.close
    is_closed = frame.ts * _MS >= end
    yield Bar(
        instrument,
        Timeframe.M1,
        opened,
        end,
        *prices,
        tick.amount,
        tick.vol,
        tick.count,
        None,
        None,
        is_closed,
        "venue",
        0,
        received_ns,
    )


_PARSERS: dict[Channel, Callable[[_Frame, _Tick, str, int], Iterable[Event]]] = {
    "quotes": _quote,
    "book": _book,
    "bars": _bar,
}


def parse_instruments(payload: bytes, venue: str) -> list[Instrument]:
    """Instruments of /v1/common/symbols."""
    found = records(_data(payload, venue), ("symbol", "base-currency", "quote-currency"), venue).drop_nulls()
    return [Instrument(venue, base.upper(), quote.upper(), native) for native, base, quote in found.iter_rows()]


def parse_swaps(payload: bytes, venue: str) -> list[Instrument]:
    """Instruments of /swap_contract_info, whose codes are BASE-QUOTE; delivered contracts have a third part."""
    codes = records(_data(payload, venue), ("contract_code",), venue).drop_nulls()["contract_code"]
    parts = ((code, *code.partition("-")) for code in codes)
    return [
        Instrument(venue, base, quote, code, is_perpetual=True) for code, base, _, quote in parts if "-" not in quote
    ]


def _data(payload: bytes, venue: str) -> object:
    answer = decoded(payload, venue)
    return answer.get("data") if isinstance(answer, dict) else None


SPOT = Feed(
    name="htx",
    urls=("wss://api.huobi.pro/ws", "wss://api-aws.huobi.pro/ws"),
    channels=frozenset(_TOPICS),
    session=HtxSession,
    instruments_requests=(Request("/v1/common/symbols"),),
    parse_instruments=parse_instruments,
    connect_limit=RateLimit(weight=10, window_s=1),
    message_limit=RateLimit(weight=100, window_s=10),
)
LINEAR = replace(
    SPOT,
    name="htx-linear",
    urls=("wss://api.hbdm.com/linear-swap-ws", "wss://api.hbdm.vn/linear-swap-ws"),
    channels=frozenset({"trades", "quotes", "book"}),  # its candles count both sides of a trade
    accepts=lambda instrument: instrument.is_perpetual and instrument.quote != "USD",
    rest_url="https://api.hbdm.com",
    instruments_requests=(Request("/linear-swap-api/v1/swap_contract_info", {"business_type": "swap"}),),
    parse_instruments=parse_swaps,
)
INVERSE = replace(
    LINEAR,
    name="htx-inverse",
    urls=("wss://api.hbdm.com/swap-ws", "wss://api.hbdm.vn/swap-ws"),
    accepts=lambda instrument: instrument.is_perpetual and instrument.quote == "USD",
    instruments_requests=(Request("/swap-api/v1/swap_contract_info"),),
)
HTX = VenueSpec(
    id="htx",
    title="HTX",
    rest_url="https://api.huobi.pro",
    rate_limit=RateLimit(weight=10, window_s=1),
    ccxt="htx",
    feeds=(SPOT, LINEAR, INVERSE),
)
VENUES = (HTX,)
