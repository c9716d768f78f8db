"""A replay's messages in, batches of events out, each event once, over as many connections as it takes; no sockets."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

import msgspec

from md_platform.client.asking import When, time_text
from md_platform.client.following import Batch, LiveEvent, Told, raise_told, received_ns
from md_platform.domain.events import Bar, IndicatorValues, Trade
from md_platform.domain.intervals import Timeframe
from md_platform.domain.wire import Published

_decode_told = msgspec.json.Decoder(Told).decode
_decode_events = msgspec.json.Decoder(list[Published]).decode
_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class Replay:
    """What to play: `channels` as trades, bars:1m, indicators:1m. `speed` 1 is as it was, None as fast as it goes."""

    instruments: tuple[str, ...]
    channels: tuple[str, ...]
    start: str
    end: str
    speed: float | None = None
    as_known: bool = False


class Replaying:
    """One replay. After a break it is begun again at the last event's time, without those of that time."""

    path = "/replay"

    def __init__(self, replay: Replay) -> None:
        self._replay = replay
        self._speed = replay.speed
        self._from: str | None = replay.start
        self._at_ns: int | None = None
        self._told_then: Counter[str] = Counter()
        self._to_skip: Counter[str] = Counter()
        self.is_over = False

    def greeting(self) -> list[bytes]:
        """What to send when a connection is open."""
        wanted = self._replay
        self._to_skip = Counter(self._told_then)
        request: dict[str, Any] = {
            "op": "replay",
            "instruments": wanted.instruments,
            "channels": wanted.channels,
            "start": self._from if self._at_ns is None else self._at_ns,
            "end": wanted.end,
            "speed": self._speed,
            "as_known": wanted.as_known,
        }
        return [_encode(request)]

    def received(self, message: str | bytes) -> list[Batch]:
        """What a message tells; the error where it cannot be played, PlatformUnavailable where to connect again."""
        told = _decode_told(message)
        if told.type == "error":
            raise_told(told)
        elif told.type == "end":
            self.is_over = True
        elif told.type == "data":
            events = self._unknown(told.channel, _decode_events(told.data))
            return [Batch(told.channel, "data", events)] if events else []
        return []

    def paused(self) -> bytes:
        """The request to hold it."""
        return _encode({"op": "pause"})

    def resumed(self) -> bytes:
        """The request to go on."""
        return _encode({"op": "resume"})

    def sought(self, to: When) -> bytes:
        """The request to go on from `to`. What was told before does not count any more."""
        text = time_text(to)
        self._from, self._told_then, self._to_skip = text, Counter(), Counter()
        self._at_ns = None
        return _encode({"op": "seek", "to": text})

    def sped(self, speed: float | None) -> bytes:
        """The request to go on at another speed."""
        self._speed = speed
        return _encode({"op": "speed", "speed": speed})

    def _unknown(self, channel: str, events: list[Published]) -> list[LiveEvent]:
        """Those of `events` that were not told on an earlier connection."""
        left: list[LiveEvent] = []
        for event in events:
            at_ns = self._played_at_ns(event)
            if self._to_skip[channel] and at_ns == self._at_ns:
                self._to_skip[channel] -= 1
                continue
            if at_ns != self._at_ns:
                self._at_ns, self._told_then = at_ns, Counter()
            self._told_then[channel] += 1
            left.append(event)
        return left

    def _played_at_ns(self, event: Published) -> int:
        """When the replay's clock plays `event`: a trade when it happened, a bar when it closed."""
        if self._replay.as_known:
            return received_ns(event)
        if isinstance(event, Trade):
            return event.ts_event
        if isinstance(event, Bar):
            return event.close_time
        if isinstance(event, IndicatorValues):
            return event.open_time + (Timeframe.parse(event.timeframe).seconds or 0) * 1_000_000_000
        return received_ns(event)
