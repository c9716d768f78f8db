"""WebSockets in, events out, until they are closed: blocking and awaited. What is asked and told is `following`'s.

Nothing is kept beyond what the sockets hold: who reads slowly is slow to the gateway, which does what `slow` says.
"""

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self
from urllib.parse import urlsplit

from websockets.asyncio.client import ClientConnection as AsyncConnection
from websockets.asyncio.client import connect as async_connect
from websockets.exceptions import WebSocketException
from websockets.sync.client import ClientConnection, connect

from md_platform.client.following import Batch, LiveEvent
from md_platform.errors import NeedsServer, PlatformUnavailable

log = logging.getLogger(__name__)  # of a library: where it goes is for who uses it to say

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 5.0
_OPEN_WITHIN_S = 10.0
_FRAMES_WAITING = 16
_BROKEN = (OSError, WebSocketException, TimeoutError, PlatformUnavailable)


@dataclass(frozen=True, slots=True)
class LiveServer:
    """Where the gateway is and who asks. It is given up when no connection held for `patience_s`."""

    url: str
    api_key: str | None
    patience_s: float

    @classmethod
    def of(cls, api_url: str, live_url: str | None, api_key: str | None, patience_s: float) -> "LiveServer":
        """The gateway at `live_url`, or else on the API's host at the next port."""
        if live_url is None:
            api = urlsplit(api_url)
            port = api.port or (443 if api.scheme == "https" else 80)
            live_url = f"{'wss' if api.scheme == 'https' else 'ws'}://{api.hostname}:{port + 1}"
        return cls(live_url.rstrip("/"), api_key, patience_s)

    @property
    def headers(self) -> dict[str, str]:
        """Sent when a connection is opened."""
        return {} if self.api_key is None else {"Authorization": f"Bearer {self.api_key}"}


def server_of(server: LiveServer | None) -> LiveServer:
    """`server`; NeedsServer where there is none."""
    if server is None:
        raise NeedsServer("files do not stream: connect to a running platform by MarketData(url)")
    return server


class Followed(Protocol):
    """What a stream speaks: see `following` and `replaying`."""

    @property
    def path(self) -> str:
        """Of the gateway's address."""

    @property
    def is_over(self) -> bool:
        """Whether nothing more will come."""

    def greeting(self) -> list[bytes]:
        """What to send when a connection is open."""

    def received(self, message: str | bytes) -> list[Batch]:
        """What a message tells."""


class _Patience:
    """How long to wait before the next connection; PlatformUnavailable when it has been long enough."""

    def __init__(self, server: LiveServer) -> None:
        self._server = server
        self._since: float | None = None
        self._attempts = 0
        self._opened_at = float("inf")

    def opened(self) -> None:
        """A connection is made; whether it is good is yet to be seen."""
        self._opened_at = time.monotonic()

    def held(self) -> None:
        """The connection is good."""
        self._since, self._attempts = None, 0

    def pause_s(self, error: BaseException | None) -> float:
        """After a connection that broke, or could not be made."""
        reason = str(error) or type(error).__name__ if error else "it was closed"
        if time.monotonic() - self._opened_at > _LONGEST_PAUSE_S:
            self.held()  # quiet, but good
        self._opened_at = float("inf")
        self._since = self._since or time.monotonic()
        if time.monotonic() - self._since > self._server.patience_s:
            raise PlatformUnavailable(f"the gateway {self._server.url} does not answer: {reason}") from error
        pause_s = min(_FIRST_PAUSE_S * 2.0**self._attempts, _LONGEST_PAUSE_S) * random.uniform(0.5, 1.0)  # noqa: S311
        self._attempts += 1
        log.info("%s: %s; connecting again in %.1f s", self._server.url, reason, pause_s)
        return pause_s


class Stream:
    """Events as they come. Iterate over it, or over `batches`; `close` (or `with`) ends it, from any thread."""

    def __init__(self, server: LiveServer | None, followed: Followed) -> None:
        self._server = server_of(server)
        self._followed = followed
        self._connection: ClientConnection | None = None
        self._is_closed = False

    def __iter__(self) -> Iterator[LiveEvent]:
        """Event by event."""
        for batch in self.batches():
            yield from batch.events

    def batches(self) -> Iterator[Batch]:
        """The same in the batches in which they come: less work for each event, and `frame` makes a table of one."""
        patience = _Patience(self._server)
        while not (self._is_closed or self._followed.is_over):
            error: BaseException | None = None
            try:
                with self._opened() as connection:
                    patience.opened()
                    for message in connection:
                        for batch in self._followed.received(message):
                            patience.held()
                            yield batch
                        if self._followed.is_over:
                            return
            except _BROKEN as broken:
                error = broken
            if not self._is_closed:
                time.sleep(patience.pause_s(error))

    def close(self) -> None:
        """No more of it."""
        self._is_closed = True
        if (connection := self._connection) is not None:
            connection.close()

    @contextlib.contextmanager
    def _opened(self) -> Iterator[ClientConnection]:
        with connect(
            self._server.url + self._followed.path,
            additional_headers=self._server.headers,
            open_timeout=_OPEN_WITHIN_S,
            max_size=None,
            max_queue=_FRAMES_WAITING,
            compression=None,
        ) as connection:
            self._connection = connection
            try:
                for request in self._followed.greeting():
                    connection.send(request, text=True)
                yield connection
            finally:
                self._connection = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


class AsyncStream:
    """The same, awaited: `async for event in stream`, `async with`."""

    def __init__(self, server: LiveServer | None, followed: Followed) -> None:
        self._server = server_of(server)
        self._followed = followed
        self._connection: AsyncConnection | None = None
        self._is_closed = False

    async def __aiter__(self) -> AsyncIterator[LiveEvent]:
        """Event by event."""
        async for batch in self.batches():
            for event in batch.events:
                yield event

    async def batches(self) -> AsyncIterator[Batch]:
        """The same in the batches in which they come."""
        patience = _Patience(self._server)
        while not (self._is_closed or self._followed.is_over):
            error: BaseException | None = None
            try:
                async with self._opened() as connection:
                    patience.opened()
                    async for message in connection:
                        for batch in self._followed.received(message):
                            patience.held()
                            yield batch
                        if self._followed.is_over:
                            return
            except _BROKEN as broken:
                error = broken
            if not self._is_closed:
                await asyncio.sleep(patience.pause_s(error))

    async def close(self) -> None:
        """No more of it."""
        self._is_closed = True
        if (connection := self._connection) is not None:
            await connection.close()

    @contextlib.asynccontextmanager
    async def _opened(self) -> AsyncIterator[AsyncConnection]:
        async with async_connect(
            self._server.url + self._followed.path,
            additional_headers=self._server.headers,
            open_timeout=_OPEN_WITHIN_S,
            max_size=None,
            max_queue=_FRAMES_WAITING,
            compression=None,
        ) as connection:
            self._connection = connection
            try:
                for request in self._followed.greeting():
                    await connection.send(request, text=True)
                yield connection
            finally:
                self._connection = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self.close()
