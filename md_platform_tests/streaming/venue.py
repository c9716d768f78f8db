"""A scripted venue on a real socket: it speaks Binance's stream protocol and does what a test tells it to."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

import websockets
from websockets.asyncio.server import ServerConnection, serve

from md_platform.domain.events import FeedNotice, Trade
from md_platform.domain.instruments import Instrument
from md_platform.domain.wire import Published
from md_platform.venues.binance_feed import SPOT
from md_platform.venues.feeds import Feed, Subscription
from streaming.connection import Connection
from streaming.holes import Hole
from streaming.limits import Pacer
from streaming.pipeline import Pipeline
from streaming.socket_link import sockets
from streaming.tracked import Tail

BTC = Instrument("binance", "BTC", "USDT", "BTCUSDT")
START_MS = 1_700_000_000_000


def trade(number: int, price: float = 100.0) -> str:
    """An aggregated trade, one a millisecond."""
    at = START_MS + number
    data = {"e": "aggTrade", "E": at, "s": "BTCUSDT", "a": number, "p": f"{price}", "q": "1", "f": number, "l": number}
    return json.dumps({"stream": "btcusdt@aggTrade", "data": {**data, "T": at, "m": False}})


def depth(first: int, last: int, bids: list[list[str]], asks: list[list[str]]) -> str:
    data = {"e": "depthUpdate", "E": START_MS, "s": "BTCUSDT", "U": first, "u": last, "b": bids, "a": asks}
    return json.dumps({"stream": "btcusdt@depth@100ms", "data": data})


Script = Callable[[ServerConnection, int], Awaitable[None]]
"""What to do on the nth connection (from 0) once its subscription is confirmed."""


@asynccontextmanager
async def speaking(
    script: Script, *, refuse: bool = False, confirm_after_s: float = 0, before: Script | None = None
) -> AsyncIterator[str]:
    """The address of a venue that follows `script`, and does what `before` says before it confirms."""
    count = 0

    async def handle(connection: ServerConnection) -> None:
        nonlocal count
        number, count = count, count + 1
        asked = json.loads(await connection.recv())
        answer = {"error": {"code": 2, "msg": "Invalid request"}} if refuse else {"result": None}
        await asyncio.sleep(confirm_after_s)
        try:
            if before is not None:
                await before(connection, number)
            await connection.send(json.dumps({**answer, "id": asked["id"]}))
            await script(connection, number)
            await connection.wait_closed()
        except websockets.ConnectionClosed:
            pass

    async with serve(handle, "127.0.0.1", 0) as server:
        yield f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"


@dataclass
class Listener:
    """A connection and its pipeline, with everything that came out."""

    urls: list[str]
    channels: list[str] = field(default_factory=lambda: ["trades"])
    feed: Feed = SPOT
    out: list[Published] = field(default_factory=list)
    holes: list[Hole] = field(default_factory=list)
    resyncs: list[str] = field(default_factory=list)
    put: Callable[[Sequence[Published]], None] | None = None
    """Gets what comes out instead of `out`."""

    @asynccontextmanager
    async def listening(self) -> AsyncIterator["Listener"]:
        self.pipeline = Pipeline(self.put or self.out.extend)
        self.pipeline.holes.repair = self.holes.append
        self.pipeline.resync = lambda link, instrument: self.resyncs.append(instrument)
        feed = replace(self.feed, urls=tuple(self.urls))
        self.pipeline.track(BTC, feed, Tail(0))
        subscriptions = [Subscription(channel, BTC) for channel in self.channels]  # type: ignore[arg-type]
        pacer = Pacer(feed.connect_limit, feed.message_limit)
        self.connection = Connection(
            "binance",
            feed,
            "binance-0",
            subscriptions,
            self.urls,
            self.pipeline,
            pacer,
            sockets(lambda _venue, _feed, url, _subscriptions: url),
        )
        task = asyncio.create_task(self.connection.run())
        try:
            yield self
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def until(self, condition: Callable[[], bool], timeout_s: float = 10) -> None:
        async with asyncio.timeout(timeout_s):
            while not condition():  # noqa: ASYNC110 - what comes out is a list that grows
                await asyncio.sleep(0.01)

    @property
    def ids(self) -> list[int | str]:
        return [event.trade_id for event in self.out if isinstance(event, Trade)]

    def notices(self, kind: str) -> list[FeedNotice]:
        return [event for event in self.out if isinstance(event, FeedNotice) and event.kind == kind]
