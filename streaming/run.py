"""The whole live process, top to bottom: instruments in; connections, pipeline, spool and sinks running."""

import asyncio
import contextlib
import datetime as dt
import gc
import itertools
import shutil
import signal
import ssl
import time
from collections.abc import Callable, Collection, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast, get_args

import structlog
from aiohttp import web

from md_platform.domain.calendars import ALWAYS_OPEN
from md_platform.domain.events import Channel, FeedNotice
from md_platform.domain.instruments import Instrument
from md_platform.errors import InvalidSetting, LeaseLost, StorageError
from md_platform.settings import VenueUrls
from md_platform.sources.history import HistorySources
from md_platform.storage.lake import Lake
from md_platform.storage.spool import Message, Spool
from md_platform.venues.feeds import Feed, Subscription, shards
from streaming.assignment import Shard
from streaming.book_answers import book_route
from streaming.connection import Connection
from streaming.delivery import Delivery
from streaming.health import Health, served
from streaming.indicators import InstrumentIndicators, opened
from streaming.lease import Lease
from streaming.limits import Pacer
from streaming.link import Link
from streaming.outbox import Outbox, admitted
from streaming.past import PastReader
from streaming.pipeline import Pipeline
from streaming.recording import Recorder
from streaming.remembering import Remembered, remembered
from streaming.repair import Repair
from streaming.replay import Replay
from streaming.sink_url import SinkUrl
from streaming.sinks import deliveries
from streaming.snapshots import Snapshots
from streaming.socket_link import sockets
from streaming.subscriptions import Ask, by_venue, subscriptions
from streaming.tracked import Tail

log = structlog.get_logger(__name__)

CHANNELS: tuple[Channel, ...] = ("trades", "quotes", "book")
LEAST_FREE_BYTES = 512 << 20
"""Free disk below which the spool sheds books, then quotes."""

_DISK_EVERY_S = 5.0
_OBJECTS_UNTIL_COLLECTED = 50_000
_CHECKPOINT_EVERY_S = 0.1
_TICK_S = 0.05
_RUNNING_EVERY_TICKS = 5


@dataclass(frozen=True)
class StreamConfig:
    """What to stream and where to. `lake` opens indicators from history, by each instrument's `calendar`.

    `database_url` and `lake` are where bars go on from. With `shard` the spool's folder is shared with nobody, and its
    names are of that shard; one that was taken over also looks in the database for trades that were stored.
    """

    instruments: Sequence[str]
    spool: Path
    redis_url: str | None
    sinks: Sequence[SinkUrl] = ()
    urls: Mapping[str, VenueUrls] = field(default_factory=dict)
    channels: Sequence[Channel] = CHANNELS
    cache: Path = Path("cache")
    port: int | None = None
    record: Path | None = None
    lake: Lake | None = None
    calendar: Callable[[str], str] = lambda _: ALWAYS_OPEN
    ca_file: Path | None = None
    shard: Shard | None = None
    database_url: str | None = None
    book_levels: int = 10


def channels_named(text: str) -> list[Channel]:
    """Channels from their names, separated by commas; InvalidSetting for any other name."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    if unknown := [name for name in names if name not in get_args(Channel)]:
        raise InvalidSetting(f"channels must be of {' '.join(get_args(Channel))}, was {unknown[0]!r}")
    return cast("list[Channel]", names)


async def stream(config: StreamConfig) -> None:
    """Run until SIGINT or SIGTERM; what was received by then is on disk when it returns."""
    await served_until(LiveProcess(config), stop_signal())


def stop_signal() -> asyncio.Event:
    """Set by SIGINT and SIGTERM."""
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop


async def served_until(process: "LiveProcess", stop: asyncio.Event, *others: asyncio.Task[None]) -> None:
    """Run `process` until `stop`, or until it or one of `others` fails."""
    spare_collector()
    tasks: set[asyncio.Task[Any]] = {*others, *(asyncio.create_task(job) for job in process.jobs())}
    stopped = asyncio.create_task(stop.wait())
    runner = None
    try:
        runner = await process.served()
        while not stopped.done():
            done, tasks = await asyncio.wait({stopped, *tasks}, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
            tasks.discard(stopped)
    finally:
        await ended(tasks)
        if runner is not None:
            await runner.cleanup()
        await process.close()


def spare_collector() -> None:
    """Have the garbage collector look seldom, and not at what was there from the start.

    Each read of a socket makes thousands of objects that end without it: looking for cycles among them, and now and
    then through all modules, took a tenth of the process's time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_OBJECTS_UNTIL_COLLECTED, 20, 50)


