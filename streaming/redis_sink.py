"""Messages in; Redis pub/sub, replayable streams, latest values and movers out.

Pub/sub reaches who listens now; `md:log:*` streams keep a bounded tail for who was away. While Redis is down nothing is
kept in memory: what was missed is read again from the spool.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from pathlib import Path

import redis.asyncio as redis
import structlog
from redis.exceptions import RedisError

from md_platform.domain.events import Quote, Trade
from md_platform.domain.wire import decode
from md_platform.storage.spool import Message, Spool
from streaming.lag import Lag
from streaming.redis_script import Flush

log = structlog.get_logger(__name__)

LOG_LENGTH = 10_000
"""Messages that each `md:log:*` stream keeps, about."""

_WAITING_AT_MOST = 2_000
_AT_ONCE = 32
_RETRY_S = 1.0
_CATCH_UP = 5_000
_LATEST_TTL_S = 7 * 86_400


class RedisSink:
    """Publishes in the order of the spool. `put` never blocks; `run` does the work."""

    def __init__(self, url: str, spool_path: Path) -> None:
        self._client = redis.Redis.from_url(url, socket_timeout=5, socket_connect_timeout=5)
        self._spool = Spool(spool_path)
        self._position = f"md:spool:{self._spool.id}"
        self._waiting: deque[tuple[Sequence[Message], int]] = deque()
        self._wake = asyncio.Event()
        self._wake.set()
        self._sent = asyncio.Event()
        self.published_id = 0
        self.published = 0
        self.lag = Lag()
        self.is_up = False

    def put(self, messages: Sequence[Message], last_id: int) -> None:
        """Queue `messages`. Beyond what may wait they are forgotten here and read from the spool when Redis is back."""
        if self.is_up and len(self._waiting) < _WAITING_AT_MOST:
            self._waiting.append((messages, last_id))
        else:
            self._fell_behind()
        self._wake.set()

    def _fell_behind(self) -> None:
        self.is_up = False
        self._waiting.clear()

    async def run(self) -> None:
        """Publish until cancelled."""
        is_known_away = False
        while True:
            await self._wake.wait()
            self._wake.clear()
            try:
                if not self.is_up:
                    await self._catch_up()
                    is_known_away = False
                while self._waiting:
                    batch = [self._waiting.popleft() for _ in range(min(len(self._waiting), _AT_ONCE))]
                    fresh = [(messages, id_) for messages, id_ in batch if id_ > self.published_id]
                    if fresh:
                        await self._send([message for messages, _ in fresh for message in messages], fresh[-1][1])
            except (RedisError, OSError, TimeoutError) as error:
                self._fell_behind()
                if not is_known_away:
                    log.warning("redis is away", reason=str(error))
                is_known_away = True
                await asyncio.sleep(_RETRY_S)
                self._wake.set()

    async def reached(self, last_id: int) -> None:
        """Wait until everything up to `last_id` of the spool is published."""
        while self.published_id < last_id:
            self._sent.clear()
            await self._sent.wait()

    async def _catch_up(self) -> None:
        """Send what the spool has after the last message that Redis took."""
        self.published_id = max(self.published_id, int(await self._client.get(self._position) or 0))
        while rows := await asyncio.to_thread(self._spool.read, self.published_id, _CATCH_UP):
            await self._send([row.message for row in rows], rows[-1].id)
        self.is_up = True  # from here on new messages queue; those that the last read below finds come twice
        while rows := await asyncio.to_thread(self._spool.read, self.published_id, _CATCH_UP):
            await self._send([row.message for row in rows], rows[-1].id)

    async def _send(self, messages: Sequence[Message], last_id: int) -> None:
        flush = Flush()
        for message in messages:
            key, values = _latest(message)
            kept = 0 if message.kind == "book" else LOG_LENGTH
            flush.add(message.channel, message.payload, kept=kept, latest=key, values=values, ttl_s=_LATEST_TTL_S)
        await flush.send(self._client, self._position, last_id)
        self.published_id = last_id
        self.lag.measure(messages)
        self._sent.set()
        self.published += sum(message.events for message in messages)


def _latest(message: Message) -> tuple[str, dict[str, float]]:
    """The key of a latest value, and its fields: `md:latest:{id}` has the last trade's and quote's, others have none.

    Without fields `md:latest-book|bars|indicators:{id}…` is the message itself; where the key is empty, nothing is.
    """
    kind, _, rest = message.channel[3:].partition(":")
    if kind in ("book", "bars", "indicators"):
        return f"md:latest-{kind}:{rest}", {}
    last = decode_last(message.payload) if kind in ("trades", "quotes") else None
    if isinstance(last, Trade):
        return f"md:latest:{rest}", {"price": last.price, "size": last.size, "trade_ts": last.ts_event}
    if isinstance(last, Quote):
        fields = {"bid": last.bid, "bid_size": last.bid_size, "ask": last.ask, "ask_size": last.ask_size}
        return f"md:latest:{rest}", fields
    return "", {}


def decode_last(payload: bytes) -> object:
    """The last event of a message without decoding the others."""
    start = payload.rfind(b'["')
    events = decode(b'{"v":1,"data":[' + payload[start:])
    return events[-1]
