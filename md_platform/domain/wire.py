"""Events in, the messages that Redis, the spool and the gateway carry out; and back.

A message is one batch of one channel: `{"v": 1, "data": [event, ...]}`, each event an array led by its tag, in the
order of its fields (see `events`). Times are nanoseconds since the epoch, UTC. Redis numbers what it publishes:
`{"v": 1, "seq": 7, "data": [...]}` follows number 6 of its channel.
"""

from collections.abc import Sequence

import msgspec

from md_platform.domain.events import (
    Alert,
    Bar,
    Book,
    DayStatistics,
    FeedNotice,
    IndicatorValues,
    Quarantined,
    Quote,
    Trade,
)

VERSION = 1
EVENTS = "md:events"
"""Channel of what happens to feeds: disconnects, gaps, halts, resyncs."""

ALERTS = "md:alerts"
"""Channel of alerts that fired."""

QUARANTINE = "md:quarantine"
"""Channel of what was received and not passed on."""

Published = Trade | Quote | Book | Bar | IndicatorValues | DayStatistics | FeedNotice | Quarantined | Alert


class Batch(msgspec.Struct):
    """One message; `seq` is 0 before it is published."""

    data: list[Published]
    v: int = VERSION
    seq: int = 0


_OPENING, _CLOSING = b'{"v":1,"data":[', b"]}"
_NUMBERED = b'{"v":1,"seq":'
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Batch).decode


_CHANNELS: dict[type, str] = {
    Trade: "md:trades:{0.instrument}",
    Quote: "md:quotes:{0.instrument}",
    Book: "md:book:{0.instrument}",
    Bar: "md:bars:{0.instrument}:{0.timeframe}",
    IndicatorValues: "md:indicators:{0.instrument}:{0.timeframe}",
    DayStatistics: "md:day:{0.instrument}",
    FeedNotice: EVENTS,
    Quarantined: QUARANTINE,
    Alert: ALERTS,
}


def channel_of(event: Published) -> str:
    """The channel that carries `event`: what it is, and of which instrument and timeframe."""
    return _CHANNELS[type(event)].format(event)


def encode(events: Sequence[Published]) -> bytes:
    """The message of `events`, all of one channel."""
    return _OPENING[:-1] + _encode(events) + _CLOSING[1:]


def joined(messages: Sequence[bytes]) -> bytes:
    """One message of several of the same channel, in order."""
    return _OPENING + b",".join(message[len(_OPENING) : -len(_CLOSING)] for message in messages) + _CLOSING


def decode(message: bytes) -> list[Published]:
    """Events of a message; msgspec.MsgspecError where it is none."""
    return _decode(message).data


def opened(message: bytes) -> tuple[int, bytes]:
    """The number of a message, 0 where it has none, and its events as they are encoded: `[event, ...]`.

    Nothing is decoded, as a gateway hands on thousands a second. ValueError where it is no message.
    """
    if message.startswith(_NUMBERED):
        number, comma, rest = message[len(_NUMBERED) :].partition(b',"data":')
        if comma:
            return int(number), rest[:-1]
    if message.startswith(_OPENING):
        return 0, message[len(_OPENING) - 1 : -1]
    raise ValueError(f"a message begins with its version, was {message[:40]!r}")
