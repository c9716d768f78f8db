"""What a process before this one received, from its spool or from Redis: trades, open gaps, until when it served."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import redis

from md_platform.domain.events import FeedNotice, Quote, Trade
from md_platform.domain.live_periods import MINUTE_NS
from md_platform.domain.wire import decode
from md_platform.storage.spool import Message, Spool
from streaming.connection import Connection
from streaming.pipeline import Tail
from streaming.redis_sink import LOG_LENGTH

TAIL_NS = 15 * 60 * 1_000_000_000
"""How long the spool keeps what is stored: from this a new process recovers running bars and known ids."""

ADOPTED = Message("trades", "md:adopted", 0, b'{"v":1,"data":[]}')
"""Where a spool was handed on: what is before it belongs to an earlier time, with a hole between."""


@dataclass
class Remembered:
    """Each instrument's trades, gaps not yet repaired, since when the trades are whole, and until when it served."""

    trades: dict[str, list[Trade]] = field(default_factory=dict)
    gaps: dict[str, tuple[int, set[str]]] = field(default_factory=dict)
    first_ns: int = 0
    last_ns: int = 0

    def tail(self, instrument: str, now_ns: int) -> Tail:
        """What an instrument continues from. Its first minute here may have lost trades to an older, cut, part."""
        since_ns = -(-(self.first_ns or now_ns) // MINUTE_NS) * MINUTE_NS
        if instrument not in self.trades:
            return Tail(now_ns)
        return Tail(since_ns, self.trades[instrument], (), since_ns)

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
        trades = {each: _log(client, f"trades:{each}", since_ms) for each in instruments}
        cut = [log[0][0] for log in trades.values() if len(log) >= LOG_LENGTH]
        found.first_ns = max([since_ms, *cut]) * 1_000_000
        for _, payload in _log(client, "events", since_ms):
            found.take(payload)
        for instrument, log in trades.items():
            for at_ms, payload in log:
                if at_ms * 1_000_000 >= found.first_ns:
                    found.take(payload)
                    messages.append(Message("trades", f"md:trades:{instrument}", len(decode(payload)), payload))
            served.append(max(_last_received(log), _last_received(_log(client, f"quotes:{instrument}", since_ms, 1))))
    known = [each for each in served if each]
    if known:
        found.last_ns = max(known) if by_one else min(known)
    return found, messages


def _log(client: redis.Redis, channel: str, since_ms: int, last: int | None = None) -> list[tuple[int, bytes]]:
    """Time (ms) and payload of what `md:log:*` has since `since_ms`; of its `last` where that is given."""
    name = f"md:log:{channel}"
    found = cast(
        "list[tuple[bytes, dict[bytes, bytes]]]",
        client.xrange(name, since_ms) if last is None else client.xrevrange(name, min=since_ms, count=last),
    )
    return [(int(id_.split(b"-")[0]), fields[b"m"]) for id_, fields in found]


def _last_received(log: Sequence[tuple[int, bytes]]) -> int:
    if not log:
        return 0
    events: list[Any] = decode(log[-1][1])
    return max(event.ts_received for event in events if isinstance(event, Trade | Quote))
