"""Live connections: sessions and the clock in, frames on sockets out, with the requested faults applied on the way.

One pump asks every session what is due, so that all connections share what is rendered for a span of time. Each
connection has a bounded queue and a writer of its own; a reader that falls behind is dropped, as venues do.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from itertools import count as counted
from typing import NamedTuple

from aiohttp import WSCloseCode, WSMsgType, web

from md_platform.sandbox.clock import SimulatedTime
from md_platform.sandbox.faults import ArmedFault, Faults, Kind, Marks, with_wrong_checksum
from md_platform.sandbox.frame_log import FrameLog
from md_platform.sandbox.live import Frame, Session

_LOG = logging.getLogger(__name__)
_TICK_S = 0.02
_MOST_AT_ONCE_US = 2_000_000
"""Simulated time rendered in one go: at speeds too high for this machine, streams lag instead of blocking the rest."""
_QUEUE = 20_000
_FRAME_FAULTS: tuple[Kind, ...] = (
    "gap",
    "late_trade",
    "malformed",
    "duplicate",
    "out_of_order",
    "bad_checksum",
    "slow",
)
_ONLY_ON: dict[Kind, str] = {"late_trade": "trades", "bad_checksum": "book"}


class Waiting(NamedTuple):
    """A frame's text in the queue of its connection, and the wall-clock time that sending it takes."""

    text: str
    delay_s: float = 0.0


