"""The numbered messages of one channel in, in any order and with holes; each once and in order to its receivers out."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec
import structlog

from md_platform.domain.wire import Published
from md_platform.gateway.frames import Frame, View
from md_platform.gateway.messages import Gap, GapCause
from md_platform.gateway.tail import KEPT, Entry, received_ns

log = structlog.get_logger(__name__)

NOTICE = -1
"""Stands where a message's number would: events are of what happened to the feed, in order with its data."""


class Receiver(Protocol):
    """Somebody who gets a channel."""

    def take(self, channel: str, frame: Frame) -> None:
        """Data. Must not wait, join or leave."""

    def told(self, gap: Gap) -> None:
        """Data that will not come."""


_KEPT_AT_MOST = 100_000


class Joining:
    """Somebody who will get a channel when its past has been read: until then what comes is kept here, up to a limit.

    Beyond it the oldest are forgotten, and the numbers that are sent show it.
    """

    def __init__(self) -> None:
        self.entries: deque[Entry] = deque(maxlen=_KEPT_AT_MOST)

    def taken(self) -> list[Entry]:
        """What has come since the last time."""
        found = list(self.entries)
        self.entries.clear()
        return found


class Channel:
    """One channel, named as in Redis without `md:`. `fill` is called when something is missing."""

    def __init__(self, name: str, fill: Callable[["Channel"], None]) -> None:
        self.name = name
        self.number = 0
        self.ready = asyncio.Event()
        self.groups: dict[View, set[Receiver]] = {}
        self.joining: set[Joining] = set()
        self._fill = fill
        self._held: list[Entry] | None = []
        self._data = b"[]"
        self._trim_upto_ns: int | None = None
        self._has_tail = name.partition(":")[0] in KEPT

    @property
    def is_wanted(self) -> bool:
        """Whether anybody gets it."""
        return bool(self.groups or self.joining)

    @property
    def has_tail(self) -> bool:
        """Whether what was missed can be read again."""
        return self._has_tail

    def add(self, receiver: Receiver, view: View) -> None:
        """From the next message on."""
        self.groups.setdefault(view, set()).add(receiver)

    def remove(self, receiver: Receiver) -> None:
        """No more."""
        for view, receivers in list(self.groups.items()):
            receivers.discard(receiver)
            if not receivers:
                del self.groups[view]

    def hold(self) -> None:
        """Publish nothing until `filled`: what was published meanwhile is being read."""
        if self._held is None:
            self._held = []

    def receive(self, number: int, data: bytes) -> None:
        """Take a message as Redis sends it."""
        if self._held is not None:
            self._held.append(Entry(number, data))
        elif number == self.number + 1 or number <= 0 or not self.number:
            if self._trim_upto_ns is None:
                self._publish(Entry(number, data))
            else:
                self._catch_up(Entry(number, data))
        elif number > self.number:
            if self._has_tail:
                self._held = [Entry(number, data)]
                self._fill(self)
            else:
                self._publish(Entry(number, data))

    def filled(self, entries: Sequence[Entry]) -> None:
        """Go on: `entries` are what the tail has after our number."""
        held, self._held = self._held or [], None
        for entry in [*entries, *held]:
            if entry.number <= 0 or entry.number > self.number:
                self._catch_up(entry)
        self.ready.set()

    def begins_after(self, number: int) -> None:
        """The first message that counts is the one after `number`."""
        self.number = number

    def _catch_up(self, entry: Entry) -> None:
        """Publish `entry`, which may lie behind a jump in numbers; what was told before the jump is not told again."""
        if entry.number > 0 and self.number and entry.number > self.number + 1 and self._has_tail:
            told = _events(Entry(self.number, self._data))
            self._trim_upto_ns = max(map(received_ns, told), default=0)
            left = self._trimmed(entry)
            cause: GapCause = "lost" if left is not None and left.data == entry.data else "renumbered"
            self._tell(Gap(channel=self.name, first=self.number + 1, last=entry.number - 1, cause=cause))
        trimmed = self._trimmed(entry)
        if trimmed is None:
            self.number = entry.number
        else:
            self._publish(trimmed)

    def _trimmed(self, entry: Entry) -> Entry | None:
        """`entry` without what was told already; None where that is all of it."""
        if self._trim_upto_ns is None or entry.number <= 0:
            return entry
        events = _events(entry)
        left = [event for event in events if received_ns(event) > self._trim_upto_ns]
        if len(left) == len(events):
            self._trim_upto_ns = None
            return entry
        return Entry(entry.number, msgspec.json.encode(left)) if left else None

    def _publish(self, entry: Entry) -> None:
        number, data = entry
        kind = "data"
        if number == NOTICE:
            kind, number = "notice", self.number
        elif number > 0:
            self.number, self._data = number, data
        name = self.name
        for view, receivers in self.groups.items():
            seen = view if kind == "data" else View(view.msgpack, view.deflate)
            frame = seen.events(kind, name, number, data)
            if frame is not None:
                for receiver in receivers:
                    receiver.take(name, frame)
        for joining in self.joining:
            joining.entries.append(entry)

    def _tell(self, gap: Gap) -> None:
        log.warning("messages lost", channel=gap.channel, first=gap.first, last=gap.last, cause=gap.cause)
        for receivers in self.groups.values():
            for receiver in receivers:
                receiver.told(gap)


def _events(entry: Entry) -> list[Published]:
    try:
        return entry.events()
    except msgspec.MsgspecError:
        return []  # of a kind that this version does not know: nothing is trimmed of it
