"""One feed connection, kept up: addresses and subscriptions in, events out. It knows no venue by name.

A `Link` lives from connect to disconnect; the `Connection` replaces links: after a failure with back-off on the next
address, before the venue's own cut with an overlap of two links. Trades of both count (the pipeline knows duplicates);
quotes, bars and books are taken from the primary link alone.
"""

import asyncio
import random
import ssl
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import picows
import structlog

from md_platform.domain.books import OrderBook
from md_platform.domain.events import (
    Bar,
    BookUpdate,
    Channel,
    Event,
    FeedNotice,
    Heartbeat,
    NoticeKind,
    Quote,
    ReconnectAsked,
    Refused,
    Reply,
    Subscribed,
    Trade,
)
from md_platform.errors import SourceError
from md_platform.venues.feeds import Feed, Subscription
from streaming.limits import Pacer

log = structlog.get_logger(__name__)

_CONNECT_TIMEOUT_S = 5.0
_CONFIRM_TIMEOUT_S = 30.0  # Bitfinex took 13 s for two dozen
_WATCH_EVERY_S = 0.25
_RENEW_AT = 0.95  # of the venue's longest connection
_NOTHING_AT_ALL_S = 60.0  # every venue sends heartbeats or quotes more often
_NEVER_HEARD_S = 900.0
_UNUSUAL = 30
_STEADY_S = 60.0  # a link that lived this long was no failure of the address
_BACKOFF_S = (0.0, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
_TEXT = picows.WSMsgType.TEXT
_PARTS = (_TEXT, picows.WSMsgType.BINARY, picows.WSMsgType.CONTINUATION)
_CHANNEL_OF: dict[type, Channel] = {Trade: "trades", Quote: "quotes", BookUpdate: "book", Bar: "bars"}


class Intake(Protocol):
    """Where a connection puts what it receives."""

    def frames(self, link: "Link", frames: Sequence[bytes], received_ns: int) -> None:
        """Frames as they came, before anything is made of them: for recording."""

    def sent(self, link: "Link", frame: bytes | str) -> None:
        """What we send: for recording."""

    def events(self, link: "Link", events: Sequence[Event]) -> None:
        """What they mean, in order."""

    def notice(self, notice: FeedNotice) -> None:
        """Something happened to the connection itself."""

    def opened(self, link: "Link") -> None:
        """`link` is primary and has every subscription confirmed."""

    def closed(self, link: "Link") -> None:
        """`link` was primary and is gone."""


@dataclass(slots=True)
class Silence:
    """How long a channel has said nothing, and how long it usually does: few trade at night, and that is no stall."""

    since: float
    usual_s: float = 0.0

    def broken(self, now: float) -> None:
        """It spoke."""
        self.usual_s += 0.1 * (now - self.since - self.usual_s)
        self.since = now

    def allowed_s(self, least_s: float) -> float:
        """Silence from which it counts as stalled: `least_s`, and more for a channel that is often silent."""
        return max(least_s, _UNUSUAL * self.usual_s) if self.usual_s else max(least_s, _NEVER_HEARD_S)


class Link(picows.WSListener):
    """One socket from connect to disconnect, with its session."""

    def __init__(self, connection: "Connection", url: str) -> None:
        self.connection = connection
        self.url = url
        self.session = connection.feed.session(connection.subscriptions)
        self.is_primary = False
        self.connected_ns = 0
        self.last_ns = 0
        self.heard: dict[Channel, Silence] = {}
        self.unconfirmed = {(s.channel, s.instrument.native.upper()) for s in connection.subscriptions}
        self.refused: list[str] = []
        self.books: dict[str, OrderBook] = {}
        self.ended = asyncio.Event()
        self._transport: picows.WSTransport | None = None
        self._frames: list[bytes] = []
        self._fragments: list[bytes] = []
        self._sent_at = time.monotonic()

    def on_ws_connected(self, transport: picows.WSTransport) -> None:
        """Called by picows."""
        self._transport = transport
        self.connected_ns = self.last_ns = time.time_ns()

    def on_ws_disconnected(self, transport: picows.WSTransport) -> None:  # noqa: ARG002 - picows' signature
        """Called by picows."""
        self._hand_over()
        self.ended.set()

    def on_ws_frame(self, transport: picows.WSTransport, frame: picows.WSFrame) -> None:
        """Collect the frames of one read of the socket, then hand them over together."""
        kind = frame.msg_type
        if kind is _TEXT and frame.fin:  # nearly all of them
            self._frames.append(frame.get_payload_as_bytes())
        elif kind in _PARTS:
            self._fragments.append(frame.get_payload_as_bytes())
            if frame.fin:
                self._frames.append(b"".join(self._fragments))
                self._fragments.clear()
        elif kind == picows.WSMsgType.CLOSE:
            transport.send_close(frame.get_close_code())
            transport.disconnect()
        if frame.last_in_buffer:
            self._hand_over()

    def _hand_over(self) -> None:
        if self._frames:
            frames, self._frames = self._frames, []
            self.received(frames, time.time_ns())

    def received(self, frames: Sequence[bytes], received_ns: int) -> None:
        """Make events of `frames` and hand both over."""
        self.last_ns = received_ns
        intake = self.connection.intake
        intake.frames(self, frames, received_ns)
        events = self.session.receive(frames, received_ns)
        if events:
            self._note(events)
            intake.events(self, events)

    def _note(self, events: Sequence[Event]) -> None:
        """Answer pings, count confirmations, remember when each channel last spoke."""
        now = time.monotonic()
        for kind in set(map(type, events)):
            channel = _CHANNEL_OF.get(kind)
            if channel is not None:
                self.heard.setdefault(channel, Silence(now)).broken(now)
            elif kind is not Heartbeat:
                for event in events:
                    if isinstance(event, Reply):
                        self.send(event.frame)
                    elif isinstance(event, Subscribed):
                        self._confirmed(event)
                    elif isinstance(event, Refused):
                        self.refused.append(event.reason)
                        self._confirmed(Subscribed(event.channel, event.symbols or ["?"]))
                    elif isinstance(event, ReconnectAsked):
                        self.connection.renew()
                break

    def _confirmed(self, event: Subscribed) -> None:
        symbols = {symbol.upper() for symbol in event.symbols}
        self.unconfirmed = {
            (channel, native)
            for channel, native in self.unconfirmed
            if event.channel not in (channel, None) or (symbols and native not in symbols)
        }
        for channel in {event.channel} if event.channel else self.connection.channels:
            self.heard.setdefault(channel, Silence(time.monotonic()))

    def send(self, frame: bytes | str) -> None:
        """Send one text message."""
        if self._transport is not None and not self._transport.is_disconnected:
            self.connection.intake.sent(self, frame)
            self._transport.send(picows.WSMsgType.TEXT, frame.encode() if isinstance(frame, str) else frame)
            self._sent_at = time.monotonic()

    def close(self) -> None:
        """Hang up."""
        if self._transport is not None:
            self._transport.disconnect()

    def ping_if_idle(self) -> None:
        """The venue's own ping, where it wants one."""
        feed = self.connection.feed
        if feed.ping is not None and time.monotonic() - self._sent_at >= feed.ping_after_s:
            self.send(feed.ping())

    def stalled(self) -> str | None:
        """Why this link is taken to be dead although it is open, None where it is not."""
        if time.time_ns() - self.last_ns > _NOTHING_AT_ALL_S * 1e9:
            return f"silent: nothing at all for {_NOTHING_AT_ALL_S:g} s"
        now = time.monotonic()
        for channel, silence in self.heard.items():
            allowed_s = silence.allowed_s(self.connection.feed.silence_s.get(channel, float("inf")))
            if now - silence.since > allowed_s:
                return f"silent: nothing on {channel} for {allowed_s:.0f} s"
        return None

    def hears_market_data(self) -> bool:
        """Whether every subscription is confirmed, or all channels speak although the venue confirms nothing."""
        return not self.unconfirmed or set(self.heard) >= self.connection.channels


@dataclass
class Connection:
    """Keeps one set of subscriptions of one feed alive."""

    venue: str
    feed: Feed
    name: str
    subscriptions: Sequence[Subscription]
    urls: Sequence[str]
    intake: Intake
    pacer: Pacer
    address: Callable[[str, Feed, str, Sequence[Subscription]], str]
    ssl_context: ssl.SSLContext | None = None
    reconnects: int = 0
    _failures: int = field(default=0, init=False)
    _link: Link | None = field(default=None, init=False)
    _renew: asyncio.Event = field(default_factory=asyncio.Event, init=False)

    @property
    def channels(self) -> set[Channel]:
        """What it is subscribed to."""
        return {subscription.channel for subscription in self.subscriptions}

    @property
    def is_up(self) -> bool:
        """Whether market data flows."""
        return self._link is not None and not self._link.ended.is_set()

    def renew(self) -> None:
        """Replace the link with overlap: a book that went wrong is sent anew to a new one."""
        self._renew.set()

    async def run(self) -> None:
        """Serve until cancelled."""
        try:
            while True:
                link = await self._connected()
                if link is not None:
                    await self._serve(link)
        finally:
            if self._link is not None:
                self._link.close()

    async def _connected(self) -> Link | None:
        """A link whose subscriptions are confirmed, or None after a failure that has been waited for."""
        url = self.urls[self._failures % len(self.urls)]
        wait_s = _BACKOFF_S[min(self._failures, len(_BACKOFF_S) - 1)]
        await asyncio.sleep(wait_s * random.uniform(0.5, 1.0))  # noqa: S311 - jitter
        await self.pacer.connect()
        link = Link(self, url)
        try:
            address = await asyncio.to_thread(self.address, self.venue, self.feed, url, self.subscriptions)
            await picows.ws_connect(
                lambda: link,
                address,
                ssl_context=self.ssl_context,
                websocket_handshake_timeout=_CONNECT_TIMEOUT_S,
                enable_auto_ping=True,
                auto_ping_idle_timeout=10,
                auto_ping_reply_timeout=10,
                max_frame_size=64 * 1024 * 1024,
            )
            for frame in link.session.opening():
                await self.pacer.message()
                link.send(frame)
            await self._confirmed(link)
        except (OSError, picows.WSError, TimeoutError, SourceError, ValueError) as error:
            self._failures += 1
            link.close()
            self._say("refused" if link.refused else "disconnected", link, cause=str(error) or type(error).__name__)
            return None
        return link

    async def _confirmed(self, link: Link) -> None:
        deadline = time.monotonic() + _CONFIRM_TIMEOUT_S
        while not link.hears_market_data():
            if link.ended.is_set():
                raise ConnectionError("the venue hung up before it confirmed the subscriptions")
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
                link.close()
                self._demote(link, cause)
                return
            successor = await self._connected()
            if successor is not None:
                link.is_primary = False
                self._promote(successor)
                link.close()
                link = successor

    def _promote(self, link: Link) -> None:
        link.is_primary = True
        self._link = link
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
        self._renew.clear()
        while True:
            try:
                await asyncio.wait_for(link.ended.wait(), _WATCH_EVERY_S)
            except TimeoutError:
                pass
            else:
                return "the venue hung up"
            link.ping_if_idle()
            if (cause := link.stalled()) is not None:
                return cause
            if self._renew.is_set() or (renew_ns is not None and time.time_ns() > renew_ns):
                return None

    def _say(self, kind: NoticeKind, link: Link, cause: str = "", start: int | None = None) -> None:
        now = time.time_ns()
        self.intake.notice(
            FeedNotice(kind, self.venue, self.feed.name, self.name, now, cause, start, channels=sorted(self.channels))
        )
        log.info(kind, venue=self.venue, feed=self.feed.name, connection=self.name, url=link.url, cause=cause)
