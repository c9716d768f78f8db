"""OKX v5 live: public channels of spot and perpetual swaps; candles come from an address of their own.

Sizes of swaps are contracts in trades, quotes and books, as the venue counts them; volumes of candles are in the base
currency, which the venue gives beside. `trades` joins the fills of one taker order at one price: `count` of them.
"""

import itertools
import zlib
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
from md_platform.venues.frames import decoded, records
from md_platform.venues.spec import RateLimit, Request, VenueSpec

_NAMES: dict[Channel, str] = {"trades": "trades", "quotes": "bbo-tbt", "book": "books", "bars": "candle1m"}
_CHANNELS: dict[str, Channel] = {name: channel for channel, name in _NAMES.items()} | {"tickers": "quotes"}
_STATUS = {"channel": "status"}
_ARGS_PER_MESSAGE = 100
_MS = 1_000_000
_MINUTE = 60_000_000_000
_PONG = b"pong"
_TRADING_SERVICE = "5"
_ACKNOWLEDGED = {"unsubscribe", "channel-conn-count"}
_CANDLE_CELLS = 9


class _Arg(msgspec.Struct, gc=False):
    channel: str = ""
    instId: str = ""  # noqa: N815 - as OKX calls it, and so below


class _Row(msgspec.Struct, gc=False):
    """A trade, quote, book or maintenance notice: which fields are there depends on the channel."""

    px: str = ""
    sz: str = ""
    side: Side | None = None  # of the taker
    ts: str = ""
    tradeId: str = ""  # noqa: N815
    count: str = "1"
    bidPx: str = ""  # noqa: N815
    bidSz: str = ""  # noqa: N815
    askPx: str = ""  # noqa: N815
    askSz: str = ""  # noqa: N815
    bids: list[list[str]] | None = None
    asks: list[list[str]] | None = None
    checksum: int = 0
    seqId: int | None = None  # noqa: N815
    prevSeqId: int | None = None  # noqa: N815
    state: str = ""
    serviceType: str = ""  # noqa: N815
    title: str = ""


class _Frame(msgspec.Struct, gc=False):
    event: str = ""
    arg: _Arg | None = None
    data: list[_Row | list[str]] | None = None
    action: str = ""
    code: str = ""
    msg: str = ""


_decode_one = msgspec.json.Decoder(_Frame).decode
_decode_many = msgspec.json.Decoder(list[_Frame]).decode


class OkxSession:
    """One connection to the public or the business address."""

    def __init__(self, subscriptions: Sequence[Subscription]) -> None:
        self._args = [{"channel": _NAMES[s.channel], "instId": s.instrument.native} for s in subscriptions]
        if any(s.channel != "bars" for s in subscriptions):
            self._args.append(_STATUS)
        self._ids = {s.instrument.native: s.instrument.id for s in subscriptions}

    def opening(self) -> list[bytes | str]:
        """Subscribe messages."""
        args = self._args
        return [
            msgspec.json.encode({"op": "subscribe", "args": args[n : n + _ARGS_PER_MESSAGE]})
            for n in range(0, len(args), _ARGS_PER_MESSAGE)
        ]

    def receive(self, frames: Sequence[bytes], received_ns: int) -> list[Event]:
        """Events of `frames`, in order."""
        out: list[Event] = []
        if _PONG in frames:
            out += [Heartbeat() for frame in frames if frame == _PONG]
            frames = [frame for frame in frames if frame != _PONG]
        ids = self._ids
        for raw, frame in decoded_each(_decode_many, _decode_one, frames, out):
            arg, data = frame.arg, frame.data
            if data is None or arg is None:
                out += _answer(raw, frame)
                continue
            channel, instrument = arg.channel, ids.get(arg.instId)
            try:
                if instrument is None:
                    out += _statuses(data) if channel == "status" else [Unknown(raw)]
                elif channel == "trades":
                    for row in data:
                        at = int(row.ts) * _MS
                        price, size = float(row.px), float(row.sz)
                        trade_id, count = int(row.tradeId), int(row.count)
                        out.append(Trade(instrument, at, received_ns, trade_id, price, size, row.side, count))
                elif channel in _PARSERS:
                    out += _PARSERS[channel](frame, instrument, received_ns)
                else:
                    out.append(Unknown(raw))
            except (ValueError, TypeError, AttributeError) as error:
                out.append(Malformed(raw, f"{channel}: {error}"))
        return out


def _answer(raw: bytes, frame: _Frame) -> Iterable[Event]:
    arg, event = frame.arg, frame.event
    if event == "subscribe" and arg is not None:
        channel = _CHANNELS.get(arg.channel)
        return [Subscribed(channel, [arg.instId])] if channel else []
    if event == "error":
        return [Refused(f"{frame.code} {frame.msg}")]
    if event == "notice":  # of an upgrade: the connection will be closed
        return [ReconnectAsked(f"{frame.code} {frame.msg}")]
    return [] if event in _ACKNOWLEDGED else [Unknown(raw)]


def _statuses(data: Iterable[_Row | list[str]]) -> Iterable[Event]:
    """Maintenance of the trading service halts everything; of other services, nothing."""
    for row in data:
        if isinstance(row, list):
            raise TypeError("a status must be an object")
        if row.serviceType == _TRADING_SERVICE and row.state in ("ongoing", "completed", "canceled"):
            yield TradingStatus(row.state == "ongoing", reason=row.title)


