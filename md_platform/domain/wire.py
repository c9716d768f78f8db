"""Events in, the messages that Redis, the spool and the gateway carry out; and back.

A message is one batch of one channel: `{"v": 1, "data": [event, ...]}`, each event an array led by its tag, in the
order of its fields (see `events`). Times are nanoseconds since the epoch, UTC.
"""

from collections.abc import Sequence

import msgspec

from md_platform.domain.events import Bar, Book, FeedNotice, Quarantined, Quote, Trade

VERSION = 1
EVENTS = "md:events"
"""Channel of what happens to feeds: disconnects, gaps, halts, resyncs."""

QUARANTINE = "md:quarantine"
"""Channel of what was received and not passed on."""

Published = Trade | Quote | Book | Bar | FeedNotice | Quarantined


class Batch(msgspec.Struct):
    """One message."""

    data: list[Published]
    v: int = VERSION


_OPENING, _CLOSING = b'{"v":1,"data":[', b"]}"
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Batch).decode


def channel_of(event: Published) -> str:
    """`md:trades:{id}`, `md:quotes:{id}`, `md:book:{id}`, `md:bars:{id}:{timeframe}`, `md:events`, `md:quarantine`."""
    match event:
        case Trade():
            return f"md:trades:{event.instrument}"
        case Quote():
            return f"md:quotes:{event.instrument}"
        case Book():
            return f"md:book:{event.instrument}"
        case Bar():
            return f"md:bars:{event.instrument}:{event.timeframe}"
        case FeedNotice():
            return EVENTS
        case Quarantined():
            return QUARANTINE


def encode(events: Sequence[Published]) -> bytes:
    """The message of `events`, all of one channel."""
    return _OPENING[:-1] + _encode(events) + _CLOSING[1:]


def joined(messages: Sequence[bytes]) -> bytes:
    """One message of several of the same channel, in order."""
    return _OPENING + b",".join(message[len(_OPENING) : -len(_CLOSING)] for message in messages) + _CLOSING


def decode(message: bytes) -> list[Published]:
    """Events of a message; msgspec.MsgspecError where it is none."""
    return _decode(message).data
