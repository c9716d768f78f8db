"""One feed connection, kept up: addresses and subscriptions in, events out. It knows no venue by name.

A `Link` lives from connect to disconnect; the `Connection` replaces links: after a failure with back-off on the next
address, before the venue's own cut with an overlap of two links. Trades of both count (the pipeline knows duplicates);
quotes, bars and books are taken from the primary link alone.
"""

import asyncio
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import structlog

from md_platform.domain.events import Channel, FeedNotice, NoticeKind
from md_platform.errors import SourceError
from md_platform.venues.feeds import Feed, Subscription
from streaming.limits import Pacer
from streaming.link import Intake, Link

log = structlog.get_logger(__name__)

_CONFIRM_TIMEOUT_S = 30.0  # Bitfinex took 13 s for two dozen
_WATCH_EVERY_S = 0.25
_RENEW_AT = 0.95  # of the venue's longest connection
_STEADY_S = 60.0  # a link that lived this long was no failure of the address
_BACKOFF_S = (0.0, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)


@dataclass
class Connection:
    """Keeps one set of subscriptions of one feed alive, by `link`."""

    venue: str
    feed: Feed
    name: str
    subscriptions: Sequence[Subscription]
    urls: Sequence[str]
    intake: Intake
    pacer: Pacer
    make_link: Callable[["Connection", str], Link]
    reconnects: int = 0
    _failures: int = field(default=0, init=False)
    link: Link | None = field(default=None, init=False)
    _may_read: asyncio.Event = field(default_factory=asyncio.Event, init=False)

    def __post_init__(self) -> None:
        self._may_read.set()

    @property
    def channels(self) -> set[Channel]:
        """What it is subscribed to."""
        return {subscription.channel for subscription in self.subscriptions}

    @property
    def is_up(self) -> bool:
        """Whether market data flows."""
        return self.link is not None and not self.link.ended.is_set()

    def hold(self) -> None:
        """Read nothing until `release`: the venue waits, or hangs up, and what it sent meanwhile is a hole."""
        if self._may_read.is_set():
            self._may_read.clear()
            if self.link is not None:
                self.link.pause()

    def release(self) -> None:
        """Read again."""
        if not self._may_read.is_set():
            self._may_read.set()
            if self.link is not None:
                self.link.resume()

    async def run(self) -> None:
        """Serve until cancelled."""
        try:
            while True:
                link = await self._connected()
                if link is not None:
                    await self._serve(link)
        finally:
            if self.link is not None:
                await self.link.close()

    async def _connected(self) -> Link | None:
        """A link whose subscriptions are confirmed, or None after a failure that has been waited for."""
        url = self.urls[self._failures % len(self.urls)]
        wait_s = _BACKOFF_S[min(self._failures, len(_BACKOFF_S) - 1)]
        await asyncio.sleep(wait_s * random.uniform(0.5, 1.0))  # noqa: S311 - jitter
        await self._may_read.wait()
        await self.pacer.connect()
        link = self.make_link(self, url)
        try:
            await link.open()
            await self._confirmed(link)
        except (OSError, TimeoutError, SourceError, ValueError) as error:
            self._failures += 1
            self._say("refused" if link.refused else "disconnected", link, cause=str(error) or type(error).__name__)
            await link.close()
            return None
        return link

    async def _confirmed(self, link: Link) -> None:
        deadline = time.monotonic() + _CONFIRM_TIMEOUT_S
        while not link.hears_market_data():
            if link.ended.is_set():
                raise ConnectionError(f"{link.cause} before it confirmed the subscriptions")
            if link.refused and len(link.refused) >= len(self.subscriptions):
                raise ConnectionError(f"the venue refused: {link.refused[0]}")
            if time.monotonic() > deadline:
                if link.heard:  # the rest works: what was refused has been said
                    return
                missing = ", ".join(f"{channel} {native}" for channel, native in sorted(link.unconfirmed)[:5])
                raise TimeoutError(f"not confirmed within {_CONFIRM_TIMEOUT_S:.0f} s: {missing}")
            await asyncio.sleep(0.01)

    async def _serve(self, link: Link) -> None:
        """Watch the primary `link` until it ends; with overlap, its successor takes over and is watched next."""
        self._promote(link)
        while True:
            cause = await self._watched(link)
            if cause is not None:
                self._demote(link, cause)
                await link.close()
                return
            successor = await self._connected()
            if successor is not None:
                if link.ended.is_set():  # nobody served until now
                    self._demote(link, link.cause)
                link.is_primary = False
                self._promote(successor)
                await link.close()
                link = successor

    def _promote(self, link: Link) -> None:
        link.is_primary = True
        self.link = link
        if not self._may_read.is_set():
            link.pause()
        self._say("connected", link)
        self.intake.opened(link)

    def _demote(self, link: Link, cause: str) -> None:
        lived_s = (time.time_ns() - link.connected_ns) / 1e9
        self._failures = 0 if lived_s > _STEADY_S else self._failures + 1
        self.reconnects += 1
        link.is_primary = False
        self._say("stalled" if cause.startswith("silent") else "disconnected", link, cause=cause, start=link.last_ns)
        self.intake.closed(link)

    async def _watched(self, link: Link) -> str | None:
        """Why `link` ended; None where it is time to renew it."""
        renew_ns = (
            link.connected_ns + int((self.feed.max_connection_s or float("inf")) * _RENEW_AT * 1e9)
            if (self.feed.max_connection_s)
            else None
        )
        while True:
            try:
                await asyncio.wait_for(link.ended.wait(), _WATCH_EVERY_S)
            except TimeoutError:
                pass
            else:
                return link.cause
            link.ping_if_idle()
            if self._may_read.is_set() and (cause := link.stalled()) is not None:
                return cause
            if link.needs_successor or (renew_ns is not None and time.time_ns() > renew_ns):
                return None

    def _say(self, kind: NoticeKind, link: Link, cause: str = "", start: int | None = None) -> None:
        now = time.time_ns()
        self.intake.notice(
            FeedNotice(kind, self.venue, self.feed.name, self.name, now, cause, start, channels=sorted(self.channels))
        )
        log.info(kind, venue=self.venue, feed=self.feed.name, connection=self.name, url=link.url, cause=cause)
