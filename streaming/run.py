"""The whole live process, top to bottom: instruments in; connections, pipeline, spool and Redis running."""

import asyncio
import shutil
import signal
import ssl
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast, get_args

import structlog

from md_platform.domain.events import Channel, FeedNotice, Trade
from md_platform.domain.instruments import Instrument, SymbolMap
from md_platform.domain.live_bars import MINUTE_NS
from md_platform.domain.wire import decode
from md_platform.errors import InvalidSetting
from md_platform.settings import VenueUrls
from md_platform.sources.fetch import Fetcher
from md_platform.sources.history import HistorySources
from md_platform.storage.spool import Spool
from md_platform.venues import venue_named
from md_platform.venues.feeds import Feed, Subscription, shards
from streaming.connection import Connection
from streaming.health import Health, served
from streaming.limits import Pacer
from streaming.outbox import Outbox
from streaming.pipeline import Pipeline, Tail
from streaming.recording import Recorder
from streaming.redis_sink import RedisSink
from streaming.repair import Repair
from streaming.snapshots import Snapshots

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
    """What to stream and where to."""

    instruments: Sequence[str]
    spool: Path
    redis_url: str | None
    urls: Mapping[str, VenueUrls] = field(default_factory=dict)
    channels: Sequence[Channel] = CHANNELS
    cache: Path = Path("cache")
    port: int | None = None
    record: Path | None = None
    ca_file: Path | None = None


def channels_named(text: str) -> list[Channel]:
    """Channels from their names, separated by commas; InvalidSetting for any other name."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    if unknown := [name for name in names if name not in get_args(Channel)]:
        raise InvalidSetting(f"channels must be of {' '.join(get_args(Channel))}, was {unknown[0]!r}")
    return cast("list[Channel]", names)


async def stream(config: StreamConfig) -> None:
    """Run until SIGINT or SIGTERM; what was received by then is on disk when it returns."""
    sources = HistorySources(config.urls, config.cache)
    wanted = await asyncio.to_thread(subscriptions, config, sources)
    spool = Spool(config.spool)
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)

    redis = RedisSink(config.redis_url, config.spool) if config.redis_url else None
    outbox = Outbox(spool, redis.put if redis else lambda _messages, _last: None)
    recorder = Recorder(config.record, wanted) if config.record else None
    pipeline = Pipeline(outbox.put, recorder)
    repair = Repair(sources, pipeline.repaired)
    pipeline.repair = repair.put
    pipeline.resync = Snapshots(fetchers(config, wanted), pipeline.snapshot, recorder).put
    connections = [
        connection for feed, subscribed in wanted for connection in connections_of(config, feed, subscribed, pipeline)
    ]
    known, last_ns = tails(spool, time.time_ns())
    for feed, subscribed in wanted:
        for each in subscribed:
            pipeline.track(each.instrument, feed, known.get(each.instrument.id, Tail(time.time_ns())))
    if last_ns:
        for connection in connections:
            pipeline.resumed(connection.name, last_ns)

    jobs = [outbox.run(), repair.run(), ticks(pipeline), guard_disk(outbox, pipeline, config.spool)]
    jobs += [redis.run()] if redis else []
    async with AsyncExitStack() as stack:
        if config.port is not None:
            health = Health(pipeline, connections, outbox, repair, redis)
            stack.push_async_callback((await served(health, config.port)).cleanup)
        tasks = [asyncio.create_task(job) for job in jobs]
        tasks += [asyncio.create_task(connection.run()) for connection in connections]
        stack.push_async_callback(_ended, tasks)
        stopped = asyncio.create_task(stop.wait())
        done, _ = await asyncio.wait([stopped, *tasks], return_when=asyncio.FIRST_COMPLETED)
        for task in done - {stopped}:
            task.result()
    if recorder is not None:
        recorder.close()
    spool.close()


async def _ended(tasks: Iterable[asyncio.Task[None]]) -> None:
    for task in reversed(list(tasks)):
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


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


def subscriptions(config: StreamConfig, sources: HistorySources) -> list[tuple[Feed, list[Subscription]]]:
    """What each feed is to carry; InvalidSetting or UnknownInstrument where something cannot be streamed."""
    by_feed: dict[str, tuple[Feed, list[Subscription]]] = {}
    maps: dict[str, SymbolMap] = {}
    for name in config.instruments:
        wanted = Instrument.parse(name)
        spec = venue_named(wanted.venue)
        feed = next((feed for feed in spec.feeds if feed.accepts(wanted)), None)
        if feed is None:
            raise InvalidSetting(f"MDP_INSTRUMENTS: {spec.id} has no live feed for {name}")
        if spec.id not in maps:
            maps[spec.id] = SymbolMap(sources.instruments(spec.id))
        instrument = maps[spec.id].resolve(name)
        _, subscribed = by_feed.setdefault(feed.name, (feed, []))
        subscribed += [Subscription(channel, instrument) for channel in config.channels if channel in feed.channels]
    return list(by_feed.values())


def fetchers(config: StreamConfig, wanted: Iterable[tuple[Feed, Sequence[Subscription]]]) -> dict[str, Fetcher]:
    """What asks each feed's venue for books."""
    found = {}
    for feed, subscribed in wanted:
        spec = venue_named(subscribed[0].instrument.venue)
        url = config.urls.get(spec.id, VenueUrls()).rest or feed.rest_url or spec.rest_url
        if url is not None:
            found[feed.name] = Fetcher(spec, url)
    return found


def connections_of(
    config: StreamConfig, feed: Feed, subscribed: Sequence[Subscription], pipeline: Pipeline
) -> Iterable[Connection]:
    """The connections of one feed."""
    venue = subscribed[0].instrument.venue
    pacer = Pacer(feed.connect_limit, feed.message_limit)
    override = config.urls.get(venue, VenueUrls()).ws
    tls = ssl.create_default_context(cafile=str(config.ca_file) if config.ca_file else None)
    for number, shard in enumerate(shards(feed, subscribed)):
        urls = (override,) if override else feed.urls
        yield Connection(venue, feed, f"{feed.name}-{number}", shard, urls, pipeline, pacer, ssl_context=tls)


def tails(spool: Spool, now_ns: int) -> tuple[dict[str, Tail], int]:
    """What the spool still knows of each instrument, and when it was last written (0: never)."""
    trades: dict[str, list[Trade]] = {}
    first_ns = last_ns = 0
    for row in spool.since(now_ns - TAIL_NS):
        first_ns, last_ns = first_ns or row.at_ns, row.at_ns
        if row.message.channel.startswith("md:trades:"):
            for event in decode(row.message.payload):
                if isinstance(event, Trade):
                    trades.setdefault(event.instrument, []).append(event)
    since_ns = -(-(first_ns or now_ns) // MINUTE_NS) * MINUTE_NS
    return {name: Tail(since_ns, found, (), since_ns) for name, found in trades.items()}, last_ns
