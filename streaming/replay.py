"""Captures in; the same pipeline as sockets, at a speed of choice or as fast as it goes."""

import asyncio
import datetime as dt
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import msgspec

from md_platform.domain.events import Channel
from md_platform.domain.instruments import Instrument
from md_platform.domain.intervals import UTC
from md_platform.errors import InvalidFile
from md_platform.storage.captures import Record, read_capture, read_header
from md_platform.venues import VENUES
from md_platform.venues.ccxt_feed import feed_named
from md_platform.venues.feeds import Feed, Subscription
from streaming.connection import Connection
from streaming.limits import Pacer
from streaming.link import Intake, Link
from streaming.pipeline import Pipeline

_READ_TOGETHER = 100
_TICK_NS = 50_000_000
_AFTERWARDS_NS = 2 * 86_400 * 1_000_000_000  # whatever is open then gets nothing more


class _Described(msgspec.Struct):
    feed: str
    channel: Channel
    instrument: str
    native: str
    book_depth: int | msgspec.UnsetType | None = msgspec.UNSET  # recordings before 2026-11-20 do not say


def captures_in(path: Path) -> list[Path]:
    """`path` itself, or the captures of a folder in order of name; InvalidFile where there is none."""
    found = sorted(path.glob("*.jsonl.zst")) if path.is_dir() else [path]
    if not found or not found[0].exists():
        raise InvalidFile(f"{path} is no capture and no folder of captures (*.jsonl.zst)")
    return found


def subscriptions_in(path: Path) -> list[tuple[Feed, list[Subscription]]]:
    """What the capture was subscribed to, as its header says; InvalidFile where it does not."""
    feeds = {feed.name: feed for spec in VENUES for feed in spec.feeds}
    header = read_header(path)
    try:
        described = msgspec.convert(header.get("subscriptions"), list[_Described])
        found: dict[str, tuple[Feed, list[Subscription]]] = {}
        for each in described:
            instrument = Instrument.parse(each.instrument, native=each.native)
            feed = feed_named(each.feed) or feeds[each.feed]
            _, subscribed = found.setdefault(each.feed, (_as_asked(feed, each), []))
            subscribed.append(Subscription(each.channel, instrument))
    except (msgspec.ValidationError, KeyError) as error:
        raise InvalidFile(f"{path} does not say what it was subscribed to ({error})") from None
    return list(found.values())


def first_day_of(path: Path) -> dt.date:
    """The UTC day on which the capture at `path` began; InvalidFile where its header does not say."""
    recorded = read_header(path).get("recorded")
    if not isinstance(recorded, int | float):
        raise InvalidFile(f"{path} does not say when it was recorded (s since 1970), was {recorded!r}")
    return dt.datetime.fromtimestamp(recorded, UTC).date()


def _as_asked(feed: Feed, described: _Described) -> Feed:
    """`feed` with books as deep as they were then: what is asked today may be another depth."""
    if isinstance(described.book_depth, msgspec.UnsetType):
        return feed
    return replace(feed, book=replace(feed.book, depth=described.book_depth))


class Replay:
    """Plays captures into `intake`. `now_ns` is the clock of what is being played."""

    def __init__(self, path: Path) -> None:
        self._paths = captures_in(path)
        self.feeds = subscriptions_in(self._paths[0])
        self.first_day = first_day_of(self._paths[0])
        self.now_ns = 0

    def clock(self) -> int:
        """The receive time of the last record, ns."""
        return self.now_ns

    async def run(self, pipeline: Pipeline, speed: float | None, room: Callable[[], Awaitable[None]]) -> None:
        """Play everything into `pipeline`; `speed` None: as fast as `room`, for what comes out, is there."""
        links: dict[str, Link] = {}
        loop = asyncio.get_running_loop()
        began, first_ns, ticked_ns = loop.time(), 0, 0
        for path in self._paths:
            for together in _together(read_capture(path)):
                self.now_ns = together[-1].received_ns
                first_ns = first_ns or self.now_ns
                due = self.now_ns - ticked_ns > _TICK_NS
                if speed is not None:
                    await asyncio.sleep((self.now_ns - first_ns) / 1e9 / speed - (loop.time() - began))
                if due:
                    await room()
                self._play(together, links, pipeline)
                if due:
                    ticked_ns = self.now_ns
                    pipeline.tick(running=True)
        self.now_ns += _AFTERWARDS_NS
        pipeline.tick(running=True)

    def _play(self, together: Sequence[Record], links: dict[str, Link], pipeline: Pipeline) -> None:
        record = together[0]
        if record.t == "connect":
            link = links[record.conn] = self._link(record, pipeline)
            link.session.opening()
            pipeline.opened(link)
        elif record.t == "recv" and record.conn in links:
            links[record.conn].received([each.payload for each in together], record.received_ns)
        elif record.t == "http":
            for feed, subscribed in self.feeds:
                instrument = _asked(feed, subscribed, record.url)
                if instrument is not None and feed.parse_snapshot is not None:
                    update = feed.parse_snapshot(record.payload, instrument, record.received_ns)
                    for link in links.values():
                        if link.connection.feed is feed:
                            pipeline.snapshot(link, update)

    def _link(self, record: Record, intake: Intake) -> Link:
        named = [each for each in self.feeds if record.conn.startswith(f"{each[0].name}-")]
        feed, subscribed = max(named or self.feeds[:1], key=lambda each: len(each[0].name))  # bybit-linear is not bybit
        pacer = Pacer(feed.connect_limit, feed.message_limit)
        venue = subscribed[0].instrument.venue
        connection = Connection(venue, feed, record.conn, subscribed, [record.addr], intake, pacer, Link)
        link = connection.make_link(connection, record.addr)
        link.is_primary = True
        link.connected_ns = link.last_ns = record.received_ns
        return link


def _together(records: Iterable[Record]) -> Iterable[list[Record]]:
    """Frames that one connection received at the same moment, as they were read from its socket."""
    waiting: list[Record] = []
    for record in records:
        if waiting and (
            record.t != "recv"
            or waiting[0].t != "recv"
            or (record.conn, record.ts) != (waiting[0].conn, waiting[0].ts)
            or len(waiting) >= _READ_TOGETHER
        ):
            yield waiting
            waiting = []
        waiting.append(record)
    if waiting:
        yield waiting


def _asked(feed: Feed, subscribed: Sequence[Subscription], url: str) -> Instrument | None:
    """The instrument whose book `url` asks for."""
    if feed.snapshot_request is None:
        return None
    parts = urlsplit(url)
    asked = dict(parse_qsl(parts.query))
    for instrument in {each.instrument for each in subscribed}:
        request = feed.snapshot_request(instrument)
        if parts.path.endswith(request.path) and str(request.params.get("symbol", "")) == asked.get("symbol", ""):
            return instrument
    return None
