"""Messages in; the same messages out to one sink, in order and at least once, whatever happens to the sink.

There is one such loop for all sinks. While a sink is away nothing is kept in memory: what it missed is read again from
the spool, which waits for it. What a sink has acknowledged is remembered in the spool file about once a second, so a
process that was killed repeats at most the last second.
"""

import asyncio
import random
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple, Protocol
from uuid import UUID

import structlog

from md_platform.errors import StorageError
from md_platform.storage.spool import EVERY_CHANNEL, Message, Spool
from streaming.lag import Lag

log = structlog.get_logger(__name__)

_WAITING_AT_MOST = 2_000
_CATCH_UP = 5_000
_RETRY_S = 1.0
_REMEMBER_EVERY_S = 1.0
_ANSWER_WITHIN_S = 30.0
_CLOSE_WITHIN_S = 10.0


class Numbered(NamedTuple):
    """A message and its id in the spool."""

    id: int
    message: Message


class Sink(Protocol):
    """Where messages go. Opened before the first and after each failure.

    name            address without secrets: for logs and metrics, and what the spool remembers its position by
    wanted          the channel it wants, or EVERY_CHANNEL
    slowest_retry_s how long it is left alone at most after a failure, as failures go on
    """

    name: str
    wanted: str
    slowest_retry_s: float

    @property
    def failures(self) -> tuple[type[Exception], ...]:
        """What its being away raises, besides OSError and TimeoutError."""

    async def open(self, spool: UUID) -> int | None:
        """Connect; the last id of `spool` that the other side itself remembers, None where it remembers none."""

    async def send(self, messages: Sequence[Numbered]) -> None:
        """Hand over `messages`, those of a channel in order; returns when all are acknowledged."""

    async def close(self) -> None:
        """Let go of the connection, whatever state it is in."""


class Delivery:
    """Sends in the order of the spool. `put` never blocks; `run` does the work."""

    def __init__(self, sink: Sink, spool_path: Path) -> None:
        self.sink = sink
        self._failures: tuple[type[Exception], ...] = (*sink.failures, OSError, TimeoutError, StorageError)
        self._spool = Spool(spool_path)
        self._disk = ThreadPoolExecutor(1, thread_name_prefix="delivery")  # one at a time, also when `run` is cancelled
        self._waiting: deque[tuple[Sequence[Message], int]] = deque()
        self._wake = asyncio.Event()
        self._wake.set()
        self._sent = asyncio.Event()
        self._is_open = False
        self._failed = 0
        self._remembered_at = float("-inf")
        self.sent_id = 0
        self.sent = 0
        self.lag = Lag()
        self.is_up = False

    def put(self, messages: Sequence[Message], last_id: int) -> None:
        """Queue `messages`. Beyond what may wait they are forgotten here and read from the spool later."""
        if self.is_up and len(self._waiting) < _WAITING_AT_MOST:
            self._waiting.append((messages, last_id))
        else:
            self._fell_behind()
        self._wake.set()

    def _fell_behind(self) -> None:
        self.is_up = False
        self._waiting.clear()

    async def run(self) -> None:
        """Deliver until cancelled."""
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                try:
                    if not self.is_up:
                        await self._catch_up()
                    while self._waiting:
                        await self._send_waiting()
                except self._failures as error:
                    await self._failure(error)
        finally:
            await self._end()

    async def reached(self, last_id: int) -> None:
        """Wait until everything up to `last_id` of the spool is delivered."""
        while self.sent_id < last_id:
            self._sent.clear()
            await self._sent.wait()

    async def _catch_up(self) -> None:
        """Send what the spool has after the last message that the sink took."""
        if not self._is_open:
            async with asyncio.timeout(_ANSWER_WITHIN_S):
                known = await self.sink.open(self._spool.id)
            self._is_open = True
            self.sent_id = max(self.sent_id, self._spool.position(self.sink.name) if known is None else known)
            self._sent.set()
        await self._send_spooled()
        if self._failed:
            log.info("sink is back", sink=self.sink.name)
        self._failed = 0
        self.is_up = True  # from here on new messages queue; those that the read below finds too are sent once
        await self._send_spooled()

    async def _send_spooled(self) -> None:
        disk = asyncio.get_running_loop().run_in_executor
        while rows := await disk(self._disk, self._spool.read, self.sent_id, _CATCH_UP):
            await self._send([Numbered(row.id, row.message) for row in rows])

    async def _send_waiting(self) -> None:
        """Send all that waits at once. Ids of one append are consecutive."""
        fresh: list[Numbered] = []
        for _ in range(len(self._waiting)):
            messages, last_id = self._waiting.popleft()
            if last_id > self.sent_id:
                fresh += map(Numbered, range(last_id - len(messages) + 1, last_id + 1), messages)
        if fresh:
            await self._send(fresh)

    async def _send(self, messages: Sequence[Numbered]) -> None:
        wanted = [each for each in messages if each.message.events and self._wants(each.message)]
        if wanted:
            async with asyncio.timeout(_ANSWER_WITHIN_S):
                await self.sink.send(wanted)
        self.sent_id = messages[-1].id
        self.lag.measure(each.message for each in wanted)
        self._sent.set()
        self.sent += sum(each.message.events for each in wanted)
        if time.monotonic() - self._remembered_at > _REMEMBER_EVERY_S:
            self._remembered_at = time.monotonic()
            self._disk.submit(self._remember, self.sent_id)

    def _wants(self, message: Message) -> bool:
        return self.sink.wanted in (EVERY_CHANNEL, message.channel)

    async def _failure(self, error: Exception) -> None:
        """Begin again after a while, with a new connection."""
        self._fell_behind()
        if not self._failed:
            log.warning("sink is away", sink=self.sink.name, reason=str(error) or type(error).__name__)
        wait_s = min(_RETRY_S * 2**self._failed, self.sink.slowest_retry_s)
        self._failed = min(self._failed + 1, 10)
        await self._close()
        await asyncio.sleep(wait_s * random.uniform(0.75, 1.0))  # noqa: S311 - jitter
        self._wake.set()

    async def _close(self) -> None:
        self._is_open = False
        try:
            async with asyncio.timeout(_CLOSE_WITHIN_S):
                await self.sink.close()
        except self._failures as error:
            log.debug("sink did not close", sink=self.sink.name, reason=str(error))

    def _remember(self, sent_id: int) -> None:
        """On the disk's thread, nobody waits for it. Where the disk refuses, more is repeated after a kill."""
        try:
            self._spool.remember(self.sink.name, sent_id)
        except StorageError as error:
            log.warning("position not remembered", sink=self.sink.name, reason=str(error))

    async def _end(self) -> None:
        disk = asyncio.get_running_loop().run_in_executor
        await disk(self._disk, self._remember, self.sent_id)
        await self._close()
        await disk(self._disk, self._spool.close)
        self._disk.shutdown(wait=False)
