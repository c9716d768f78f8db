"""Kraken live, WebSocket v1, still served beside v2: trades, best quotes, books, 1m candles. Frames in, events out.

Messages are arrays `[channel id, payload, ..., name, pair]` whose numbers are all text. A trade's side is that of the
order that triggered it, the taker's; trades have no id, so theirs is their text. Pairs are XBT/USD: Kraken's own codes.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any

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
    TradingStatus,
    Unknown,
)
from md_platform.domain.instruments import Instrument
from md_platform.venues.feeds import Feed, Subscription, decoded_each
from md_platform.venues.kraken_feed import CHECKSUM_DEPTH, CONNECT_LIMIT, DEPTH, checksum
from md_platform.venues.live_values import NOT_THE_PROTOCOL, SECOND_NS, RunningBars, batches, digits, running_bar

CODES = {"BTC": "XBT", "DOGE": "XDG"}
"""Currencies that Kraken's old names spell otherwise."""
_OPTIONS: dict[Channel, dict[str, str | int]] = {
    "trades": {"name": "trade"},
    "quotes": {"name": "spread"},
    "book": {"name": "book", "depth": DEPTH},
    "bars": {"name": "ohlc", "interval": 1},
}
_SAID: dict[str, Channel] = {
    "trade": "trades", "spread": "quotes", "ticker": "quotes", "book": "book", "ohlc": "bars"
}  # fmt: skip
_SIDES: dict[str, Side] = {"b": "buy", "s": "sell"}
_SYMBOLS_PER_MESSAGE = 100
_MINUTE_S = 60

_decode_one = msgspec.json.Decoder(list[Any] | dict[str, Any]).decode
_decode_many = msgspec.json.Decoder(list[list[Any] | dict[str, Any]]).decode


class KrakenV1Session:
    """One v1 connection."""

    def __init__(self, subscriptions: Sequence[Subscription]) -> None:
        self._wanted: dict[Channel, list[str]] = {}
        for s in subscriptions:
            self._wanted.setdefault(s.channel, []).append(pair_of(s.instrument))
        self._ids = {pair_of(s.instrument): s.instrument.id for s in subscriptions}
        self._natives = {pair_of(s.instrument): s.instrument.native for s in subscriptions}
        self._bars = RunningBars()

    def opening(self) -> list[bytes | str]:
        """A subscribe message for each channel and hundred pairs."""
        return [
            msgspec.json.encode({"event": "subscribe", "pair": pairs, "subscription": _OPTIONS[channel]})
            for channel, wanted in self._wanted.items()
            for pairs in batches(wanted, _SYMBOLS_PER_MESSAGE)
        ]

    def receive(self, frames: Sequence[bytes], received_ns: int) -> list[Event]:
        """Events of `frames`, in order."""
        out: list[Event] = []
        ids = self._ids
        for raw, message in decoded_each(_decode_many, _decode_one, frames, out):
            try:
                if type(message) is dict:
                    out += self._event(raw, message)
                    continue
                instrument = ids.get(message[-1])
                if instrument is None:
                    out.append(Unknown(raw))
                elif message[-2] != "trade":
                    out += self._market(raw, message, instrument, received_ns)
                elif len(message[1]) == 1:
                    out.append(_trade(message[1][0], instrument, received_ns))
                else:
                    out += _numbered([_trade(row, instrument, received_ns) for row in message[1]])
            except NOT_THE_PROTOCOL as error:
                out.append(Malformed(raw, f"{type(error).__name__}: {error}"))
        return out

    def _market(self, raw: bytes, message: list[Any], instrument: str, received_ns: int) -> Sequence[Event]:
        kind, _, option = message[-2].partition("-")
        if kind == "book":
            return [_book(message[1:-2], instrument, received_ns)]
        if kind == "spread":
            bid, ask, time, bid_size, ask_size = message[1][:5]
            sizes = float(bid_size), float(ask_size)
            return [Quote(instrument, _ns(time), received_ns, float(bid), sizes[0], float(ask), sizes[1])]
        if kind == "ticker":
            (bid, _, bid_size), (ask, _, ask_size) = message[1]["b"], message[1]["a"]
            sizes = float(bid_size), float(ask_size)
            return [Quote(instrument, received_ns, received_ns, float(bid), sizes[0], float(ask), sizes[1])]
        if kind == "ohlc":
            return self._bars.take([_bar(message[1], int(option), instrument, received_ns)])
        return [Unknown(raw)]

    def _event(self, raw: bytes, message: dict[str, Any]) -> list[Event]:
        match message.get("event"):
            case "heartbeat" | "pong":
                return [Heartbeat()]
            case "systemStatus":
                status = str(message["status"])
                return [TradingStatus(status != "online", None, status)]
            case "subscriptionStatus":
                channel = _SAID.get(message.get("subscription", {}).get("name"))
                pair = message.get("pair")
                symbols = [] if pair is None else [self._natives.get(pair, pair)]
                if message["status"] == "error":
                    return [Refused(str(message["errorMessage"]), channel, symbols)]
                is_known = message["status"] == "subscribed" and channel is not None and pair in self._ids
                return [Subscribed(channel, symbols) if is_known else Unknown(raw)]
            case "error":
                return [Refused(str(message["errorMessage"]))]
            case _:
                return [Unknown(raw)]


