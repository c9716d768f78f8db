"""A gateway's messages in, batches of events out, each event once; no sockets. What to send on each connection, too.

Every channel has numbers. When a connection breaks, the next one asks for what came after the last number. History
before live data is held back until all of it has come, so that nothing was told of a half. What the database had before
Redis is remembered by its keys, until Redis must have told it.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import msgspec
import polars as pl

from md_platform.client.problems import error_named
from md_platform.domain.events import Bar, Trade
from md_platform.domain.wire import Published
from md_platform.errors import PlatformUnavailable

_REMEMBERED_NS = 60 * 1_000_000_000
"""How much longer than the newest event of history its keys are kept."""

_PASSING = ("too_slow", "going_away", "internal_error", "storage_unavailable")
"""Codes of errors after which a new connection goes on where this one ended."""

_HARMLESS = ("too_many_messages",)
"""`conflate` was chosen, and is what follows."""


class Gap(msgspec.Struct, frozen=True, tag="gap"):
    """So many `messages` of `channel` will not come.

    lost        Redis no longer has them: ask `bars` or `trades` for that time
    renumbered  Redis was emptied: numbers jumped, nothing is missing
    limit       more was sent than your tier allows
    conflated   you read too slowly, and chose to get the newest only
    """

    channel: str
    messages: int
    cause: Literal["lost", "renumbered", "limit", "conflated"]


LiveEvent: TypeAlias = Published | Gap | dict[str, Any]
"""What a stream yields; an object of its own where the channel is alerts or market-summary."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Events of one channel that came together: `data`, `history` before them, or `notice` of what happened to it."""

    channel: str
    kind: Literal["data", "history", "notice", "gap"]
    events: Sequence[LiveEvent]

    def frame(self) -> pl.DataFrame:
        """The same as a table of the events' fields; times, ns since the epoch, as datetimes."""
        from md_platform.client.event_frames import event_frame  # noqa: PLC0415 - for who wants frames

        return event_frame(self.events)


class Told(msgspec.Struct):
    """Any message of the gateway: what of it matters here."""

    type: str
    channel: str = ""
    seq: int = 0
    data: msgspec.Raw = msgspec.Raw(b"[]")
    done: bool = True
    channels: dict[str, int] | list[str] = {}
    code: str = ""
    message: str = ""
    first: int = 0
    last: int = 0
    skipped: int = 0
    cause: Literal["lost", "renumbered", "limit"] = "lost"
    at: int = 0


@dataclass(frozen=True, slots=True)
class Subscription:
    """What is asked of one kind of channel, as the gateway's `subscribe` has it."""

    channel: str
    instruments: tuple[str, ...] = ()
    timeframe: str = ""
    since: str | None = None
    last: int = 0
    filters: dict[str, Any] = field(default_factory=dict)


_decode_told = msgspec.json.Decoder(Told).decode
_decode_events = msgspec.json.Decoder(list[Published]).decode
_decode_any = msgspec.json.Decoder(list[Any]).decode
_encode = msgspec.json.Encoder().encode