class Connection:
    """One client: its session, what it has been sent, what faults hold back from it."""

    def __init__(
        self,
        number: int,
        socket: web.WebSocketResponse,
        session: Session,
        protocol: str,
        faults: Faults,
    ) -> None:
        self.number = number
        self.socket = socket
        self.session = session
        self.protocol = protocol
        self.transport: asyncio.Transport | None = None
        self.is_answering = False
        self.opened_us = self.last_us = 0
        self.cut_by: set[int] = set()
        self._faults = faults
        self._queue: asyncio.Queue[Waiting] = asyncio.Queue(_QUEUE)
        self._late: list[Frame] = []
        self._swapped: list[Frame] = []

    def deliver(self, frames: list[Frame], now_us: int) -> None:
        """Queue `frames` as the faults in force leave them; QueueFull when the client reads too slowly."""
        if self._faults.armed or self._late or self._swapped:
            frames = self._faulty(frames, now_us)
        for frame in frames:
            self._queue.put_nowait(Waiting(frame.text, frame.delay_s))

    def _faulty(self, frames: list[Frame], now_us: int) -> list[Frame]:
        ready = [frame for frame in self._late if frame.time_us <= now_us]
        self._late = [frame for frame in self._late if frame.time_us > now_us]
        sent: list[Frame] = []
        for frame in frames:
            sent.extend(self._hit(frame))
        return [*sent, *ready]

    def _hit(self, frame: Frame) -> list[Frame]:
        marks = Marks("live", self.protocol, frame.instrument, frame.channel)
        if self._faults.any(("stall",), marks, frame.time_us):
            return []
        kinds = _FRAME_FAULTS if frame.channel != "reply" else ()
        kinds = tuple(kind for kind in kinds if _ONLY_ON.get(kind, frame.channel) == frame.channel)
        armed = self._faults.striking(kinds, marks, frame.time_us)
        out: list[Frame] = []
        match armed.fault.kind if armed else None:
            case "gap":
                pass
            case "late_trade" if armed is not None:
                self._late.append(frame._replace(time_us=frame.time_us + int(armed.fault.delay_s * 1_000_000)))
            case "malformed":
                out = [frame._replace(text=frame.text[: len(frame.text) // 2])]
            case "duplicate":
                out = [frame, frame]
            case "bad_checksum":
                out = [frame._replace(text=with_wrong_checksum(frame.text))]
            case "slow" if armed is not None:
                out = [frame._replace(delay_s=armed.fault.delay_s)]
            case "out_of_order":
                self._swapped.append(frame)
                return []
            case _:
                out = [frame]
        waiting = [
            held for held in self._swapped if (held.channel, held.instrument) == (frame.channel, frame.instrument)
        ]
        if waiting and out:
            self._swapped = [held for held in self._swapped if held not in waiting]
            return [*out, *waiting]
        return out

    async def write(self, took: Callable[[str], None]) -> None:
        """Send what is queued, until cancelled or closed; `took` is told of each frame that the socket took."""
        with contextlib.suppress(ConnectionError):
            while not self.socket.closed:
                waiting = await self._queue.get()
                if waiting.delay_s:
                    await asyncio.sleep(waiting.delay_s)
                await self.socket.send_str(waiting.text)
                took(waiting.text)


class Connections:
    """All live connections and the pump that feeds them."""

    def __init__(self, clock: SimulatedTime, faults: Faults, frame_log: FrameLog | None = None) -> None:
        self._clock = clock
        self._faults = faults
        self._frame_log = frame_log
        self._numbers = counted(1)
        self.open: set[Connection] = set()

    async def pump(self) -> None:
        """Feed the connections until cancelled."""
        while True:
            await asyncio.sleep(_TICK_S)
            now_us = self._clock.now_us()
            for connection in list(self.open):
                self._cut(connection, now_us)
                if not connection.is_answering and not connection.socket.closed:
                    self._feed(connection, min(now_us, connection.last_us + _MOST_AT_ONCE_US))
                    await asyncio.sleep(0)

    async def converse(
        self, request: web.Request, protocol: str, session_at: Callable[[int], Session]
    ) -> web.WebSocketResponse:
        """Hold one client's connection until either side ends it."""
        socket = web.WebSocketResponse(
            heartbeat=20.0 if protocol == "binance" else None, max_msg_size=1 << 20, compress=False
        )
        await socket.prepare(request)
        now_us = self._clock.now_us()
        connection = Connection(next(self._numbers), socket, session_at(now_us), protocol, self._faults)
        connection.transport = request.transport
        connection.opened_us = connection.last_us = now_us
        connection.deliver(connection.session.open(now_us), now_us)
        self.open.add(connection)
        writer = asyncio.create_task(connection.write(lambda text: self._took(connection, text)))
        try:
            async for message in socket:
                if message.type is WSMsgType.TEXT:
                    await self._answer(connection, message.data)
        finally:
            self.open.discard(connection)
            writer.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await writer
        return socket

    async def close(self) -> None:
        """Say goodbye to everyone."""
        for connection in list(self.open):
            await connection.socket.close(code=WSCloseCode.GOING_AWAY)

    def _took(self, connection: Connection, text: str) -> None:
        if self._frame_log is not None:
            self._frame_log.took(self._clock.now_us(), connection.number, text)

    async def _answer(self, connection: Connection, text: str) -> None:
        """In a thread, as a snapshot of daily bars may take a second; the pump leaves the session alone meanwhile."""
        connection.is_answering = True
        now_us = self._clock.now_us()
        try:
            self._feed(connection, now_us)
            frames = await asyncio.to_thread(connection.session.receive, text, now_us)
            self._deliver(connection, frames, now_us)
        finally:
            connection.is_answering = False

    def _feed(self, connection: Connection, now_us: int) -> None:
        if now_us <= connection.last_us:
            return
        try:
            frames = connection.session.due(connection.last_us, now_us)
        except Exception:  # noqa: BLE001  one session's defect must not silence the others
            _LOG.exception("a session failed, its connection is dropped")
            self._drop(connection)
            return
        connection.last_us = now_us
        self._deliver(connection, frames, now_us)

    def _deliver(self, connection: Connection, frames: list[Frame], now_us: int) -> None:
        try:
            connection.deliver(frames, now_us)
        except asyncio.QueueFull:
            self._drop(connection)

    def _cut(self, connection: Connection, now_us: int) -> None:
        for armed in self._faults.armed:
            if (
                armed.fault.kind == "disconnect"
                and armed.number not in connection.cut_by
                and _due(armed, connection, now_us)
            ):
                connection.cut_by.add(armed.number)
                if not armed.strikes():
                    continue
                if armed.fault.close_code is None:
                    self._drop(connection)
                else:
                    task = asyncio.ensure_future(connection.socket.close(code=armed.fault.close_code))
                    task.add_done_callback(lambda done: done.exception())

    def _drop(self, connection: Connection) -> None:
        """Cut without a word, as networks do."""
        self.open.discard(connection)
        if connection.transport is not None:
            connection.transport.abort()


def _due(armed: ArmedFault, connection: Connection, now_us: int) -> bool:
    """Whether a disconnect has come to this connection: it began meanwhile, or lasts."""
    if armed.fault.protocol not in ("*", connection.protocol) or armed.fault.surface == "history":
        return False
    if connection.opened_us > armed.start_us:
        return now_us < armed.end_us
    return now_us >= armed.start_us
