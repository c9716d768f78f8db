"""A connection's conversation with its venue, from connect to disconnect: frames in, events out.

A `Link` says what it heard to the `Intake`, and knows when it has been silent for too long. What brings the frames is a
subclass (`SocketLink`, `CcxtLink`), or a recording.
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from md_platform.domain.books import OrderBook
from md_platform.domain.events import (
    Bar,
    BookUpdate,
    Channel,
    Event,
    FeedNotice,
    Heartbeat,
    Quote,
    ReconnectAsked,
    Refused,
    Reply,
    Subscribed,
    Trade,
)

if TYPE_CHECKING:
    from streaming.connection import Connection

_NOTHING_AT_ALL_S = 60.0  # every venue sends heartbeats or quotes more often
_NEVER_HEARD_S = 900.0
_UNUSUAL = 5
_KNOWN = 20
_FADES = 0.99
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
    """How long a channel has said nothing, and the longest that it did of late: at night few trade, that is fine."""

    since: float
    longest_s: float = 0.0
    heard: int = 0

    def broken(self, now: float) -> None:
        """It spoke."""
        self.heard += 1
        self.longest_s = max(now - self.since, _FADES * self.longest_s)
        self.since = now

    def allowed_s(self, least_s: float) -> float:
        """Silence from which it counts as stalled: `least_s`, and more for a channel that is often silent.

        One that has spoken only a few times is not known yet: two trades in a second make no busy market.
        """
        return max(least_s, _UNUSUAL * self.longest_s if self.heard >= _KNOWN else _NEVER_HEARD_S)


class Link:
    """What every link is and knows. This one has nobody to talk to: it plays a recording."""

    def __init__(self, connection: "Connection", url: str) -> None:
        self.connection = connection
        self.url = url
        self.session = connection.feed.session(connection.subscriptions)
        self.is_primary = False
        self.needs_successor = False
        self.connected_ns = 0
        self.last_ns = 0
        self.alive_ns = 0
        self.heard: dict[Channel, Silence] = {}
        self.unconfirmed = {(s.channel, s.instrument.native.upper()) for s in connection.subscriptions}
        self.refused: list[str] = []
        self.books: dict[str, OrderBook] = {}
        self.ended = asyncio.Event()
        self.cause = "the venue hung up"

    async def open(self) -> None:
        """Connect and subscribe; OSError, TimeoutError, SourceError or ValueError where that fails."""

    def send(self, frame: bytes | str) -> None:
        """Say something to the venue."""

    async def close(self) -> None:
        """Hang up, and give back what it holds."""

    def pause(self) -> None:
        """Hear nothing more. One that cannot have the venue wait is over: what it misses comes from history."""
        self.end("held, as the disk takes nothing")

    def resume(self) -> None:
        """Hear again; the silence was our own."""
        now = time.monotonic()
        for silence in self.heard.values():
            silence.since = now

    def ping_if_idle(self) -> None:
        """The venue's own ping, where it wants one."""

    def renew(self) -> None:
        """Have another link take its place, with overlap: a book that went wrong is sent anew to a new one."""
        self.needs_successor = True

    def end(self, cause: str) -> None:
        """It is over; the first cause counts."""
        if not self.ended.is_set():
            self.cause = cause
            self.ended.set()

    def received(self, frames: Sequence[bytes], received_ns: int) -> None:
        """Make events of `frames` and hand both over."""
        self.last_ns = self.alive_ns = received_ns
        intake = self.connection.intake
        intake.frames(self, frames, received_ns)
        events = self.session.receive(frames, received_ns)
        if events:
            self.told(events)

    def told(self, events: Sequence[Event]) -> None:
        """Note what `events` mean for the link itself, and hand them over."""
        self._note(events)
        self.connection.intake.events(self, events)

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
                        self.renew()
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

    def stalled(self) -> str | None:
        """Why this link is taken to be dead although it is open, None where it is not."""
        if time.time_ns() - max(self.alive_ns, self.last_ns) > _NOTHING_AT_ALL_S * 1e9:
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
