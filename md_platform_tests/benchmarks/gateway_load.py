"""What is published in the gateway's benchmark: trades of many instruments, each a message of its own."""

import asyncio
import itertools
import threading
import time

import redis.asyncio as redis

from md_platform.domain.events import Trade
from md_platform.domain.wire import channel_of, encode, opened
from streaming.redis_script import Flush, script_on

FLUSH_S = 0.005
"""As often as the live process flushes."""


def trade(channel: int, number: int) -> Trade:
    """A trade of now."""
    now_ns = time.time_ns()
    return Trade(f"bench:C{channel}-USD", now_ns, now_ns, number, 64_250.5, 0.0125, "buy")


def message(channel: int, number: int) -> bytes:
    """The same as events of a message."""
    return opened(encode([trade(channel, number)]))[1]


async def publish(url: str, channels: int, per_s: float, stop: threading.Event) -> None:
    """Publish so many trades a second until `stop`."""
    async with redis.Redis.from_url(url) as client:
        script = script_on(client)
        numbers = itertools.count()
        spool = f"bench:{time.time_ns()}"
        due, each = time.perf_counter(), round(per_s * FLUSH_S)
        for position in itertools.count(1):
            if stop.is_set():
                return
            flush = Flush()
            for number in itertools.islice(numbers, each):
                event = trade(number % channels, number)
                flush.add(channel_of(event), encode([event]), kept=100)
            await flush.send(script, spool, position)
            due += FLUSH_S
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