async def replay(config: StreamConfig, path: Path, speed: float | None) -> None:
    """Play the capture or folder of captures at `path` through the same pipeline into the same sinks.

    `speed` 1 is as fast as it was recorded, None as fast as it goes. Nothing is repaired: a recording has what it has.
    """
    player = Replay(path)
    spool = Spool(config.spool)
    to_sinks = deliveries(config.redis_url, config.sinks, spool)
    outbox = Outbox(spool, to_all(to_sinks))
    pipeline = Pipeline(outbox.put, now_ns=player.clock)
    for feed, subscribed in player.feeds:
        for instrument in {each.instrument.id: each.instrument for each in subscribed}.values():
            if not pipeline.tracks(instrument.id):
                indicators = await indicators_of(config, instrument.id, player.first_day)
                pipeline.track(instrument, feed, Tail(0), indicators)
    tasks = [asyncio.create_task(job) for job in (outbox.run(), *(each.run() for each in to_sinks))]
    try:
        await player.run(pipeline, speed, outbox.room)
        await outbox.flush()
        for delivery in to_sinks:
            await delivery.reached(outbox.last_id)
    finally:
        await ended(tasks)
        spool.close()


async def indicators_of(
    config: StreamConfig, instrument: str, today: dt.date | None = None
) -> InstrumentIndicators | None:
    """Indicators of `instrument` that go on from the lake's bars before `today`; None where there is no lake."""
    if config.lake is None:
        return None
    return await asyncio.to_thread(opened, instrument, config.lake, config.calendar(instrument), today)


async def ended(tasks: Collection[asyncio.Task[Any]]) -> None:
    """Cancel `tasks` and wait for them.

    More than once: until Python 3.12 wait_for swallows a cancellation that comes together with what it waits for.
    """
    pending = set(tasks)
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=1)
    await asyncio.gather(*tasks, return_exceptions=True)


class LiveProcess:
    """The parts and how they hang together."""

    def __init__(self, config: StreamConfig, lease: Lease | None = None, memory: Remembered | None = None) -> None:
        self._config = config
        self._venues = by_venue(config.instruments, config.channels)
        self._spool = Spool(config.spool)
        self._deliveries = deliveries(config.redis_url, config.sinks, self._spool, lease.fence if lease else None)
        self._outbox = Outbox(self._spool, to_all(self._deliveries), lease.admit if lease else admitted)
        self._recorder = Recorder(config.record) if config.record else None
        self._pipeline = Pipeline(self._outbox.put, self._recorder, book_levels=config.book_levels)
        self._sources = HistorySources(config.urls, config.cache)
        self._repair = Repair(self._sources, self._pipeline.holes.repaired)
        self._snapshots = Snapshots(self._pipeline.snapshot, self._recorder)
        self._pipeline.holes.repair, self._pipeline.resync = self._repair.put, self._snapshots.put
        self._remembered = memory or remembered(self._spool, time.time_ns())
        self._connections: list[Connection] = []
        self.health = Health(
            self._pipeline, self._connections, self._outbox, self._repair, self._deliveries, config.spool
        )

    def jobs(self) -> list[Coroutine[Any, Any, None]]:
        """What runs until it is cancelled."""
        return [
            self._outbox.run(),
            *(each.run() for each in self._deliveries),
            self._repair.run(),
            ticks(self._pipeline, lambda: self._outbox.is_full),
            hold_back(self._outbox, self._connections, self._pipeline),
            guard_disk(self._outbox, self._pipeline, self._config.spool),
            checkpoints(self._config.spool),
            *(self._serve(venue, instruments) for venue, instruments in self._venues.items()),
        ]

    async def _serve(self, venue: str, instruments: list[Instrument]) -> None:
        """Stream one venue, as soon as it has told its symbols."""
        connections: list[Connection] = []
        ask = Ask(self._sources, self._config.urls)
        past = PastReader(self._config.lake, self._config.database_url)
        for feed, subscribed in await subscriptions(venue, instruments, self._config.channels, ask):
            if self._recorder is not None:
                self._recorder.describe(feed, subscribed)
            if feed.snapshot_request is not None:
                self._snapshots.add(feed, ask.fetcher(venue, feed))
            for instrument in dict.fromkeys(each.instrument for each in subscribed):
                if not self._pipeline.tracks(instrument.id):
                    tail = self._remembered.tail(instrument.id, time.time_ns())
                    known = await asyncio.to_thread(past.read, instrument.id, tail.past_until_ns)
                    indicators = await indicators_of(self._config, instrument.id)
                    self._pipeline.track(instrument, feed, replace(tail, past=known), indicators)
            connections += connections_of(self._config, feed, subscribed, self._pipeline, ask)
        past.close()
        for connection in connections:
            if self._remembered.last_ns:
                self._pipeline.holes.resumed(connection.name, self._remembered.served_until(connection))
        self._connections += connections
        await asyncio.gather(*(connection.run() for connection in connections))

    async def served(self) -> web.AppRunner | None:
        """Serve health, metrics and books, where a port is given."""
        if self._config.port is None:
            return None
        return await served(self.health, [book_route(self._pipeline)], self._config.port)

    async def close(self) -> None:
        """Write out what is left, unless that is another process's to do now."""
        with contextlib.suppress(LeaseLost):
            await self._outbox.flush()
        if self._recorder is not None:
            self._recorder.close()
        self._spool.close()


