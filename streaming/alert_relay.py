"""Alerts that fired, as their tail on Redis has them, in; the same messages to brokers out, in order, at least once.

How far each broker is stands in Redis beside the tail, so that who goes on after this process repeats little. A broker
or a Redis that is away is asked again; the tail keeps the last ten thousand alerts meanwhile.
"""

import asyncio
import threading
from collections.abc import Sequence
from typing import Any
from uuid import NAMESPACE_URL, uuid5

import redis.asyncio
import structlog
from redis.exceptions import RedisError

from md_platform.domain.wire import ALERTS
from md_platform.storage.spool import EVERY_CHANNEL, Message
from streaming.delivery import Numbered, Sink
from streaming.sink_url import SinkUrl
from streaming.sinks import sink_of

log = structlog.get_logger(__name__)

TAIL = "md:log:alerts"
RELAYED = "md:alerts:relayed"
"""By the broker's name, the last entry of the tail that it has."""

_SOURCE = uuid5(NAMESPACE_URL, ALERTS)
"""With its number, what a message is known by, whoever sends it."""

_AT_ONCE = 100
_WAIT_MS = 1_000
_RETRY_S = 1.0
_ANSWER_WITHIN_S = 30.0


def brokers(urls: Sequence[SinkUrl]) -> list[Sink]:
    """Those of `urls` that want every channel; InvalidSetting where one cannot be spoken to."""
    return [sink for sink in map(sink_of, urls) if sink.wanted == EVERY_CHANNEL]


def relay(redis_url: str, sinks: Sequence[Sink], stopping: threading.Event) -> None:
    """Relay to each of `sinks` until `stopping` is set."""
    asyncio.run(_to_all(redis_url, sinks, stopping))


async def _to_all(redis_url: str, sinks: Sequence[Sink], stopping: threading.Event) -> None:
    async with redis.asyncio.Redis.from_url(redis_url) as client:
        await asyncio.gather(*(_to_one(client, sink, stopping) for sink in sinks))


async def _to_one(client: "redis.asyncio.Redis", sink: Sink, stopping: threading.Event) -> None:
    failures: tuple[type[Exception], ...] = (*sink.failures, RedisError, OSError, TimeoutError)
    is_open = is_away = False
    while not stopping.is_set():
        try:
            if not is_open:
                async with asyncio.timeout(_ANSWER_WITHIN_S):
                    await sink.open(_SOURCE)
                is_open = True
            await _send_next(client, sink)
            if is_away:
                log.info("alerts reach a sink again", sink=sink.name)
                is_away = False
        except failures as error:
            if not is_away:
                log.warning("alerts wait for a sink", sink=sink.name, reason=str(error) or type(error).__name__)
                is_away = True
            is_open = False
            await _closed(sink)
            await asyncio.sleep(_RETRY_S)
    await _closed(sink)


async def _send_next(client: "redis.asyncio.Redis", sink: Sink) -> None:
    """Wait a moment for alerts that the sink has not got, and send them."""
    after = await client.hget(RELAYED, sink.name) or b"0"
    answer: Any = await client.xread({TAIL: after}, _AT_ONCE, _WAIT_MS)
    for _, entries in answer:
        alerts = [Numbered(int(fields[b"n"]), Message("trades", ALERTS, 1, fields[b"m"])) for _, fields in entries]
        async with asyncio.timeout(_ANSWER_WITHIN_S):
            await sink.send(alerts)
        await client.hset(RELAYED, sink.name, entries[-1][0])


async def _closed(sink: Sink) -> None:
    failures: tuple[type[Exception], ...] = (*sink.failures, OSError, TimeoutError)
    try:
        async with asyncio.timeout(_ANSWER_WITHIN_S):
            await sink.close()
    except failures as error:
        log.debug("sink did not close", sink=sink.name, reason=str(error))