def pair_of(instrument: Instrument) -> str:
    """v1's own name: `XBT/USD`."""
    return "/".join(CODES.get(code, code) for code in (instrument.base, instrument.quote))


def _ns(seconds: str) -> int:
    """ns of `1618678142.557535`, exact to the µs that Kraken gives."""
    return round(float(seconds) * 1_000_000) * 1_000


def _trade(row: list[str], instrument: str, received_ns: int) -> Trade:
    price, size, time, side, kind = row[:5]
    at = round(float(time) * 1_000_000) * 1_000
    trade_id = f"{time} {price} {size} {side}{kind}"
    return Trade(instrument, at, received_ns, trade_id, float(price), float(size), _SIDES[side])


def _numbered(trades: list[Trade]) -> list[Trade]:
    """Trades of one message; those of the same text get different ids."""
    seen: Counter[int | str] = Counter()
    for trade in trades:
        seen[trade.trade_id] += 1
        if seen[trade.trade_id] > 1:
            trade.trade_id = f"{trade.trade_id} {seen[trade.trade_id]}"
    return trades


def _book(payloads: list[dict[str, Any]], instrument: str, received_ns: int) -> BookUpdate:
    """Snapshots hold `as` and `bs`, updates `a`, `b` or both in two payloads, and the checksum `c` in the last."""
    whole = {key: value for payload in payloads for key, value in payload.items()}
    is_snapshot = "as" in whole or "bs" in whole
    asks, bids = (whole.get(key, ()) for key in (("as", "bs") if is_snapshot else ("a", "b")))
    times = [float(level[2]) for side in (bids, asks) for level in side]
    at = round(max(times) * 1_000_000) * 1_000 if times else received_ns
    crc = int(whole["c"]) if "c" in whole else None
    return BookUpdate(instrument, at, received_ns, _levels(bids), _levels(asks), is_snapshot, checksum=crc)


def _levels(levels: Sequence[list[str]]) -> list[Level]:
    return [(digits(level[0]), digits(level[1])) for level in levels]


def _bar(row: list[Any], minutes: int, instrument: str, received_ns: int) -> Bar:
    """`[time of the last trade, end, open, high, low, close, vwap, volume, trades]`."""
    _, end, opened, high, low, last, _vwap, volume, count = row
    closes = int(float(end)) // _MINUTE_S * _MINUTE_S
    ohlcv = float(opened), float(high), float(low), float(last), float(volume)
    return running_bar(instrument, minutes, (closes - minutes * _MINUTE_S) * SECOND_NS, ohlcv, received_ns, int(count))


V1 = Feed(
    name="kraken-v1",
    urls=("wss://ws.kraken.com",),
    channels=frozenset(_OPTIONS),
    session=KrakenV1Session,
    book=BookRules(checksum=checksum, checksum_depth=CHECKSUM_DEPTH, depth=DEPTH),
    ping=lambda: b'{"event":"ping"}',
    ping_after_s=30,
    connect_limit=CONNECT_LIMIT,
)
