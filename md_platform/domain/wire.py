"""Events in, the messages that Redis, the spool and the gateway carry out; and back.

A message is one batch of one channel: `{"v": 1, "data": [event, ...]}`, each event an array led by its tag, in the
order of its fields (see `events`). Times are nanoseconds since the epoch, UTC.
"""

from collections.abc import Sequence

import msgspec

from md_platform.domain.events import Bar, Book, DayStatistics, FeedNotice, IndicatorValues, Quarantined, Quote, Trade

VERSION = 1
EVENTS = "md:events"
"""Channel of what happens to feeds: disconnects, gaps, halts, resyncs."""

QUARANTINE = "md:quarantine"
"""Channel of what was received and not passed on."""

Published = Trade | Quote | Book | Bar | IndicatorValues | DayStatistics | FeedNotice | Quarantined


class Batch(msgspec.Struct):
    """One message."""

    data: list[Published]
    v: int = VERSION


_OPENING, _CLOSING = b'{"v":1,"data":[', b"]}"
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
