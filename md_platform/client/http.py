"""Requests in, HTTP with retries, replies out: blocking and awaited.

What may succeed later is tried again, after a growing pause or when the server said; everything else is raised at once.
"""

import asyncio
import functools
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode
from urllib.request import getproxies, proxy_bypass

import httpx
import msgspec
import polars as pl
import stamina
import urllib3

from md_platform.client.asking import Reply, Request
from md_platform.client.downloads import downloaded
from md_platform.client.jobs import Export
from md_platform.client.problems import error_of
from md_platform.client.server import Server, pause_s, reached
from md_platform.errors import NotFound

if TYPE_CHECKING:
    import pyarrow as pa

AT_ONCE = 4
"""Requests of one call that are under way at the same time."""

_ARROW = "application/vnd.apache.arrow.stream"
_SUCCESS, _REDIRECTION = 200, 300
_NOTHING = pl.DataFrame()


class Http:
    """Asks a server, and blocks. For any number of threads.

    By urllib3, which reads an answer of 80 MiB in half the time that httpx takes.
    """

    def __init__(self, server: Server) -> None:
        self._server = server
        self._pool = _pool_of(server)
        self._headers = {**urllib3.make_headers(accept_encoding=True), **server.headers}

    def ask(self, requests: Sequence[Request]) -> list[Reply]:
        """A reply for each, in order; the errors of `md_platform.errors`."""
        if len(requests) == 1:
            return [self._asked(requests[0])]
        with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="market-data") as threads:
            return list(threads.map(self._asked, requests))

    def _asked(self, request: Request) -> Reply:
        body = None if request.body is None else msgspec.json.encode(request.body)
        url = f"{self._server.url.rstrip('/')}{request.path}?{urlencode(request.params)}".rstrip("?")
        headers = {**self._headers, "accept": _accepted(request)}
        if body is not None:
            headers["content-type"] = "application/json"
        for attempt in stamina.retry_context(functools.partial(pause_s, request), self._server.attempts, timeout=None):
            with attempt, reached(self._server.url):
                answer = self._pool.request(request.method, url, body=body, headers=headers, redirect=False)
                return _reply_of(url, answer.status, answer.headers, answer.data)
        raise AssertionError("stamina returns or raises")

    def download(self, export: Export, folder: str | Path) -> list[Path]:
        """Fetch the files of an export."""
        return downloaded(self._server, export, folder)

    def close(self) -> None:
        """Close the connections."""
        self._pool.clear()


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
                    headers = {"accept": _accepted(request)}
                    answer = await self.client.request(
                        request.method, request.path, params=request.params, json=request.body, headers=headers
                    )
                    return _reply_of(str(answer.url), answer.status_code, answer.headers, answer.content)
        raise AssertionError("stamina returns or raises")

    async def download(self, export: Export, folder: str | Path) -> list[Path]:
        """Fetch the files of an export, by a thread."""
        return await asyncio.to_thread(downloaded, self._server, export, folder)

    async def close(self) -> None:
        """Close the connections."""
        await self.client.aclose()


def _pool_of(server: Server) -> urllib3.PoolManager:
    """Connections to `server`, through the proxy that the environment names for it."""
    url = urllib3.util.parse_url(server.url)
    proxy = None if proxy_bypass(url.netloc or "") else getproxies().get(url.scheme or "")
    options: dict[str, Any] = {"maxsize": AT_ONCE, "timeout": server.timeout_s, "retries": False}
    return urllib3.ProxyManager(proxy, **options) if proxy else urllib3.PoolManager(**options)


def _accepted(request: Request) -> str:
    return _ARROW if request.is_table else "application/json"


def _reply_of(url: str, status: int, headers: Mapping[str, str], content: bytes) -> Reply:
    if not _SUCCESS <= status < _REDIRECTION:
        raise error_of(status, content, headers)
    if headers.get("content-type", "").startswith(_ARROW):
        return Reply(_frame_of(content), cursor=headers.get("x-next-cursor"))
    try:
        return Reply(_NOTHING, msgspec.json.decode(content) if content else None)
    except msgspec.DecodeError:
        raise NotFound(f"{url} is no API of md-platform: it answered {content[:80]!r}") from None


def _frame_of(content: bytes) -> pl.DataFrame:
    """The table of an Arrow stream, without a copy of its numbers.

    Words that repeat are sent once each; as text they are what the platform's schemas say, and files have.
    """
    import pyarrow as pa  # noqa: PLC0415 - a sixth of a second, for who asks for tables

    with pa.ipc.open_stream(content) as stream:
        table = stream.read_all()
    columns = dict(zip(table.column_names, table.columns, strict=True))
    words = [name for name, column in columns.items() if pa.types.is_dictionary(column.type)]
    constant = {name: pl.lit(word).alias(name) for name in words if (word := _only_word(columns[name])) is not None}
    frame = pl.DataFrame(pl.from_arrow(table.drop_columns(list(constant)), rechunk=False))
    texts = [pl.col(name).cast(pl.String) for name in words if name not in constant]
    return frame.with_columns(*constant.values(), *texts).select(table.column_names)


def _only_word(column: "pa.ChunkedArray") -> str | None:
    """The word that each row has; None where they differ, or some have none."""
    words = {word for chunk in column.chunks for word in chunk.dictionary.to_pylist()}
    return words.pop() if len(words) == 1 and not column.null_count else None
