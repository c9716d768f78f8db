"""`MarketData`: the client that blocks. What its calls ask stands in `market_calls` and its neighbours."""

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, Literal, Protocol, Self, TypeVar, cast, overload

import polars as pl

from md_platform.client import job_calls, live_calls, market_calls, platform_calls
from md_platform.client.asking import Pages, Pause, Reply, Request, Steps
from md_platform.client.endpoints import Blocking, BlockingPages, BlockingTable, Opening
from md_platform.client.frames import As, shaped
from md_platform.client.http import Http
from md_platform.client.jobs import Backfill, Export
from md_platform.client.replays import ReplayStream
from md_platform.client.server import Server
from md_platform.client.streams import LiveServer, Stream

if TYPE_CHECKING:  # imported by who asks for them: a second in all
    import pandas as pd
    import pyarrow as pa

F = TypeVar("F")
J = TypeVar("J", Backfill, Export)
T = TypeVar("T")
DEFAULT_URL = "http://127.0.0.1:8000"


class Source(Protocol):
    """Where a blocking client's requests go: a server, or files."""

    def ask(self, requests: Sequence[Request]) -> list[Reply]:
        """A reply for each."""

    def download(self, export: Export, folder: str | Path) -> list[Path]:
        """Fetch the files of an export."""

    def close(self) -> None:
        """Let go of connections and files."""


class MarketData(Generic[F]):
    """The platform at `url`; tables come as `as_` says. For any number of threads, but for `stream`.

    url        of the REST API, http://127.0.0.1:8000 by default
    api_key    an API key (mdp_...) or a JWT, where the platform asks for one
    live_url   of the gateway, ws://host:8001; by default the API's host and the port after its own
    timeout_s  of each request, and `attempts` of it where it may succeed later
    patience_s for a stream's gateway to come back

    Times and ranges are as in `asking`: UTC, [start, end). Errors are those of `md_platform.errors`, as the server
    raised them; PlatformUnavailable where it does not answer.
    """

    @overload
    def __init__(
        self: "MarketData[pl.DataFrame]",
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
        self: "MarketData[pd.DataFrame]",
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
        self: "MarketData[pa.Table]",
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
        self._source: Source = Http(Server(url, api_key, timeout_s, attempts))
        self.live_server: LiveServer | None = LiveServer.of(url, live_url, api_key, patience_s)
        self._as = as_

    @overload
    @classmethod
    def open(cls, path: str | Path, *, as_: Literal["polars"] = ...) -> "MarketData[pl.DataFrame]": ...
    @overload
    @classmethod
    def open(cls, path: str | Path, *, as_: Literal["pandas"]) -> "MarketData[pd.DataFrame]": ...
    @overload
    @classmethod
    def open(cls, path: str | Path, *, as_: Literal["arrow"]) -> "MarketData[pa.Table]": ...
    @classmethod
    def open(cls, path: str | Path, *, as_: As = "polars") -> "MarketData[Any]":
        """Read files without a server: an MDP_HOME (`.mdp`), a lake, or an archive (a path or s3://bucket/prefix).

        Market data and statistics are answered as by the API, from what is in the files; NeedsServer for all else.
        """
        from md_platform.client.files import Files  # noqa: PLC0415 - what reads files takes a second to import

        opened: MarketData[Any] = cls.__new__(cls)
        opened._source, opened.live_server, opened._as = Files(str(path)), None, as_
        return opened

    instruments = BlockingTable(market_calls.instruments)
    search = BlockingTable(market_calls.search)
    latest = BlockingTable(market_calls.latest)
    quotes = BlockingTable(market_calls.quotes)
    orderbook = BlockingTable(market_calls.orderbook)
    trades = BlockingTable(market_calls.trades)
    bars = BlockingTable(market_calls.bars)
    history = BlockingPages(market_calls.history)
    indicators = BlockingTable(market_calls.indicators)
    custom = BlockingTable(market_calls.custom)
    stats = BlockingTable(market_calls.stats)
    correlation = BlockingTable(market_calls.correlation)
    corporate_actions = BlockingTable(market_calls.corporate_actions)
    add_corporate_action = BlockingTable(market_calls.add_corporate_action)
    remove_corporate_action = BlockingTable(market_calls.remove_corporate_action)
    market_summary = BlockingTable(market_calls.market_summary)
    datasets = BlockingTable(platform_calls.datasets)
    columns = BlockingTable(platform_calls.columns)
    coverage = BlockingTable(platform_calls.coverage)
    partition = Blocking(platform_calls.partition)
    quality = BlockingTable(platform_calls.quality)
    events = BlockingTable(platform_calls.events)
    runs = BlockingTable(platform_calls.runs)
    backfill = Blocking(job_calls.backfill)
    backfills = Blocking(job_calls.backfills)
    export = Blocking(job_calls.export)
    exports = Blocking(job_calls.exports)
    cancel = Blocking(job_calls.cancel)
    add_alert = Blocking(job_calls.add_alert)
    alerts = Blocking(job_calls.alerts)
    remove_alert = Blocking(job_calls.remove_alert)
    fired_alerts = BlockingTable(job_calls.fired_alerts)
    stream = Opening(live_calls.stream, Stream)
    replay = Opening(live_calls.replay, ReplayStream)

    def run(self, steps: Steps[T]) -> T:
        """The answer of a call."""
        try:
            asked = next(steps)
            while True:
                asked = steps.send(self._reached(asked))
        except StopIteration as done:
            return cast("T", done.value)

    def wait(self, job: J, timeout_s: float = 3_600.0) -> J:
        """A backfill or export when it is done; ServiceError where it failed, PlatformUnavailable after `timeout_s`."""
        return self.run(job_calls.wait(job, timeout_s))

    def download(self, export: Export, folder: str | Path) -> list[Path]:
        """Fetch the files of a finished export; one that broke off is resumed, one that is there is left alone."""
        return self._source.download(export, folder)

    def pages(self, pages: Pages) -> Iterator[F]:
        """Pieces of an answer, without those that are empty."""
        try:
            request = next(pages)
            while True:
                (reply,) = self._source.ask([request])
                if not reply.frame.is_empty():
                    yield self.shaped(reply.frame)
                request = pages.send(reply)
        except StopIteration:
            return

    def shaped(self, frame: pl.DataFrame) -> F:
        """`frame` as this client's frames are."""
        return cast("F", shaped(frame, self._as))

    def close(self) -> None:
        """Close the connections. Streams have their own."""
        self._source.close()

    def _reached(self, asked: Sequence[Request] | Pause) -> list[Reply]:
        if isinstance(asked, Pause):
            time.sleep(asked.seconds)
            return []
        return self._source.ask(asked)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()
