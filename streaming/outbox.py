"""Published events in; on disk, then to the sinks out, a batch every few milliseconds.

Overflow policy: what waits to be spooled is bounded; beyond that books, then quotes are dropped and counted. Trades,
bars and notices never are: they wait in memory until the disk takes them. `is_full` says that they fill it: then
nothing more may be read from the venues, which whoever assembles the process sees to.
"""

import asyncio
import itertools
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import structlog

from md_platform.domain.events import Book, Quote, Trade
from md_platform.domain.wire import Published, channel_of, encode
from md_platform.errors import StorageError, StorageFull
from md_platform.storage.spool import SHED_FIRST, Kind, Message, Spool
from streaming.lag import Lag

log = structlog.get_logger(__name__)

FLUSH_EVERY_S = 0.005
WAITING_AT_MOST = 200_000
_AT_MOST = 50_000
"""Events in one transaction: what a disk that refused takes again piece by piece."""

_RETRY_S = 1.0
_SHED_AT_ONCE = 50_000
_AT_ONCE = {Trade, Quote}  # what is sent as it comes; books wait for their interval, bars for their end
_KIND: dict[type, Kind] = {Quote: "quotes", Book: "book"}
Publish = Callable[[Sequence[Message], int], None]
"""Takes messages and the spool id of the last of them; must not block."""


async def admitted() -> None:
    """Nothing is held back where nobody else may take over."""


class Outbox:
    """Everything that leaves the process goes through here, in order; `admit` raises where it may no longer.

    `is_full` from `waiting_at_most` events on, until half of them are on disk.
    """

    def __init__(
        self,
        spool: Spool,
        publish: Publish,
        admit: Callable[[], Awaitable[None]] = admitted,
        waiting_at_most: int = WAITING_AT_MOST,
    ) -> None:
        self._spool = spool
        self._publish = publish
        self._admit = admit
        self._waiting_at_most = waiting_at_most
        self._waiting: list[Sequence[Published]] = []
        self.waiting = 0
        """Events that are not on disk yet."""
        self.is_full = False
        self._wake = asyncio.Event()
        self._disk = ThreadPoolExecutor(1, thread_name_prefix="spool")
        self.dropped: Counter[Kind] = Counter()
        self.lag = Lag()
        self.last_id = 0
        self.spooled = 0

    def put(self, events: Sequence[Published]) -> None:
        """Queue `events`, at least one and all of one channel; they are on disk some milliseconds later."""
        self._waiting.append(events)
        self.waiting += len(events)
        if self.waiting >= self._waiting_at_most:
            self._drop()
            self.is_full = self.is_full or self.waiting >= self._waiting_at_most
        self._wake.set()

    async def room(self) -> None:
        """Wait until no more than half of what may wait does: for who reads a file, and so need drop nothing."""
        await asyncio.sleep(0)
        while self.waiting > self._waiting_at_most // 2:  # noqa: ASYNC110 - a count that each flush changes
            await asyncio.sleep(FLUSH_EVERY_S)

    def _drop(self) -> None:
        for kind in SHED_FIRST:
            dropped = [events for events in self._waiting if _kind(events) == kind]
            self._waiting = [events for events in self._waiting if _kind(events) != kind]
            count = sum(map(len, dropped))
            self.dropped[kind] += count
            self.waiting -= count
            if self.waiting < self._waiting_at_most // 2:
                return

    async def run(self) -> None:
        """Flush until cancelled: what comes alone at once, what comes in a stream at each interval."""
        clock, began = asyncio.get_running_loop().time, float("-inf")
        while True:
            await self._wake.wait()
            await asyncio.sleep(began + FLUSH_EVERY_S - clock())
            began = clock()
            await self.flush()

    async def flush(self) -> None:
        """Spool and publish what waits. While the disk refuses, it stays and is tried again each second."""
        self._wake.clear()
        await self._admit()
        due = len(self._waiting)
        while due > 0 and self._waiting:
            runs = self._waiting[: _fitting(self._waiting[:due])]
            del self._waiting[: len(runs)]
            due -= len(runs)
            messages = _messages(runs)
            try:
                last = await asyncio.get_running_loop().run_in_executor(self._disk, self._spool.append, messages)
            except StorageError as error:
                self._waiting = runs + self._waiting
                await self._refused(error)
                return
            events = sum(map(len, runs))
            self.waiting -= events
            self.is_full = self.is_full and self.waiting > self._waiting_at_most // 2
            self.last_id = last
            self.spooled += events
            self.lag.measure(messages)
            self._publish(messages, last)

    async def _refused(self, error: StorageError) -> None:
        log.warning("spool refused", reason=str(error), waiting=self.waiting)
        if isinstance(error, StorageFull):
            await self.shed()
        await asyncio.sleep(_RETRY_S)
        self._wake.set()

    async def shed(self) -> tuple[Kind, int] | None:
        """Give up the oldest of what is least dear on disk; which and how many events, None where nothing was."""
        try:
            return await asyncio.get_running_loop().run_in_executor(self._disk, self._spool.shed, 0, _SHED_AT_ONCE)
        except StorageError as error:
            log.warning("nothing could be given up", reason=str(error))
            return None


def _kind(events: Sequence[Published]) -> Kind:
    return _KIND.get(type(events[0]), "trades")


def _fitting(runs: Sequence[Sequence[Published]]) -> int:
    """How many of the first of `runs` make one transaction: at least one."""
    ends = itertools.accumulate(map(len, runs))
    return max(1, sum(1 for _ in itertools.takewhile(lambda end: end <= _AT_MOST, ends)))


def _messages(runs: Sequence[Sequence[Published]]) -> list[Message]:
    """One message a channel, channels in order of their first event."""
    batches: defaultdict[str, list[Published]] = defaultdict(list)
    for events in runs:
        batches[channel_of(events[0])] += events
    return [
        Message(
            _kind(batch),
            channel,
            len(batch),
            encode(batch),
            getattr(batch[0], "ts_received", 0) if type(batch[0]) in _AT_ONCE else 0,
        )
        for channel, batch in batches.items()
    ]
