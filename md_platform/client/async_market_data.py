"""`AsyncMarketData`: the client that is awaited, with the calls of `market_data`."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, Literal, Protocol, Self, TypeVar, cast, overload

import polars as pl

from md_platform.client import job_calls, live_calls, market_calls, platform_calls
from md_platform.client.asking import Pages, Pause, Reply, Request, Steps
from md_platform.client.endpoints import Awaiting, AwaitingPages, AwaitingTable, Opening
from md_platform.client.frames import As, shaped
from md_platform.client.http import AsyncHttp
from md_platform.client.jobs import Backfill, Export
from md_platform.client.market_data import DEFAULT_URL
from md_platform.client.replays import AsyncReplayStream
from md_platform.client.server import Server
from md_platform.client.streams import AsyncStream, LiveServer

if TYPE_CHECKING:  # imported by who asks for them: a second in all
    import pandas as pd
    import pyarrow as pa

F = TypeVar("F")
J = TypeVar("J", Backfill, Export)
T = TypeVar("T")


class AsyncSource(Protocol):
    """Where requests go: a server, or files."""

    async def ask(self, requests: Sequence[Request]) -> list[Reply]:
        """A reply for each."""

    async def download(self, export: Export, folder: str | Path) -> list[Path]:
        """Fetch the files of an export."""

    async def close(self) -> None:
        """Let go of connections and files."""


class AsyncMarketData(Generic[F]):
    """`MarketData`, awaited: the same calls and parameters. `async with`, or `await close()`."""

    @overload
    def __init__(
        self: "AsyncMarketData[pl.DataFrame]",
        url: str = ...,
        api_key: str | None = ...,
        *,
        as_: Literal["polars"] = ...,
        live_url: str | None = ...,
        timeout_s: float = ...,
        attempts: int = ...,
        patience_s: float = ...,
    ) -> None: ...
    @overload
    def __init__(
        self: "AsyncMarketData[pd.DataFrame]",
        url: str = ...,
        api_key: str | None = ...,
        *,
        as_: Literal["pandas"],
        live_url: str | None = ...,
        timeout_s: float = ...,
        attempts: int = ...,
        patience_s: float = ...,
    ) -> None: ...
    @overload
    def __init__(
        self: "AsyncMarketData[pa.Table]",
        url: str = ...,
        api_key: str | None = ...,
        *,
        as_: Literal["arrow"],
        live_url: str | None = ...,
        timeout_s: float = ...,
        attempts: int = ...,
        patience_s: float = ...,
    ) -> None: ...
    def __init__(
        self,
        url: str = DEFAULT_URL,
        api_key: str | None = None,
        *,
        as_: As = "polars",
        live_url: str | None = None,
        timeout_s: float = 30.0,
        attempts: int = 5,
        patience_s: float = 60.0,
    ) -> None:
        self._source: AsyncSource = AsyncHttp(Server(url, api_key, timeout_s, attempts))
        self.live_server: LiveServer | None = LiveServer.of(url, live_url, api_key, patience_s)
        self._as = as_

    @overload
    @classmethod
    def open(cls, path: str | Path, *, as_: Literal["polars"] = ...) -> "AsyncMarketData[pl.DataFrame]": ...
    @overload
    @classmethod
    def open(cls, path: str | Path, *, as_: Literal["pandas"]) -> "AsyncMarketData[pd.DataFrame]": ...
    @overload
    @classmethod
    def open(cls, path: str | Path, *, as_: Literal["arrow"]) -> "AsyncMarketData[pa.Table]": ...
    @classmethod
    def open(cls, path: str | Path, *, as_: As = "polars") -> "AsyncMarketData[Any]":
        """As `MarketData.open`; files are read by threads."""
        from md_platform.client.files import AsyncFiles  # noqa: PLC0415 - what reads files takes a second to import

        opened: AsyncMarketData[Any] = cls.__new__(cls)
        opened._source, opened.live_server, opened._as = AsyncFiles(str(path)), None, as_
        return opened

    instruments = AwaitingTable(market_calls.instruments)
    search = AwaitingTable(market_calls.search)
    latest = AwaitingTable(market_calls.latest)
    quotes = AwaitingTable(market_calls.quotes)
    orderbook = AwaitingTable(market_calls.orderbook)
    trades = AwaitingTable(market_calls.trades)
    bars = AwaitingTable(market_calls.bars)
    history = AwaitingPages(market_calls.history)
    indicators = AwaitingTable(market_calls.indicators)
    custom = AwaitingTable(market_calls.custom)
    stats = AwaitingTable(market_calls.stats)
    correlation = AwaitingTable(market_calls.correlation)
    corporate_actions = AwaitingTable(market_calls.corporate_actions)
    add_corporate_action = AwaitingTable(market_calls.add_corporate_action)
    remove_corporate_action = AwaitingTable(market_calls.remove_corporate_action)
    market_summary = AwaitingTable(market_calls.market_summary)
    datasets = AwaitingTable(platform_calls.datasets)
    columns = AwaitingTable(platform_calls.columns)
    coverage = AwaitingTable(platform_calls.coverage)
    partition = Awaiting(platform_calls.partition)
    quality = AwaitingTable(platform_calls.quality)
    events = AwaitingTable(platform_calls.events)
    runs = AwaitingTable(platform_calls.runs)
    backfill = Awaiting(job_calls.backfill)
    backfills = Awaiting(job_calls.backfills)
    export = Awaiting(job_calls.export)
    exports = Awaiting(job_calls.exports)
    cancel = Awaiting(job_calls.cancel)
    add_alert = Awaiting(job_calls.add_alert)
    alerts = Awaiting(job_calls.alerts)
    remove_alert = Awaiting(job_calls.remove_alert)
    fired_alerts = AwaitingTable(job_calls.fired_alerts)
    stream = Opening(live_calls.stream, AsyncStream)
    replay = Opening(live_calls.replay, AsyncReplayStream)

    async def run(self, steps: Steps[T]) -> T:
        """The answer of a call."""
        try:
            asked = next(steps)
            while True:
                asked = steps.send(await self._reached(asked))
        except StopIteration as done:
            return cast("T", done.value)

    async def wait(self, job: J, timeout_s: float = 3_600.0) -> J:
        """A backfill or export when it is done; ServiceError where it failed, PlatformUnavailable after `timeout_s`."""
        return await self.run(job_calls.wait(job, timeout_s))

    async def download(self, export: Export, folder: str | Path) -> list[Path]:
        """Fetch the files of a finished export; one that broke off is resumed, one that is there is left alone."""
        return await self._source.download(export, folder)

    async def pages(self, pages: Pages) -> AsyncIterator[F]:
        """Pieces of an answer, without those that are empty."""
        try:
            request = next(pages)
            while True:
                (reply,) = await self._source.ask([request])
                if not reply.frame.is_empty():
                    yield self.shaped(reply.frame)
                request = pages.send(reply)
        except StopIteration:
            return

    def shaped(self, frame: pl.DataFrame) -> F:
        """`frame` as this client's frames are."""
        return cast("F", shaped(frame, self._as))

    async def close(self) -> None:
        """Close the connections. Streams have their own."""
        await self._source.close()

    async def _reached(self, asked: Sequence[Request] | Pause) -> list[Reply]:
        if isinstance(asked, Pause):
            await asyncio.sleep(asked.seconds)
            return []
        return await self._source.ask(asked)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self.close()
