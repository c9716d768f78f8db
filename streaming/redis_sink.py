"""Messages in; Redis pub/sub, replayable streams, latest values and movers out.

Pub/sub reaches who listens now; `md:log:*` streams keep a bounded tail for who was away.
"""

from collections.abc import Awaitable, Callable, Sequence
from uuid import UUID

import redis.asyncio as redis
from redis.exceptions import RedisError

from md_platform.domain.events import Quote, Trade
from md_platform.domain.wire import decode
from md_platform.storage.spool import EVERY_CHANNEL, Message, Spool
from streaming.delivery import Numbered

LOG_LENGTH = 10_000
"""Messages that each `md:log:*` stream keeps, about."""

_LATEST_TTL_S = 7 * 86_400


Guard = Callable[["redis.client.Pipeline"], Awaitable[None]]


class RedisSink:
    """Redis remembers by itself, with the messages, which was the last: one that was emptied gets the tail again.

    `guard` makes each batch a transaction that fails where another process publishes instead of this one.
    """

    name = "redis"
    wanted = EVERY_CHANNEL
    slowest_retry_s = 1.0
    failures = (RedisError,)

    def __init__(self, url: str, guard: Guard | None = None) -> None:
        self._guard = guard
        self._client = redis.Redis.from_url(url, socket_timeout=5, socket_connect_timeout=5)
        self._position = ""

    async def open(self, spool: UUID) -> int:
        """Ask for the last message that Redis took."""
        self._position = _position(spool)
        return int(await self._client.get(self._position) or 0)

    async def send(self, messages: Sequence[Numbered]) -> None:
        """Publish, and write tails, latest values and the position, in one round trip."""
        async with self._client.pipeline(transaction=self._guard is not None) as pipeline:
            if self._guard is not None:
                await self._guard(pipeline)
            for _, message in messages:
                pipeline.publish(message.channel, message.payload)
                if message.kind != "book":
                    pipeline.xadd(f"md:log:{message.channel[3:]}", {"m": message.payload}, maxlen=LOG_LENGTH)
                self._latest(pipeline, message)
            pipeline.set(self._position, messages[-1].id)
            await pipeline.execute()

    async def close(self) -> None:
        """Let go of all connections."""
        await self._client.aclose()

    def _latest(self, pipeline: "redis.client.Pipeline", message: Message) -> None:
        """Latest values: `md:latest:{id}` of trades and quotes, `md:latest-book|bars|indicators:{id}…` the message."""
        kind, _, rest = message.channel[3:].partition(":")
        if kind in ("book", "bars", "indicators"):
            pipeline.set(f"md:latest-{kind}:{rest}", message.payload, ex=_LATEST_TTL_S)
            return
        last = decode_last(message.payload) if kind in ("trades", "quotes") else None
        values: dict[str, float]
        if isinstance(last, Trade):
            values = {"price": last.price, "size": last.size, "trade_ts": last.ts_event}
        elif isinstance(last, Quote):
            values = {"bid": last.bid, "bid_size": last.bid_size, "ask": last.ask, "ask_size": last.ask_size}
        else:
            return
        pipeline.hset(f"md:latest:{rest}", items=[part for pair in values.items() for part in pair])
        pipeline.expire(f"md:latest:{rest}", _LATEST_TTL_S)


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
