"""What a process before this one received and until when, from its spool, or from Redis and the database."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import redis

from md_platform.domain.events import FeedNotice, Quote, Trade
from md_platform.domain.intervals import UTC, Interval
from md_platform.domain.live_periods import MINUTE_NS
from md_platform.domain.wire import channel_of, decode, encode
from md_platform.storage.live_events import trades_of
from md_platform.storage.live_reading import LiveReader
from md_platform.storage.spool import Message, Spool
from streaming.connection import Connection
from streaming.redis_sink import LOG_LENGTH
from streaming.tracked import Tail

TAIL_NS = 15 * 60 * 1_000_000_000
"""How long the spool keeps what is stored: from this a new process recovers running bars and known ids."""

_SKEW_NS = 60 * 1_000_000_000
"""Venues' clocks differ from ours by less, and what is stored is found by theirs."""

_MARGIN_NS = 1_000_000_000

ADOPTED = Message("trades", "md:adopted", 0, b'{"v":1,"data":[]}')
"""Where a spool was handed on: what is before it belongs to an earlier time, with a hole between."""


@dataclass
class Remembered:
    """Each instrument's trades, gaps not yet repaired, since when trades are whole, and until when it served.

    `first_ns` is since when they are whole where `since` does not say it of an instrument.
    """

    trades: dict[str, list[Trade]] = field(default_factory=dict)
    gaps: dict[str, tuple[int, set[str]]] = field(default_factory=dict)
    since: dict[str, int] = field(default_factory=dict)
    first_ns: int = 0
    last_ns: int = 0

    def tail(self, instrument: str, now_ns: int) -> Tail:
        """What an instrument continues from. Its first minute here may have lost trades to an older, cut, part."""
        since_ns = -(-(self.since.get(instrument, self.first_ns) or now_ns) // MINUTE_NS) * MINUTE_NS
        if instrument not in self.trades:
            return Tail(now_ns)
        return Tail(since_ns, self.trades[instrument])

    def served_until(self, connection: Connection) -> int:
        """When `connection` last served without a gap that is still open, our clock; 0 where it never did."""
        start_ns, repaired = self.gaps.get(connection.name, (self.last_ns, set()))
        traded = {each.instrument.id for each in connection.subscriptions if each.channel == "trades"}
        return self.last_ns if traded <= repaired else min(start_ns, self.last_ns)

    def take(self, payload: bytes) -> None:
        """Remember the events of one message."""
        for event in decode(payload):
            if isinstance(event, Trade):
                self.trades.setdefault(event.instrument, []).append(event)
            elif isinstance(event, FeedNotice):
                self._notice(event)

    @property
    def stored_since_ns(self) -> int:
        """From when the database may have trades that this does not know: received, and not published."""
        return max(self.last_ns - _MARGIN_NS, 0)

    def add(self, stored: Sequence[Trade], now_ns: int) -> list[Message]:
        """Remember trades that the database has; those that were not known, as messages."""
        known = {instrument: {trade.trade_id for trade in trades} for instrument, trades in self.trades.items()}
        new: dict[str, list[Trade]] = {}
        for trade in stored:
            # What was received before the log of a busy instrument begins was published, and has left the log.
            is_told = trade.ts_received < self.since.get(trade.instrument, 0)
            if not is_told and trade.trade_id not in known.get(trade.instrument, ()):
                new.setdefault(trade.instrument, []).append(trade)
        for instrument, trades in new.items():
            self.trades.setdefault(instrument, []).extend(trades)
            self.since.setdefault(instrument, now_ns)
        self.last_ns = self.last_ns or max((trade.ts_received for trade in stored), default=0)
        return [Message("trades", channel_of(trades[0]), len(trades), encode(trades)) for trades in new.values()]

    def _notice(self, notice: FeedNotice) -> None:
        if notice.kind in ("disconnected", "stalled", "gap") and notice.connection and notice.start is not None:
            start_ns, _ = self.gaps.get(notice.connection, (notice.start, set()))
            self.gaps[notice.connection] = min(start_ns, notice.start), set()
        elif notice.kind == "repaired" and notice.connection in self.gaps:
            self.gaps[notice.connection][1].update(notice.instruments)


def remembered(spool: Spool, now_ns: int) -> Remembered:
    """Read the tail of the spool."""
    found = Remembered()
    for row in spool.since(now_ns - TAIL_NS):
        if row.message.channel == ADOPTED.channel:
            found = Remembered()
        found.first_ns, found.last_ns = found.first_ns or row.at_ns, row.at_ns
        if row.message.kind == "trades" and row.message.channel.startswith(("md:trades:", "md:events")):
            found.take(row.message.payload)
    return found


def published(url: str, instruments: Sequence[str], now_ns: int, *, by_one: bool) -> tuple[Remembered, list[Message]]:
    """Read the tail of what was published of `instruments`, by one process or several; its trades as messages, too.

    One process published all that it had received before what it published last. Of several, each instrument's last
    is all that is known, and the earliest of those counts.
    """
    found, messages, served = Remembered(), [], []
    since_ms = (now_ns - TAIL_NS) // 1_000_000
    with redis.Redis.from_url(url, socket_timeout=10) as client:
        for _, payload in _log(client, "events", since_ms):
            found.take(payload)
        for instrument in instruments:
            trades = _log(client, f"trades:{instrument}", since_ms)
            for _, payload in trades:
                found.take(payload)
                messages.append(Message("trades", f"md:trades:{instrument}", len(decode(payload)), payload))
            quotes = _ends(client, f"quotes:{instrument}", since_ms)
            began = trades[:1] if len(trades) >= LOG_LENGTH else trades[:1] + quotes[:1]
            if began:
                found.since[instrument] = min(at_ms for at_ms, _ in began) * 1_000_000
                served.append(max(_received(payload) for _, payload in trades[-1:] + quotes[-1:]))
    if served:
        found.last_ns = max(served) if by_one else min(served)
    return found, messages


def stored(url: str, instruments: Sequence[str], since_ns: int, now_ns: int) -> list[Trade]:
    """Trades of `instruments` that the database at `url` has, received since `since_ns`; StorageError."""
    interval = Interval(_instant(since_ns - _SKEW_NS), _instant(now_ns + _SKEW_NS))
    with LiveReader(url) as reader:
        found = [trade for each in instruments for trade in trades_of(reader.trades(each, interval), each)]
    return [trade for trade in found if trade.ts_received >= since_ns]


def _instant(ns: int) -> dt.datetime:
    return dt.datetime.fromtimestamp(ns // 1_000 / 1e6, UTC)


def _log(client: redis.Redis, channel: str, since_ms: int) -> list[tuple[int, bytes]]:
    """Time (ms) and payload of what `md:log:*` has since `since_ms`."""
    return _entries(client.xrange(f"md:log:{channel}", since_ms))


def _ends(client: redis.Redis, channel: str, since_ms: int) -> list[tuple[int, bytes]]:
    """The first and the last of it."""
    name = f"md:log:{channel}"
    return _entries(client.xrange(name, since_ms, count=1)) + _entries(client.xrevrange(name, min=since_ms, count=1))


def _entries(found: Any) -> list[tuple[int, bytes]]:  # noqa: ANN401 - redis-py types what it returns as anything
    return [(int(id_.split(b"-")[0]), fields[b"m"]) for id_, fields in found]


def _received(payload: bytes) -> int:
    return max(event.ts_received for event in decode(payload) if isinstance(event, Trade | Quote))