def to_all(to_sinks: Sequence[Delivery]) -> Callable[[Sequence[Message], int], None]:
    """What gives messages to each of `to_sinks`."""

    def put(messages: Sequence[Message], last_id: int) -> None:
        for each in to_sinks:
            each.put(messages, last_id)

    return put


async def ticks(pipeline: Pipeline, is_full: Callable[[], bool]) -> None:
    """Call what depends on time. Bars that still run are for who looks now: nothing that should wait for a disk."""
    for turn in itertools.cycle(range(_RUNNING_EVERY_TICKS)):
        await asyncio.sleep(_TICK_S)
        pipeline.tick(running=not is_full(), turn=slice(turn, None, _RUNNING_EVERY_TICKS))


async def hold_back(outbox: Outbox, connections: Collection[Connection], pipeline: Pipeline) -> None:
    """Have `connections` read nothing while the outbox is full, and say so."""
    is_held = False
    while True:
        await asyncio.sleep(_TICK_S)
        for connection in connections:
            if outbox.is_full:
                connection.hold()
            else:
                connection.release()
        if is_held != outbox.is_full:
            is_held = outbox.is_full
            cause = f"{outbox.waiting} events wait for the disk"
            pipeline.notice(FeedNotice("held" if is_held else "released", "", "", "", time.time_ns(), cause))
            log.error(cause, held=is_held)


async def guard_disk(outbox: Outbox, pipeline: Pipeline, spool: Path) -> None:
    """Give up what is least dear while the disk is nearly full, and say so."""
    while True:
        await asyncio.sleep(_DISK_EVERY_S)
        if shutil.disk_usage(spool.parent).free < LEAST_FREE_BYTES:
            given_up = await outbox.shed()
            if given_up is not None:
                kind, events = given_up
                cause = f"less than {LEAST_FREE_BYTES >> 20} MiB free: {events} oldest {kind} were given up"
                pipeline.notice(FeedNotice("shed", "", "", "", time.time_ns(), cause, channels=[kind]))
                log.error("disk nearly full", kind=kind, events=events)


async def checkpoints(path: Path) -> None:
    """Write what was appended to the spool back into its file, so that appends have little left to."""
    spool = Spool(path)
    try:
        while True:
            await asyncio.sleep(_CHECKPOINT_EVERY_S)
            try:
                await asyncio.to_thread(spool.checkpoint)
            except StorageError as error:
                log.warning("spool not checkpointed", reason=str(error))
    finally:
        spool.close()


def connections_of(
    config: StreamConfig, feed: Feed, subscribed: Sequence[Subscription], pipeline: Pipeline, ask: Ask
) -> Iterable[Connection]:
    """The connections of one feed."""
    venue = subscribed[0].instrument.venue
    pacer = Pacer(feed.connect_limit, feed.message_limit)
    override = config.urls.get(venue, VenueUrls())
    name = f"{feed.name}-s{config.shard.index}" if config.shard else feed.name
    for number, carried in enumerate(shards(feed, subscribed)):
        urls = (override.ws,) if override.ws else feed.urls
        links = links_of(feed, override, config.ca_file, ask)
        yield Connection(venue, feed, f"{name}-{number}", carried, urls, pipeline, pacer, links)


def links_of(feed: Feed, override: VenueUrls, ca_file: Path | None, ask: Ask) -> Callable[[Connection, str], Link]:
    """What makes the links of one connection of `feed`."""
    authority = str(ca_file) if ca_file else None
    if feed.ccxt is not None:
        from streaming.ccxt_link import CcxtLinks  # noqa: PLC0415 - ccxt takes long to import, and few need it

        return CcxtLinks(feed.ccxt, override, authority)
    return sockets(ask.address, ssl.create_default_context(cafile=authority))
