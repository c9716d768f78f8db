"""Requests in, HTTP with retries, replies out: blocking and awaited.

What may succeed later is tried again, after a growing pause or when the server said; everything else is raised at once.
"""

import asyncio
import functools
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import msgspec
import polars as pl
import stamina

from md_platform.client.asking import Reply, Request
from md_platform.client.downloads import downloaded
from md_platform.client.jobs import Export
from md_platform.client.problems import error_of
from md_platform.client.server import Server, pause_s, reached
from md_platform.errors import NotFound

AT_ONCE = 4
"""Requests of one call that are under way at the same time."""

_ARROW = "application/vnd.apache.arrow.stream"
_NOTHING = pl.DataFrame()


class Http:
    """Asks a server, and blocks. For any number of threads."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self.client = httpx.Client(base_url=server.url, headers=server.headers, timeout=server.timeout_s)

    def ask(self, requests: Sequence[Request]) -> list[Reply]:
        """A reply for each, in order; the errors of `md_platform.errors`."""
        if len(requests) == 1:
            return [self._asked(requests[0])]
        with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="market-data") as threads:
            return list(threads.map(self._asked, requests))

    def _asked(self, request: Request) -> Reply:
        for attempt in stamina.retry_context(functools.partial(pause_s, request), self._server.attempts, timeout=None):
            with attempt, reached(self._server.url):
                return _reply_of(self.client.send(_built(self.client, request)))
        raise AssertionError("stamina returns or raises")

    def download(self, export: Export, folder: str | Path) -> list[Path]:
        """Fetch the files of an export."""
        return downloaded(self._server, export, folder)

    def close(self) -> None:
        """Close the connections."""
        self.client.close()


class AsyncHttp:
    """Asks a server, and is awaited."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self.client = httpx.AsyncClient(base_url=server.url, headers=server.headers, timeout=server.timeout_s)
        self._at_once = asyncio.Semaphore(AT_ONCE)

    async def ask(self, requests: Sequence[Request]) -> list[Reply]:
        """A reply for each, in order; the errors of `md_platform.errors`."""
        return await asyncio.gather(*map(self._asked, requests))

    async def _asked(self, request: Request) -> Reply:
        pause = functools.partial(pause_s, request)
        async for attempt in stamina.retry_context(pause, self._server.attempts, timeout=None):
            with attempt, reached(self._server.url):
                async with self._at_once:
                    return _reply_of(await self.client.send(_built(self.client, request)))
        raise AssertionError("stamina returns or raises")

    async def download(self, export: Export, folder: str | Path) -> list[Path]:
        """Fetch the files of an export, by a thread."""
        return await asyncio.to_thread(downloaded, self._server, export, folder)

    async def close(self) -> None:
        """Close the connections."""
        await self.client.aclose()


def _built(client: "httpx.Client | httpx.AsyncClient", request: Request) -> httpx.Request:
    headers = {"accept": _ARROW if request.is_table else "application/json"}
    return client.build_request(request.method, request.path, params=request.params, json=request.body, headers=headers)


def _reply_of(response: httpx.Response) -> Reply:
    if not response.is_success:
        raise error_of(response.status_code, response.content, response.headers)
    if response.headers.get("content-type", "").startswith(_ARROW):
        frame = pl.read_ipc_stream(response.content)
        # words that repeat are sent once each; as text they are what the platform's schemas say, and files have
        words = [name for name, dtype in frame.schema.items() if dtype == pl.Categorical]
        return Reply(frame.with_columns(pl.col(words).cast(pl.String)), cursor=response.headers.get("x-next-cursor"))
    try:
        return Reply(_NOTHING, msgspec.json.decode(response.content) if response.content else None)
    except msgspec.DecodeError:
        raise NotFound(f"{response.url} is no API of md-platform: it answered {response.content[:80]!r}") from None
