"""What happened before a subscription: stored events and the tail of Redis in, each once and in order of time out.

The database may have what Redis has yet to publish, and lacks what its writer has yet to store. So it is read before
the tail, the two are joined by the events' own keys, and they must overlap: else something lies between them.
"""

import asyncio
import datetime as dt
import time
from collections.abc import Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from md_platform.domain.events import Bar, Trade
from md_platform.domain.intervals import UTC, Interval, Timeframe
from md_platform.domain.wire import Published
from md_platform.errors import TooLarge
from md_platform.gateway.tail import AT_MOST, Entry, Tail, received_ns
from md_platform.storage.live_events import bars_of, trades_of
from md_platform.storage.live_reading import LiveReader

EVENTS_AT_MOST = 100_000
_LATE_NS = 10 * 1_000_000_000
_CLOCKS_NS = 60 * 1_000_000_000
_OVERLAP_WITHIN_S = 5.0
_ASK_AGAIN_S = 0.2
_LOOK_BACK = tuple(dt.timedelta(minutes=minutes) for minutes in (2, 30, 240, 1_440, 10_080))


@dataclass(frozen=True, slots=True)
class History:
    """Events up to message `number` of the channel; `ahead` are keys of those that Redis will yet publish.

    `is_whole` is false where the past is not known to be complete.
    """

    events: list[Published]
    number: int
    is_whole: bool
    ahead: set[Hashable] = field(default_factory=set)


class Past:
    """Reads the past of channels. Without a database all that it knows is in the tails."""

    def __init__(self, tail: Tail, database_url: str | None) -> None:
        self._tail = tail
        self._reader = LiveReader(database_url) if database_url else None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="past")

    def close(self) -> None:
        """Let go of the database."""
        self._thread.shutdown(wait=False, cancel_futures=True)
        if self._reader is not None:
            self._reader.close()

    async def read(self, channel: str, since_ns: int | None, last: int) -> History:
        """Events since then, or the last so many; TooLarge, StorageError, redis.RedisError."""
        history = await self._told(channel, since_ns, last)
        if history is not None:
            return history
        deadline = time.monotonic() + _OVERLAP_WITHIN_S
        while True:
            stored = await self._stored(channel, since_ns, last)
            history = await self._joined(channel, stored, since_ns, last)
            if history.is_whole or not self._stores(channel) or time.monotonic() > deadline:
                return history
            await asyncio.sleep(_ASK_AGAIN_S)

    async def _told(self, channel: str, since_ns: int | None, last: int) -> History | None:
        """The same where the tail has all of it."""
        entries, told, reaches = await self._tail_of(channel, since_ns, last)
        if since_ns is not None:
            if not reaches:
                return None
            told = [event for event in told if event_ns(event) >= since_ns]
        elif len(told) < last or any(map(_is_late, told)):
            return None
        return History(sorted(told, key=event_ns)[-last:], entries[-1].number if entries else 0, is_whole=True)

    async def _joined(self, channel: str, stored: Sequence[Published], since_ns: int | None, last: int) -> History:
        entries, told, _ = await self._tail_of(channel, since_ns, 0)
        keys = {key_of(event) for event in told}
        only_stored = [event for event in stored if key_of(event) not in keys]
        began_ns = received_ns(told[0]) if told else 0
        overlaps = not told or any(received_ns(event) >= began_ns for event in stored)
        ahead = {key_of(event) for event in only_stored if received_ns(event) >= began_ns}
        wanted = [event for event in told if since_ns is None or event_ns(event) >= since_ns]
        events = sorted([*only_stored, *wanted], key=event_ns)[-last:]
        return History(events, entries[-1].number if entries else 0, overlaps and self._stores(channel), ahead)

    async def _tail_of(
        self, channel: str, since_ns: int | None, last: int
    ) -> tuple[list[Entry], list[Published], bool]:
        """What the tail has that counts, as messages and as events; and whether it begins before `since_ns`."""
        if since_ns is not None:
            entries, reaches = await self._tail.since(channel, (since_ns - _CLOCKS_NS) // 1_000_000)
        else:
            entries, reaches = await self._tail.newest(channel, min(2 * last, AT_MOST) or AT_MOST), False
        return entries, await asyncio.to_thread(_decoded, entries), reaches

    async def _stored(self, channel: str, since_ns: int | None, last: int) -> list[Published]:
        kind, _, rest = channel.partition(":")
        if not self._stores(channel):
            return []
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._query, kind, rest, since_ns, last)

    def _stores(self, channel: str) -> bool:
        return self._reader is not None and channel.startswith(("trades:", "bars:"))

    def _query(self, kind: str, rest: str, since_ns: int | None, last: int) -> list[Published]:
        now = dt.datetime.fromtimestamp((time.time_ns() + _CLOCKS_NS) / 1e9, UTC)
        if since_ns is not None:
            return self._rows(kind, rest, Interval(_instant(since_ns), now))
        found: list[Published] = []
        for span in _LOOK_BACK:
            found = self._rows(kind, rest, Interval(now - span, now))
            if len(found) >= last:
                break
        return found

    def _rows(self, kind: str, rest: str, interval: Interval) -> list[Published]:
        assert self._reader is not None  # noqa: S101 - asked by `_stored`
        if kind == "trades":
            frame = self._reader.trades(rest, interval)
            _require_few(frame.height)
            return list(trades_of(frame, rest))
        instrument, _, timeframe = rest.rpartition(":")
        frame = self._reader.bars(instrument, Timeframe.parse(timeframe), interval)
        _require_few(frame.height)
        return [bar for bar in bars_of(frame) if bar.is_closed]


def _decoded(entries: Sequence[Entry]) -> list[Published]:
    """Bars that still run are left out: they are told again in a moment."""
    events = [event for entry in entries for event in entry.events()]
    return [event for event in events if not isinstance(event, Bar) or event.is_closed]


def _require_few(rows: int) -> None:
    if rows > EVENTS_AT_MOST:
        raise TooLarge(
            f"history before a subscription has {EVENTS_AT_MOST} events at most, was {rows}: "
            "begin later, or read it from /api/v1/history or by a replay"
        )


def key_of(event: Published) -> Hashable:
    """What makes an event of a channel unique."""
    if isinstance(event, Trade):
        return event.trade_id
    if isinstance(event, Bar):
        return event.open_time, event.source, event.revision
    return received_ns(event)


def event_ns(event: Published) -> int:
    """When it happened, by the venue's clock; of a bar when it opened."""
    if isinstance(event, Bar):
        return event.open_time
    return getattr(event, "ts_event", None) or getattr(event, "open_time", None) or received_ns(event)


def _is_late(event: Published) -> bool:
    """Whether it was published so long after it happened that newer ones may have come before it, as repairs are."""
    if isinstance(event, Bar):
        return event.known_at - event.close_time > _LATE_NS
    return isinstance(event, Trade) and event.sent_late


def _instant(ns: int) -> dt.datetime:
    return dt.datetime.fromtimestamp(ns // 1_000 / 1e6, UTC)
