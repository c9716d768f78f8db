"""A recording in, a client's live messages out: at any speed, to be paused, to be sought in, with an end.

What is read ahead is bounded, and a client that reads slowly slows its own replay.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import islice

from md_platform.access.principal import Principal
from md_platform.domain.wire import encode, opened
from md_platform.errors import InvalidParameter, InvalidRange, MdpError, TooLarge
from md_platform.gateway.frames import View
from md_platform.gateway.messages import (
    AnyRequest,
    Done,
    End,
    Pause,
    Replay,
    Replaying,
    Resume,
    Seek,
    Speed,
    failure,
)
from md_platform.gateway.names import channels
from md_platform.gateway.outlet import Outlet
from md_platform.gateway.recording import Played, Recording
from md_platform.gateway.subscriptions import instant_ns
from md_platform.serving.market import Market

_READ_AT_ONCE = 2_000
_EVENTS_A_MESSAGE = 200
_TOGETHER_S = 0.002
"""Events of one channel that come within it go into one message."""


class Player:
    """The replay of one client: the work of its session."""

    def __init__(self, outlet: Outlet, market: Market) -> None:
        self._outlet = outlet
        self._market = market
        self._task: asyncio.Task[None] | None = None
        self._clock = Clock()
        self._seek_ns: int | None = None
        self._range = (0, 0)

    async def do(self, request: AnyRequest, principal: Principal) -> None:
        """Begin, or control what has begun."""
        if isinstance(request, Replay):
            await self._begin(request, principal)
            return
        if not isinstance(request, Pause | Resume | Seek | Speed):
            raise InvalidParameter("subscriptions are on /: here are replay, pause, resume, seek, speed and ping")
        if self._task is None or self._task.done():
            raise InvalidParameter("no replay runs: begin one with op replay")
        if isinstance(request, Seek):
            to_ns = instant_ns(request.to)
            if not self._range[0] <= to_ns < self._range[1]:
                raise InvalidRange(f"to must lie in the replay's range, was {request.to!r}")
            self._seek_ns = to_ns
        elif isinstance(request, Speed):
            self._clock.speed = _valid(request.speed)
        else:
            self._clock.is_paused = isinstance(request, Pause)
        self._clock.change()
        self._outlet.answer(Done(id=request.id, op=type(request).__name__.lower()))

    def close(self) -> None:
        """The client is gone."""
        if self._task is not None:
            self._task.cancel()

    async def _begin(self, request: Replay, principal: Principal) -> None:
        start_ns, end_ns = instant_ns(request.start), instant_ns(request.end)
        if not start_ns < end_ns <= time.time_ns():
            raise InvalidRange(f"start must be before end, and end in the past, was {request.start!r}, {request.end!r}")
        if principal.tier.symbols is not None and len(set(request.instruments)) > principal.tier.symbols:
            raise TooLarge(f"your tier allows {principal.tier.symbols} instruments, was {len(request.instruments)}")
        if not request.channels:
            raise InvalidParameter("channels must name some of trades, bars:1m, indicators:1m, was none")
        channels("trades", request.instruments, "")  # raises where one is none
        recording = Recording(self._market, request.instruments, request.channels, as_known=request.as_known)
        self.close()
        self._range, self._seek_ns = (start_ns, end_ns), None
        self._clock = Clock(_valid(request.speed))
        view = View(self._outlet.view.msgpack, self._outlet.view.deflate, request.filters)
        self._outlet.answer(Replaying(id=request.id, start=start_ns, end=end_ns))
        self._task = asyncio.create_task(self._play(recording, view, request.id))

    async def _play(self, recording: Recording, view: View, id_: int | str | None) -> None:
        start_ns, end_ns = self._range
        numbers: Counter[str] = Counter()
        played = 0
        try:
            while True:
                stream = recording.events(start_ns, end_ns)
                self._clock.begin(start_ns)
                while self._seek_ns is None and (batch := await asyncio.to_thread(_read, stream)):
                    played += await self._send(batch, view, numbers)
                if self._seek_ns is None:
                    break
                start_ns, self._seek_ns = self._seek_ns, None
            self._outlet.answer(End(id=id_, events=played))
        except MdpError as error:
            self._outlet.answer(failure(error, id_))

    async def _send(self, batch: list[Played], view: View, numbers: Counter[str]) -> int:
        """Send what of `batch` comes before somebody seeks; how many events."""
        sent = 0
        for group in _groups(batch, self._clock):
            if not await self._clock.reach(group[0].at_ns, lambda: self._seek_ns is not None):
                break
            await self._outlet.room()
            channel = group[0].channel
            numbers[channel] += 1
            data = opened(encode([each.event for each in group]))[1]
            frame = view.events("data", channel, numbers[channel], data)
            if frame is not None:
                self._outlet.send(frame)
            sent += len(group)
        return sent


class Clock:
    """The replay's time: `speed` times as fast as ours, None without any wait."""

    def __init__(self, speed: float | None = 1.0) -> None:
        self.speed = speed
        self.is_paused = False
        self._changed = asyncio.Event()
        self._at_ns = 0
        self._since = 0.0

    def begin(self, at_ns: int) -> None:
        """It is `at_ns` now."""
        self._at_ns, self._since = at_ns, time.monotonic()

    def change(self) -> None:
        """Whoever waits looks again."""
        self._changed.set()

    @property
    def together_ns(self) -> int:
        """How far apart events may be that are sent together."""
        return int(_TOGETHER_S * 1e9 * self.speed) if self.speed else 1 << 62

    async def reach(self, at_ns: int, is_over: Callable[[], bool]) -> bool:
        """Wait until it is `at_ns`; false where it `is_over` before."""
        while not is_over():
            if not self.is_paused:
                wait_s = 0.0
                if self.speed is not None:
                    wait_s = self._since + (at_ns - self._at_ns) / 1e9 / self.speed - time.monotonic()
                if wait_s <= 0:
                    return True
            self._changed.clear()
            speed, was_paused = self.speed, self.is_paused
            try:
                async with asyncio.timeout(None if was_paused else wait_s):
                    await self._changed.wait()
            except TimeoutError:
                continue
            self._settle(speed, was_paused=was_paused)
        return False

    def _settle(self, speed: float | None, *, was_paused: bool) -> None:
        """Go on from the moment of a change."""
        now = time.monotonic()
        if not was_paused and speed is not None:
            self._at_ns += int((now - self._since) * 1e9 * speed)
        self._since = now


def _read(stream: Iterator[Played]) -> list[Played]:
    return list(islice(stream, _READ_AT_ONCE))


def _groups(batch: list[Played], clock: Clock) -> Iterator[list[Played]]:
    """Parts of `batch` that make one message each."""
    group: list[Played] = []
    for each in batch:
        if group and (
            each.channel != group[0].channel
            or len(group) == _EVENTS_A_MESSAGE
            or each.at_ns - group[0].at_ns > clock.together_ns
        ):
            yield group
            group = []
        group.append(each)
    if group:
        yield group


def _valid(speed: float | None) -> float | None:
    if speed is not None and not 0 < speed < float("inf"):
        raise InvalidParameter(f"speed must be a positive number, or null for as fast as it goes, was {speed}")
    return speed
