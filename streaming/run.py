"""The whole live process, top to bottom: instruments in; connections, pipeline, spool and Redis running."""

import asyncio
import shutil
import signal
import ssl
import time
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast, get_args

import structlog

from md_platform.domain.calendars import ALWAYS_OPEN
from md_platform.domain.events import Channel, FeedNotice, Trade
from md_platform.domain.instruments import Instrument
from md_platform.domain.live_periods import MINUTE_NS
from md_platform.domain.wire import decode
from md_platform.errors import InvalidSetting
from md_platform.settings import VenueUrls
from md_platform.sources.history import HistorySources
from md_platform.storage.lake import Lake
from md_platform.storage.spool import Spool
from md_platform.venues.feeds import Feed, Subscription, shards
from streaming.connection import Connection
from streaming.health import Health, served
from streaming.indicators import InstrumentIndicators, opened
from streaming.limits import Pacer
from streaming.outbox import Outbox
from streaming.pipeline import Pipeline, Tail
from streaming.recording import Recorder
from streaming.redis_sink import RedisSink
from streaming.repair import Repair
from streaming.replay import Replay
from streaming.snapshots import Snapshots
from streaming.subscriptions import Ask, by_venue, subscriptions

log = structlog.get_logger(__name__)

CHANNELS: tuple[Channel, ...] = ("trades", "quotes", "book")
TAIL_NS = 15 * 60 * 1_000_000_000
"""How long the spool keeps what is stored: from this a new process recovers running bars and known ids."""

LEAST_FREE_BYTES = 512 << 20
"""Free disk below which the spool sheds books, then quotes."""

_DISK_EVERY_S = 5.0
_TICK_S = 0.05
_RUNNING_EVERY_TICKS = 5


@dataclass(frozen=True)
class StreamConfig:
    """What to stream and where to. `lake` opens indicators from history, by each instrument's `calendar`."""

    instruments: Sequence[str]
    spool: Path
    redis_url: str | None
    urls: Mapping[str, VenueUrls] = field(default_factory=dict)
    channels: Sequence[Channel] = CHANNELS
    cache: Path = Path("cache")
    port: int | None = None
    record: Path | None = None
    lake: Lake | None = None
    calendar: Callable[[str], str] = lambda _: ALWAYS_OPEN
    ca_file: Path | None = None


def channels_named(text: str) -> list[Channel]:
    """Channels from their names, separated by commas; InvalidSetting for any other name."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    if unknown := [name for name in names if name not in get_args(Channel)]:
        raise InvalidSetting(f"channels must be of {' '.join(get_args(Channel))}, was {unknown[0]!r}")
    return cast("list[Channel]", names)


async def stream(config: StreamConfig) -> None:
    """Run until SIGINT or SIGTERM; what was received by then is on disk when it returns."""
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    process = LiveProcess(config)
    tasks: set[asyncio.Task[Any]] = {asyncio.create_task(job) for job in process.jobs()}
    runner = await served(process.health, config.port) if config.port is not None else None
    stopped = asyncio.create_task(stop.wait())
    try:
        while not stopped.done():
            done, tasks = await asyncio.wait({stopped, *tasks}, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
            tasks.discard(stopped)
    finally:
        await _ended(tasks)
        if runner is not None:
            await runner.cleanup()
        await process.close()


async def replay(config: StreamConfig, path: Path, speed: float | None) -> None:
    """Play the capture or folder of captures at `path` through the same pipeline into the same sinks.

    `speed` 1 is as fast as it was recorded, None as fast as it goes. Nothing is repaired: a recording has what it has.
    """
    player = Replay(path)
    spool = Spool(config.spool)
    redis = RedisSink(config.redis_url, config.spool) if config.redis_url else None
    outbox = Outbox(spool, redis.put if redis else lambda _messages, _last: None)
    pipeline = Pipeline(outbox.put, now_ns=player.clock)
    for feed, subscribed in player.feeds:
        for each in subscribed:
            pipeline.track(each.instrument, feed, Tail(0))
    tasks = [asyncio.create_task(job) for job in (outbox.run(), *([redis.run()] if redis else []))]
    try:
        await player.run(pipeline, speed)
        await outbox.flush()
        if redis is not None:
            await redis.reached(outbox.last_id)
    finally:
        await _ended(tasks)
        spool.close()


async def _ended(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel `tasks` until all have ended: a library that takes a cancellation for its own would go on for ever."""
    alive = set(tasks)
    while alive:
        for task in alive:
            task.cancel()
        _, alive = await asyncio.wait(alive, timeout=_TICK_S)


