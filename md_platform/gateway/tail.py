"""The replayable tail in Redis in (`md:log:*`), messages after a number or the whole of it out.

A channel's numbers go up by one. They begin with the time in µs at which Redis first had the channel: where Redis was
emptied they jump up, and never come again with another meaning.
"""

from typing import Any, NamedTuple

import redis.asyncio as redis

from md_platform.domain.events import Alert, Bar, DayStatistics, FeedNotice, IndicatorValues, Quarantined
from md_platform.domain.wire import Published, decode, opened

NUMBERS = "md:seq"
"""Hash of the last number of each channel."""

AT_MOST = 11_000
"""Messages that are read at once: the tail has about 10,000."""

KEPT = ("trades", "quotes", "bars", "indicators", "events", "alerts")
"""Kinds of channels that have a tail. A book is whole in each message: what was missed of it is not missing."""


class Entry(NamedTuple):
    """A message: its number in its channel, and its events as they are encoded."""

    number: int
    data: bytes

    def events(self) -> list[Published]:
        """The same, decoded."""
        return decode(b'{"v":1,"data":%b}' % self.data)


class Tail:
    """Reads tails by `client`; RedisError where Redis is away. Channels are named without `md:`."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client

    async def last(self, channel: str) -> int:
        """Number of the last message; 0 before the first."""
        found: Any = await self._client.hget(NUMBERS, f"md:{channel}")
        return int(found or 0)

    async def after(self, channel: str, number: int) -> list[Entry]:
        """What the tail has after message `number`, in order."""
        newest = await self.last(channel)
        while newest > number:
            count = min(newest - number, AT_MOST)
            entries = await self.newest(channel, count)
            if not entries or entries[-1].number == newest or count == AT_MOST:
                return [entry for entry in entries if entry.number > number]
            newest = entries[-1].number  # more came since it was asked
        return []

    async def newest(self, channel: str, count: int = AT_MOST) -> list[Entry]:
        """The last `count` messages that it has, in order."""
        found: Any = await self._client.xrevrange(f"md:log:{channel}", count=count)
        return _entries(found[::-1])

    async def since(self, channel: str, at_ms: int) -> tuple[list[Entry], bool]:
        """What was published since then, in order; and whether the tail begins before."""
        name = f"md:log:{channel}"
        found: Any = await self._client.xrange(name, max(at_ms, 0))
        first: Any = await self._client.xrange(name, count=1)
        return _entries(found), bool(first) and int(first[0][0].split(b"-")[0]) < at_ms

    async def latest(self, channel: str) -> Entry | None:
        """The last message of a channel without a tail, as books are."""
        kind, _, rest = channel.partition(":")
        found: Any = await self._client.get(f"md:latest-{kind}:{rest}")
        return Entry(*opened(found)) if found else None

    async def instruments(self, kind: str, venue: str = "") -> list[str]:
        """Instruments of which `kind` was ever published, of `venue` where one is given."""
        names: Any = await self._client.hkeys(NUMBERS)
        prefix = f"md:{kind}:{venue and venue + ':'}"
        parts = [name.decode().split(":") for name in names if name.startswith(prefix.encode())]
        return sorted({f"{part[2]}:{part[3]}" for part in parts})


def _entries(found: Any) -> list[Entry]:  # noqa: ANN401 - redis-py types what it returns as anything
    return [Entry(int(fields[b"n"]), opened(fields[b"m"])[1]) for _, fields in found]


def received_ns(event: Published) -> int:
    """When `event` was received or made: a channel's events come in this order."""
    if isinstance(event, DayStatistics):
        return event.at
    if isinstance(event, Bar | IndicatorValues):
        return event.known_at
    if isinstance(event, FeedNotice | Alert):
        return event.at
    if isinstance(event, Quarantined):
        return event.ts_received
    return event.ts_received