class Following:
    """Live channels, over as many connections as it takes. `is_over` stays false: they have no end."""

    is_over = False

    def __init__(self, subscriptions: Sequence[Subscription], slow: Literal["close", "conflate"] = "close") -> None:
        self.path = f"/?slow={slow}"
        self._subscriptions = subscriptions
        self._numbers: dict[str, int] = {}
        self._half: dict[str, list[LiveEvent]] = {}
        self._remembered: dict[str, _Remembered] = {}

    def greeting(self) -> list[bytes]:
        """What to send when a connection is open."""
        self._half.clear()
        return [_encode(request) for wanted in self._subscriptions for request in self._requests(wanted)]

    def received(self, message: str | bytes) -> list[Batch]:
        """What a message tells; PlatformUnavailable where to connect again, other errors where that will not help."""
        told = _decode_told(message)
        match told.type:
            case "data":
                return self._data(told)
            case "history":
                return self._history(told)
            case "notice":
                return [Batch(told.channel, "notice", _events(told))]
            case "subscribed":
                self._begun(told)
            case "gap":
                self._numbers[told.channel] = max(told.last, self._numbers.get(told.channel, 0))
                gap = Gap(told.channel, told.last - told.first + 1, told.cause)
                return [Batch(told.channel, "gap", [gap])]
            case "conflated":
                return [Batch(told.channel, "gap", [Gap(told.channel, told.skipped, "conflated")])]
            case "error":
                raise_told(told)
        return []

    def _requests(self, wanted: Subscription) -> list[dict[str, Any]]:
        """One subscription, of what has a past already and of what has none yet."""
        request: dict[str, Any] = {"op": "subscribe", "channel": wanted.channel, "timeframe": wanted.timeframe}
        request |= {"filters": wanted.filters} if wanted.filters else {}
        past: dict[str, Any] = {"since": wanted.since} if wanted.since else {"last": wanted.last} if wanted.last else {}
        if not wanted.instruments or any(name.endswith(":*") for name in wanted.instruments):
            known = {name: n for name, n in self._numbers.items() if name.split(":")[0] == wanted.channel}
            return [{**request, "instruments": wanted.instruments, **({"resume": known} if known else past)}]
        suffix = f":{wanted.timeframe}" if wanted.timeframe else ""
        names = {f"{wanted.channel}:{id_}{suffix}": id_ for id_ in wanted.instruments}
        known = {name: self._numbers[name] for name in names if name in self._numbers}
        parts = []
        if known:
            parts.append({**request, "instruments": [names[name] for name in known], "resume": known})
        if fresh := [id_ for name, id_ in names.items() if name not in known]:
            parts.append({**request, "instruments": fresh, **past})
        return parts

    def _begun(self, told: Told) -> None:
        """Where channels begin that have no past to come: what has one begins when all of it has come."""
        assert isinstance(told.channels, dict)  # noqa: S101 - as `subscribed` has it
        past = {each.channel for each in self._subscriptions if each.since or each.last}
        for name, number in told.channels.items():
            if name.split(":")[0] not in past:
                self._numbers.setdefault(name, number)

    def _data(self, told: Told) -> list[Batch]:
        if told.seq and told.seq <= self._numbers.get(told.channel, 0):
            return []
        self._numbers[told.channel] = max(told.seq, self._numbers.get(told.channel, 0))
        events = _events(told)
        if (remembered := self._remembered.get(told.channel)) is not None:
            events = remembered.without_told(events)
            if remembered.is_past:
                del self._remembered[told.channel]
        return [Batch(told.channel, "data", events)] if events else []

    def _history(self, told: Told) -> list[Batch]:
        if told.channel in self._numbers and told.seq <= self._numbers[told.channel]:
            return []  # the book that was told before the connection broke
        half = self._half.setdefault(told.channel, [])
        half += _events(told)
        if not told.done:
            return []
        events = self._half.pop(told.channel)
        self._numbers[told.channel] = told.seq
        self._remembered[told.channel] = _Remembered(events)
        return [Batch(told.channel, "history", events)] if events else []


class _Remembered:
    """Keys of events that were told as history."""

    def __init__(self, events: Sequence[LiveEvent]) -> None:
        self._keys = {key for event in events if (key := _key(event)) is not None}
        self._until_ns = max(map(received_ns, events), default=0) + _REMEMBERED_NS
        self.is_past = not self._keys

    def without_told(self, events: Sequence[LiveEvent]) -> list[LiveEvent]:
        """Those of `events` that were not told."""
        self.is_past = self.is_past or any(received_ns(event) > self._until_ns for event in events)
        return [event for event in events if _key(event) not in self._keys]


def raise_told(told: Told) -> None:
    """Raise what an answer `error` says, unless it is but a warning."""
    if told.code in _HARMLESS:
        return
    if told.code in _PASSING:
        raise PlatformUnavailable(f"the gateway ended the connection: {told.message}")
    raise error_named(told.code, told.message)


def _events(told: Told) -> list[LiveEvent]:
    try:
        return list(_decode_events(told.data))
    except msgspec.ValidationError:
        return _decode_any(told.data)  # alerts, summaries; objects of chosen fields


def _key(event: LiveEvent) -> Hashable:
    """What makes an event of a channel unique; None where nothing does."""
    if isinstance(event, Trade):
        return event.trade_id
    if isinstance(event, Bar):
        return event.open_time, event.source, event.revision
    return None


def received_ns(event: LiveEvent) -> int:
    """When an event was received or made; 0 where it does not say."""
    received: int = getattr(event, "ts_received", 0) or getattr(event, "known_at", 0)
    return received
