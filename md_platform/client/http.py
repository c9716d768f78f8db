"""Requests in, HTTP with retries, replies out: blocking and awaited.

What may succeed later is tried again, after a growing pause or when the server said; everything else is raised at once.
"""

import asyncio
import contextlib
import functools
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import httpx
import msgspec
import polars as pl
import stamina

from md_platform.client.asking import Reply, Request
from md_platform.client.problems import error_of
from md_platform.errors import InvalidSetting, MdpError, NotFound, PlatformUnavailable, TooManyRequests

AT_ONCE = 4
"""Requests of one call that are under way at the same time."""

_ARROW = "application/vnd.apache.arrow.stream"
_LONGEST_PAUSE_S = 60.0
_NOTHING = pl.DataFrame()
_NEAR = ("127.0.0.1", "localhost", "::1")


class NotReached(PlatformUnavailable):
    """No connection was made: nothing was done, so that anything may be tried again."""


@dataclass(frozen=True, slots=True)
class Server:
    """Where the API is, who asks, and how patiently: `attempts` of one request, `timeout_s` of each."""

    url: str
    api_key: str | None = None
    timeout_s: float = 30.0
    attempts: int = 5

    def __post_init__(self) -> None:
        if not self.url.startswith(("http://", "https://")):
            raise InvalidSetting(
                f"url must begin with http:// or https://, was {self.url!r}: files are opened by `open`"
            )

    @property
    def headers(self) -> dict[str, str]:
        """Sent with every request. On this machine compression costs more than it saves."""
        headers = {} if self.api_key is None else {"authorization": f"Bearer {self.api_key}"}
        return {**headers, "accept-encoding": "identity"} if httpx.URL(self.url).host in _NEAR else headers


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

    async def close(self) -> None:
        """Close the connections."""
        await self.client.aclose()


@contextlib.contextmanager
def reached(url: str) -> Iterator[None]:
    """Turn what the network does to a request into PlatformUnavailable."""
    try:
        yield
    except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
        raise NotReached(f"{url} cannot be reached: {error}") from error
    except httpx.TransportError as error:
        raise PlatformUnavailable(f"{url} broke off or gave no answer in time: {error!r}") from error


def pause_s(request: Request, error: Exception) -> bool | float:
    """Whether to try again, and after how long where the server said so."""
    if not isinstance(error, MdpError) or not error.retryable:
        return False
    if not request.is_repeatable and not isinstance(error, NotReached | TooManyRequests):
        return False
    told_s: float | None = getattr(error, "retry_after_s", None)
    if told_s is None:
        return True
    return told_s if told_s <= _LONGEST_PAUSE_S else False


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
