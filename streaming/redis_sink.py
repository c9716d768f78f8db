"""Messages in; Redis pub/sub, replayable streams, latest values and movers out.

Pub/sub reaches who listens now; `md:log:*` streams keep a bounded tail for who was away.
"""

from collections.abc import Mapping, Sequence
from uuid import UUID

import redis.asyncio as redis
from redis.exceptions import RedisError

from md_platform.domain.events import DayStatistics, Quote, Trade
from md_platform.domain.wire import decode
from md_platform.storage.spool import EVERY_CHANNEL, Message, Spool
from streaming.delivery import Numbered
from streaming.movers import RANKED_S, latest_fields, ranks
from streaming.redis_script import Fence, Flush, script_on

LOG_LENGTH = 10_000
"""Messages that each `md:log:*` stream keeps, about."""

_BY_FIELDS = ("md:trades:", "md:quotes:", "md:day:")
_LATEST_TTL_S = 7 * 86_400
_AT_ONCE = 5_000  # messages that one call of the script has: Redis does nothing else meanwhile


class RedisSink:
    """Redis remembers by itself, with the messages, which was the last: one that was emptied gets the tail again.

    With `fence` a batch fails where another process publishes instead of this one.
    """

    name = "redis"
    wanted = EVERY_CHANNEL
    slowest_retry_s = 1.0
    failures = (RedisError,)

    def __init__(self, url: str, fence: Fence | None = None) -> None:
        self._fence = fence
        self._client = redis.Redis.from_url(url, socket_timeout=5, socket_connect_timeout=5)
        self._script = script_on(self._client)
        self._position = ""

    async def open(self, spool: UUID) -> int:
        """Ask for the last message that Redis took."""
        self._position = _position(spool)
        return int(await self._client.get(self._position) or 0)

    async def send(self, messages: Sequence[Numbered]) -> None:
        """Publish, and write tails, latest values and the position."""
        for start in range(0, len(messages), _AT_ONCE):
            some = messages[start : start + _AT_ONCE]
            flush = Flush()
            for _, message in some:
                last = _last(message)
                key, values = _latest(message, last)
                kept = 0 if message.kind == "book" else LOG_LENGTH
                flush.add(message.channel, message.payload, kept=kept, latest=key, values=values, ttl_s=_LATEST_TTL_S)
                if isinstance(last, DayStatistics):
                    for ranked, score in ranks(last).items():
                        flush.rank(ranked, last.instrument, score, last.at // 1_000_000_000, RANKED_S)
            await flush.send(self._script, self._position, some[-1].id, self._fence)

    async def close(self) -> None:
        """Let go of all connections."""
        await self._client.aclose()


def _last(message: Message) -> object:
    """The last event of a message of which values are kept one by one, else None."""
    return decode_last(message.payload) if message.channel.startswith(_BY_FIELDS) else None


def _latest(message: Message, last: object) -> tuple[str, Mapping[str, float]]:
    """The key of a latest value, and its fields: `md:latest:{id}` has the `last` trade's, quote's and day's.

    Without fields `md:latest-book|bars|indicators:{id}…` is the message itself; where the key is empty, nothing is.
    """
    kind, _, rest = message.channel[3:].partition(":")
    if kind in ("book", "bars", "indicators"):
        return f"md:latest-{kind}:{rest}", {}
    if isinstance(last, Trade):
        return f"md:latest:{rest}", {"price": last.price, "size": last.size, "trade_ts": last.ts_event}
    if isinstance(last, Quote):
        fields = {"bid": last.bid, "bid_size": last.bid_size, "ask": last.ask, "ask_size": last.ask_size}
        return f"md:latest:{rest}", fields
    if isinstance(last, DayStatistics):
        return f"md:latest:{rest}", latest_fields(last)
    return "", {}


async def skip(url: str, spool: Spool, last_id: int) -> None:
    """Count what `spool` has up to `last_id` as published."""
    async with redis.Redis.from_url(url, socket_timeout=5, socket_connect_timeout=5) as client:
        await client.set(_position(spool.id), last_id)


def _position(spool: UUID) -> str:
    return f"md:spool:{spool}"


def decode_last(payload: bytes) -> object:
    """The last event of a message without decoding the others."""
    start = payload.rfind(b'["')
    events = decode(b'{"v":1,"data":[' + payload[start:])
    return events[-1]
