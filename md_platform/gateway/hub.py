"""Redis pub/sub in, channels out: one subscription in Redis for each channel that any client wants.

Pub/sub loses what is published while the connection is away, so a channel whose numbers jump is filled from its tail.
"""

import asyncio
import time
from collections import Counter, deque
from collections.abc import Callable

import msgspec
import redis.asyncio as redis
import structlog
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from md_platform.domain.events import FeedNotice
from md_platform.domain.wire import EVENTS, decode, encode, opened
from md_platform.gateway.channel import NOTICE, Channel
from md_platform.gateway.tail import Tail

log = structlog.get_logger(__name__)

_PREFIX = "md:"
_RETRY_S = (0.1, 0.2, 0.5, 1.0)
_AWAY = (RedisError, OSError, TimeoutError)
_AT_ONCE = 1_000  # channels in one command
_DERIVED = {"bars": "trades", "indicators": "trades"}


class Hub:
    """All channels. `told` is called with the reason when Redis goes away, and with None when it is back."""

    def __init__(self, url: str, told: Callable[[str | None], None]) -> None:
        self.client = redis.Redis.from_url(url, socket_timeout=10, socket_connect_timeout=5)
        self._listening = redis.Redis.from_url(url, socket_connect_timeout=5, retry=Retry(NoBackoff(), 0))
        self._told = told
        self._wake = asyncio.Event()
        self._fills: set[asyncio.Task[None]] = set()
        self._asked: set[str] = set()
        self.tail = Tail(self.client)
        self.channels: dict[str, Channel] = {}
        self.received: Counter[str] = Counter()
        self.lags_ms: deque[float] = deque(maxlen=1_000)
        self.is_up = self._is_told_away = False
        self.problem = "Redis was not reached yet"
        self.join(EVENTS.removeprefix(_PREFIX))

    def join(self, name: str) -> Channel:
        """The channel, from now on subscribed to."""
        channel = self.channels.get(name)
        if channel is None:
            channel = self.channels[name] = Channel(name, self._fill)
            if name in self._asked:  # Redis was not told yet that nobody wanted it
                self._fill(channel)
            self._wake.set()
        return channel

    def leave(self, name: str) -> None:
        """Let go of the channel where nobody wants it any more."""
        channel = self.channels.get(name)
        if channel is not None and not channel.is_wanted and _PREFIX + name != EVENTS:
            del self.channels[name]
            self._wake.set()

    async def run(self) -> None:
        """Listen until cancelled, whatever happens to Redis."""
        failed = 0
        while True:
            try:
                async with self._listening.pubsub() as pubsub:
                    await pubsub.subscribe(EVENTS)
                    self._asked = {EVENTS.removeprefix(_PREFIX)}
                    self._wake.set()
                    failed = 0
                    await self._serve(pubsub)
            except _AWAY as error:
                self._away(str(error) or type(error).__name__)
            await asyncio.sleep(_RETRY_S[min(failed, len(_RETRY_S) - 1)])
            failed += 1

    async def close(self) -> None:
        """Let go of Redis."""
        for task in self._fills:
            task.cancel()
        await asyncio.gather(*self._fills, return_exceptions=True)
        await self._listening.aclose()
        await self.client.aclose()

    async def _serve(self, pubsub: redis.client.PubSub) -> None:
        """Until the connection breaks."""
        asking = asyncio.create_task(self._ask(pubsub))
        pinging = asyncio.create_task(self._ping())
        listening = asyncio.create_task(self._listen(pubsub))
        tasks = (asking, pinging, listening)
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        for task in done:
            task.result()

    async def _ask(self, pubsub: redis.client.PubSub) -> None:
        """Subscribe to what is wanted, and to nothing else."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            new = [name for name in self.channels if name not in self._asked]
            for start in range(0, len(new), _AT_ONCE):
                await pubsub.subscribe(*(_PREFIX + name for name in new[start : start + _AT_ONCE]))
            old = [name for name in self._asked if name not in self.channels]
            if old:
                await pubsub.unsubscribe(*(_PREFIX + name for name in old))
            self._asked = self._asked.difference(old).union(new)

    async def _ping(self) -> None:
        """A connection that says nothing may be dead."""
        while True:
            await asyncio.sleep(1)
            await self.client.ping()

    async def _listen(self, pubsub: redis.client.PubSub) -> None:
        async for message in pubsub.listen():
            name = message["channel"].decode().removeprefix(_PREFIX)
            if message["type"] == "message":
                self._received(name, message["data"])
            elif message["type"] == "subscribe" and (channel := self.channels.get(name)) is not None:
                channel.hold()
                self._fill(channel)
                self._back()

    def _received(self, name: str, message: bytes) -> None:
        channel = self.channels.get(name)
        if channel is None:
            return
        try:
            number, data = opened(message)
        except ValueError as error:
            log.warning("not a message", channel=name, reason=str(error))
            return
        self.received[name.partition(":")[0]] += 1
        if _PREFIX + name == EVENTS:
            self._notices(message)
        channel.receive(number, data)
        if name.startswith("trades:"):
            self.lags_ms.append(time.time_ns() / 1e6 - int(data.split(b",", 4)[3]) / 1e6)

    def _notices(self, message: bytes) -> None:
        """Tell what happened to a feed to who gets the channels that it affects, in order with their data."""
        try:
            notices = [event for event in decode(message) if isinstance(event, FeedNotice)]
        except msgspec.MsgspecError as error:
            log.warning("notices cannot be read", reason=str(error))
            return
        for notice in notices:
            data = opened(encode([notice]))[1]
            for channel in self.channels.values():
                if affects(notice, channel.name):
                    channel.receive(NOTICE, data)

    def _fill(self, channel: Channel) -> None:
        task = asyncio.create_task(self._filled(channel))
        self._fills.add(task)
        task.add_done_callback(self._fills.discard)

    async def _filled(self, channel: Channel) -> None:
        """What `channel` missed, from its tail, as soon as Redis answers."""
        while self.channels.get(channel.name) is channel:
            try:
                if channel.number and channel.has_tail:
                    channel.filled(await self.tail.after(channel.name, channel.number))
                else:
                    channel.begins_after(await self.tail.last(channel.name))
                    channel.filled([])
            except _AWAY as error:
                log.info("a tail could not be read", channel=channel.name, reason=str(error))
                await asyncio.sleep(_RETRY_S[-1])
            else:
                return

    def _away(self, reason: str) -> None:
        if self.is_up:
            log.warning("redis is away", reason=reason)
            self._told(reason)
            self._is_told_away = True
        self.is_up, self.problem = False, reason

    def _back(self) -> None:
        if not self.is_up:
            log.info("redis is there")
            self.is_up = True
            if self._is_told_away:
                self._told(None)


def affects(notice: FeedNotice, channel: str) -> bool:
    """Whether data of `channel` (trades:sandbox:BTC-USDT) are touched by what `notice` tells."""
    kind, _, rest = channel.partition(":")
    venue, _, symbol = rest.partition(":")
    if not venue or venue != notice.venue:
        return False
    if notice.channels and kind not in notice.channels and _DERIVED.get(kind) not in notice.channels:
        return False
    instrument = f"{venue}:{symbol.partition(':')[0]}"
    return not notice.instruments or instrument in notice.instruments
