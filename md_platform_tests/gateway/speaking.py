"""A real gateway on a real Redis, a publisher as the live process is one, and clients of the websockets library."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import redis.asyncio as redis
import websockets
from websockets.asyncio.client import ClientConnection, connect

from md_platform.access.authenticator import Authenticator
from md_platform.access.config import AccessConfig
from md_platform.domain.events import Book, Trade
from md_platform.domain.wire import Published, channel_of, encode
from md_platform.gateway.server import Gateway, GatewayConfig
from streaming.redis_script import Flush, script_on

ID = "sandbox:BTC-USDT"
TRADES = f"trades:{ID}"


def trade(number: int, instrument: str = ID, size: float = 1.0, quality: float = 1.0) -> Trade:
    now_ns = time.time_ns()
    return Trade(instrument, now_ns, now_ns, number, 100.0, size, quality=quality)


class Publisher:
    """Publishes as the live process does: by the script that numbers messages."""

    def __init__(self, url: str, kept: int = 10_000) -> None:
        self.client = redis.Redis.from_url(url)
        self._script = script_on(self.client)
        self._kept = kept
        self._position = 0

    async def say(self, *events: Published) -> None:
        """Each a message of its own, in one flush."""
        flush = Flush()
        for event in events:
            is_book = isinstance(event, Book)
            latest = f"md:latest-book:{event.instrument}" if is_book else ""
            flush.add(channel_of(event), encode([event]), kept=0 if is_book else self._kept, latest=latest, ttl_s=60)
        self._position += len(events)
        await flush.send(self._script, "position", self._position)


class Client:
    """One connection and all that it was told."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection
        self.messages: list[dict[str, Any]] = []
        self.ids: list[int] = []
        """Trade ids in the order in which they came, history and live."""

    async def ask(self, op: str, **request: Any) -> None:
        await self.connection.send(json.dumps({"op": op, **request}))

    async def until(self, holds: Callable[[], Any], timeout_s: float = 10) -> None:
        async with asyncio.timeout(timeout_s):
            while not holds():
                await self._receive()

    async def next(self, kind: str, timeout_s: float = 10) -> dict[str, Any]:
        """The next message of that type."""
        async with asyncio.timeout(timeout_s):
            while True:
                message = await self._receive()
                if message["type"] == kind:
                    return message

    async def _receive(self) -> dict[str, Any]:
        message = json.loads(await self.connection.recv())
        self.messages.append(message)
        if message["type"] in ("history", "data"):
            self.ids += [event[4] for event in message["data"] if isinstance(event, list) and event[0] == "trade"]
        return message

    def told(self, *kinds: str) -> list[dict[str, Any]]:
        return [message for message in self.messages if message["type"] in kinds]


@asynccontextmanager
async def running(redis_url: str, **config: Any) -> AsyncIterator[int]:
    """The port of a gateway."""
    database_url = config.get("database_url", "")
    authenticator = Authenticator(AccessConfig(is_open=True, tiers={}), database_url, redis_url)
    config = {"authenticator": authenticator, "port": 0, **config}
    port: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(Gateway(GatewayConfig(redis_url, **config)).run(port.set_result))
    try:
        await asyncio.wait((task, port), return_when=asyncio.FIRST_COMPLETED)
        yield port.result()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@asynccontextmanager
async def connected(port: int, query: str = "", **options: Any) -> AsyncIterator[Client]:
    async with connect(f"ws://127.0.0.1:{port}/{query}", max_size=None, **options) as connection:
        yield Client(connection)


ConnectionClosed = websockets.ConnectionClosed