class LiveProcess:
    """The parts and how they hang together."""

    def __init__(self, config: StreamConfig) -> None:
        self._config = config
        self._venues = by_venue(config.instruments, config.channels)
        self._spool = Spool(config.spool)
        self._redis = RedisSink(config.redis_url, config.spool) if config.redis_url else None
        self._outbox = Outbox(self._spool, self._redis.put if self._redis else lambda _messages, _last: None)
        self._recorder = Recorder(config.record) if config.record else None
        self._pipeline = Pipeline(self._outbox.put, self._recorder)
        self._sources = HistorySources(config.urls, config.cache)
        self._repair = Repair(self._sources, self._pipeline.repaired)
        self._snapshots = Snapshots(self._pipeline.snapshot, self._recorder)
        self._pipeline.repair, self._pipeline.resync = self._repair.put, self._snapshots.put
        self._remembered = remembered(self._spool, time.time_ns())
        self._connections: list[Connection] = []
        self.health = Health(self._pipeline, self._connections, self._outbox, self._repair, self._redis, config.spool)

    def jobs(self) -> list[Coroutine[Any, Any, None]]:
        """What runs until it is cancelled."""
        return [
            self._outbox.run(),
            *([self._redis.run()] if self._redis else []),
            self._repair.run(),
            ticks(self._pipeline),
            guard_disk(self._outbox, self._pipeline, self._config.spool),
            *(self._serve(venue, instruments) for venue, instruments in self._venues.items()),
        ]

    async def _serve(self, venue: str, instruments: list[Instrument]) -> None:
        """Stream one venue, as soon as it has told its symbols."""
        connections: list[Connection] = []
        ask = Ask(self._sources, self._config.urls)
        for feed, subscribed in await subscriptions(venue, instruments, self._config.channels, ask):
            if self._recorder is not None:
                self._recorder.describe(feed, subscribed)
            self._snapshots.add(feed, ask.fetcher(venue, feed))
            for each in subscribed:
                tail = self._remembered.tail(each.instrument.id, time.time_ns())
                self._pipeline.track(each.instrument, feed, tail, await self._indicators(each.instrument.id))
            connections += connections_of(self._config, feed, subscribed, self._pipeline, ask)
        for connection in connections:
            if self._remembered.last_ns:
                self._pipeline.resumed(connection.name, self._remembered.served_until(connection))
        self._connections += connections
        await asyncio.gather(*(connection.run() for connection in connections))

    async def _indicators(self, instrument: str) -> InstrumentIndicators | None:
        lake = self._config.lake
        if lake is None or self._pipeline.tracks(instrument):
            return None
        return await asyncio.to_thread(opened, instrument, lake, self._config.calendar(instrument))

    async def close(self) -> None:
        """Write out what is left."""
        await self._outbox.flush()
        if self._recorder is not None:
            self._recorder.close()
        self._spool.close()


async def ticks(pipeline: Pipeline) -> None:
    """Call what depends on time."""
    number = 0
    while True:
        await asyncio.sleep(_TICK_S)
        number += 1
        pipeline.tick(running=number % _RUNNING_EVERY_TICKS == 0)


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


def connections_of(
    config: StreamConfig, feed: Feed, subscribed: Sequence[Subscription], pipeline: Pipeline, ask: Ask
) -> Iterable[Connection]:
    """The connections of one feed."""
    venue = subscribed[0].instrument.venue
    pacer = Pacer(feed.connect_limit, feed.message_limit)
    override = config.urls.get(venue, VenueUrls()).ws
    tls = ssl.create_default_context(cafile=str(config.ca_file) if config.ca_file else None)
    for number, shard in enumerate(shards(feed, subscribed)):
        urls = (override,) if override else feed.urls
        yield Connection(venue, feed, f"{feed.name}-{number}", shard, urls, pipeline, pacer, ask.address, tls)


@dataclass
class Remembered:
    """What the spool still knows: each instrument's trades, gaps not yet repaired, and when it was last written."""

    trades: dict[str, list[Trade]] = field(default_factory=dict)
    gaps: dict[str, tuple[int, set[str]]] = field(default_factory=dict)
    first_ns: int = 0
    last_ns: int = 0

    def tail(self, instrument: str, now_ns: int) -> Tail:
        """What an instrument continues from. Its first minute here may have lost trades to an older, cut, part."""
        since_ns = -(-(self.first_ns or now_ns) // MINUTE_NS) * MINUTE_NS
        if instrument not in self.trades:
            return Tail(now_ns)
        return Tail(since_ns, self.trades[instrument], (), since_ns)

    def served_until(self, connection: Connection) -> int:
        """When `connection` last served without a gap that is still open, our clock; 0 where it never did."""
        start_ns, repaired = self.gaps.get(connection.name, (self.last_ns, set()))
        traded = {each.instrument.id for each in connection.subscriptions if each.channel == "trades"}
        return self.last_ns if traded <= repaired else min(start_ns, self.last_ns)


def remembered(spool: Spool, now_ns: int) -> Remembered:
    """Read the tail of the spool."""
    found = Remembered()
    for row in spool.since(now_ns - TAIL_NS):
        found.first_ns, found.last_ns = found.first_ns or row.at_ns, row.at_ns
        if row.message.kind != "trades" or row.message.channel.startswith("md:bars:"):
            continue
        for event in decode(row.message.payload):
            if isinstance(event, Trade):
                found.trades.setdefault(event.instrument, []).append(event)
            elif isinstance(event, FeedNotice):
                _remember(found, event)
    return found


def _remember(found: Remembered, notice: FeedNotice) -> None:
    if notice.kind == "gap" and notice.connection and notice.start is not None:
        start_ns, _ = found.gaps.get(notice.connection, (notice.start, set()))
        found.gaps[notice.connection] = min(start_ns, notice.start), set()
    elif notice.kind == "repaired" and notice.connection in found.gaps:
        found.gaps[notice.connection][1].update(notice.instruments)