def _tickers(frame: _Frame, instrument: str, received_ns: int) -> Iterable[Event]:
    """A side that nobody offers is empty text: then there is no quote."""
    for row in _objects(frame):
        if row.bidPx and row.askPx:
            best = float(row.bidPx), float(row.bidSz), float(row.askPx), float(row.askSz)
            yield Quote(instrument, int(row.ts) * _MS, received_ns, *best)


def _best(frame: _Frame, instrument: str, received_ns: int) -> Iterable[Event]:
    """Numbers begin anew after maintenance, and say nothing of what is older: they are left out."""
    for row in _objects(frame):
        if row.bids and row.asks:
            (bid, bid_size), (ask, ask_size) = row.bids[0][:2], row.asks[0][:2]
            best = float(bid), float(bid_size), float(ask), float(ask_size)
            yield Quote(instrument, int(row.ts) * _MS, received_ns, *best)


def _books(frame: _Frame, instrument: str, received_ns: int) -> Iterable[Event]:
    """A checksum of 0 is none: OKX sends no other since 2026-06-23. `seqId` came in 2022; a snapshot follows -1."""
    for row in _objects(frame):
        if frame.action not in ("snapshot", "update"):
            raise ValueError(f"action must be snapshot or update, was {frame.action!r}")
        yield BookUpdate(
            instrument,
            int(row.ts) * _MS,
            received_ns,
            levels_of(row.bids or ()),
            levels_of(row.asks or ()),
            is_snapshot=frame.action == "snapshot",
            sequence=row.seqId,
            previous_sequence=row.prevSeqId,
            checksum=row.checksum or None,
        )


def _candles(frame: _Frame, instrument: str, received_ns: int) -> Iterable[Event]:
    """Cells: start, open, high, low, close, contracts (base of spot), base (quote of spot), quote, whether closed."""
    for row in frame.data or ():
        if not isinstance(row, list) or len(row) < _CANDLE_CELLS:
            raise TypeError(f"a candle must be a list of {_CANDLE_CELLS}")
        opened = int(row[0]) * _MS
        prices = float(row[1]), float(row[2]), float(row[3]), float(row[4])
        quote_volume = float(row[7])
        volume = float(row[6] if instrument.endswith("-PERP") else row[5])
        yield Bar(
            instrument,
            Timeframe.M1,
            opened,
            opened + _MINUTE,
            *prices,
            volume,
            quote_volume,
            None,
            None,
            None,
            row[8] == "1",
            "venue",
            0,
            received_ns,
        )


def _objects(frame: _Frame) -> Iterable[_Row]:
    for row in frame.data or ():
        if isinstance(row, list):
            raise TypeError("data must be objects")
        yield row


_PARSERS: dict[str, Callable[[_Frame, str, int], Iterable[Event]]] = {
    "bbo-tbt": _best,
    "tickers": _tickers,
    "books": _books,
    "candle1m": _candles,
}


def follows(last: int, update: BookUpdate) -> bool:
    """Each update names the one before. After maintenance its own number may be lower; a repeat says "no change"."""
    return update.previous_sequence == last


def checksum(bids: Sequence[Level], asks: Sequence[Level]) -> int:
    """CRC-32, signed, of price:size of the best 25 bids and asks, bid and ask in turn."""
    levels = [level for pair in itertools.zip_longest(bids, asks) for level in pair if level]
    crc = zlib.crc32(":".join(f"{price}:{size}" for price, size in levels).encode())
    return crc - (1 << 32) if crc >> 31 else crc


def parse_instruments(payload: bytes, venue: str) -> list[Instrument]:
    """Instruments of /public/instruments: spot, and swaps with their names from `BASE-QUOTE-SWAP`."""
    answer = decoded(payload, venue)
    found = records(answer.get("data") if isinstance(answer, dict) else None, ("instId", "instType"), venue)
    instruments = []
    for native, kind in found.drop_nulls().iter_rows():
        base, _, quote = native.removesuffix("-SWAP").partition("-")
        if kind in ("SPOT", "SWAP"):
            instruments.append(Instrument(venue, base, quote, native, is_perpetual=kind == "SWAP"))
    return instruments


PUBLIC = Feed(
    name="okx",
    urls=("wss://ws.okx.com:8443/ws/v5/public", "wss://wsaws.okx.com:8443/ws/v5/public"),
    channels=frozenset({"trades", "quotes", "book"}),
    session=OkxSession,
    accepts=lambda _: True,
    book=BookRules(follows=follows, checksum=checksum, restarts=True),
    instruments_requests=tuple(Request("/api/v5/public/instruments", {"instType": kind}) for kind in ("SPOT", "SWAP")),
    parse_instruments=parse_instruments,
    ping=lambda: "ping",
    ping_after_s=20,
    connect_limit=RateLimit(weight=3, window_s=1),
    message_limit=RateLimit(weight=480, window_s=3_600),
)
CANDLES = replace(
    PUBLIC,
    name="okx-candles",
    urls=("wss://ws.okx.com:8443/ws/v5/business", "wss://wsaws.okx.com:8443/ws/v5/business"),
    channels=frozenset({"bars"}),
)
OKX = VenueSpec(
    id="okx",
    title="OKX",
    rest_url="https://www.okx.com",
    rate_limit=RateLimit(weight=10, window_s=1),
    ccxt="okx",
    feeds=(PUBLIC, CANDLES),
)
VENUES = (OKX,)
