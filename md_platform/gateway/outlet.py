"""Frames for one client in, its socket out: what is too much for it is conflated, or ends it, as it chose.

Nobody waits for a slow reader. What it has not read stays in its socket's buffer, which is bounded.
"""

import asyncio
import socket
from collections import Counter
from collections.abc import Callable

import picows

from md_platform.access.principal import Tier
from md_platform.gateway.frames import Frame, View
from md_platform.gateway.messages import Conflated, Failure, Gap, SlowPolicy, Told

BEHIND_BYTES = 256 << 10
"""Unsent bytes from which a client counts as slow."""

TOO_FAR_BYTES = 1 << 20
"""Unsent bytes at which one that wants everything is closed."""

_CAUGHT_UP_BYTES = 32 << 10
_UNSENT_IN_KERNEL_BYTES = 128 << 10
"""Beyond this we hold what is unsent: the kernel's own buffer grows to megabytes, in which data become old unseen."""
_LAST_WORDS_S = 30.0


class Outlet(picows.WSListener):
    """The sending half of a connection. There are ten thousand of them: slots keep each in one place of memory."""

    __slots__ = (
        "_caught_up",
        "_in_second",
        "_is_behind",
        "_is_free",
        "_is_held",
        "_left_out",
        "_newest",
        "_per_s",
        "_second",
        "_transport",
        "_write",
        "closed_for",
        "sent",
        "skipped",
        "slow",
        "view",
    )

    def __init__(self, view: View, slow: SlowPolicy) -> None:
        super().__init__()
        self.view = view
        self.slow: SlowPolicy = slow
        self.sent = 0
        self.skipped = 0
        self.closed_for = ""
        self._transport: picows.WSTransport | None = None
        self._write: Callable[..., None] = _nowhere
        self._is_free = False
        self._is_behind = False
        self._is_held = False
        self._newest: dict[str, Frame] = {}
        self._left_out: Counter[str] = Counter()
        self._caught_up: asyncio.Event | None = None
        self._per_s: int | None = None
        self._in_second = 0
        self._second = 0

    def on_ws_connected(self, transport: picows.WSTransport) -> None:
        """Called by picows."""
        self._transport, self._write = transport, transport.send
        self._is_free = True
        underlying = transport.underlying_transport
        underlying.set_write_buffer_limits(BEHIND_BYTES, _CAUGHT_UP_BYTES)
        underlying.get_extra_info("socket").setsockopt(
            socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _UNSENT_IN_KERNEL_BYTES
        )

    def on_ws_disconnected(self, transport: picows.WSTransport) -> None:  # noqa: ARG002 - picows' signature
        """Called by picows."""
        self.closed_for = self.closed_for or "client"
        self._write, self._is_free = _nowhere, False
        if self._caught_up is not None:
            self._caught_up.set()

    def pause_writing(self) -> None:
        """Called by asyncio: BEHIND_BYTES are unsent."""
        self._is_behind, self._is_free = True, False

    def resume_writing(self) -> None:
        """Called by asyncio: nearly all is sent."""
        self._is_behind = False
        self._settle()
        if self._caught_up is not None:
            self._caught_up.set()
        self._send_held()

    def limit(self, tier: Tier) -> None:
        """From now on at most what `tier` allows."""
        self._per_s = tier.messages_per_s
        self._settle()

    def take(self, channel: str, frame: Frame) -> None:
        """Send data, or what the client chose for when that is too much."""
        if self._is_free:  # most of them, most of the time: this is what a send costs
            self.sent += 1
            self._write(*frame)
        elif self._is_behind or self._is_held:
            self._behind(channel, frame)
        elif self._is_allowed():
            self.send(frame)
        else:
            self._over(channel, frame)

    def send(self, frame: Frame) -> None:
        """Send without asking whether it is too much: the caller waits for `room`."""
        self.sent += 1
        self._write(*frame)

    def told(self, gap: Gap) -> None:
        """Say that data will not come."""
        self.answer(gap)

    def answer(self, told: Told) -> None:
        """Send what is not data; a client that does not even read this is ended."""
        frame = self.view.answer(told)
        if self._transport is not None and not self.closed_for:
            self._write(*frame)
            if self._is_behind and self._unsent() > TOO_FAR_BYTES:
                self.end("too_slow", "you read too slowly")

    async def room(self) -> None:
        """Wait until the client has read most of what it was sent, and may be sent more by its tier."""
        while self._is_behind and not self.closed_for:
            self._caught_up = self._caught_up or asyncio.Event()
            self._caught_up.clear()
            await self._caught_up.wait()
        while self._per_s is not None and not self._is_allowed():  # noqa: ASYNC110 - for the next second
            await asyncio.sleep(1.0 - asyncio.get_running_loop().time() % 1.0)

    def end(self, code: str, reason: str, close: picows.WSCloseCode = picows.WSCloseCode.POLICY_VIOLATION) -> None:
        """Say why, and close: the socket when the client has answered, as one that is closed before may lose it all."""
        if self.closed_for or self._transport is None:
            return
        frame = self.view.answer(Failure(code=code, message=reason))
        self._write(*frame)
        self.closed_for = code
        self._is_free = False
        self._newest.clear()
        self._transport.send_close(close, code)
        self._write = _nowhere
        asyncio.get_running_loop().call_later(_LAST_WORDS_S, self._transport.disconnect, False)
        if self._caught_up is not None:
            self._caught_up.set()

    def _behind(self, channel: str, frame: Frame) -> None:
        if self.closed_for or self._transport is None:
            return
        if self.slow == "conflate":
            self._hold(channel, frame)
        elif self._unsent() > TOO_FAR_BYTES:
            self.end("too_slow", f"you read too slowly: {TOO_FAR_BYTES >> 10} KiB wait to be sent")
        else:
            self.send(frame)

    def _settle(self) -> None:
        is_open = self._transport is not None and not self.closed_for
        self._is_free = is_open and not (self._is_behind or self._is_held) and self._per_s is None

    def _is_allowed(self) -> bool:
        if self.closed_for:
            return True  # nothing is sent any more, and nothing is to be said
        now = int(asyncio.get_running_loop().time())
        if now != self._second:
            self._second, self._in_second = now, 0
        self._in_second += 1
        return self._in_second <= (self._per_s or 0)

    def _over(self, channel: str, frame: Frame) -> None:
        """More than the tier allows in this second."""
        reason = f"your tier allows {self._per_s} messages a second"
        if self.slow == "close":
            self.end("too_many_messages", f"{reason}: subscribe to less, or configure slow as conflate")
            return
        self.answer(Failure(code="too_many_messages", message=f"{reason}: you get the newest of each channel"))
        loop = asyncio.get_running_loop()
        self._is_held, self._is_free = True, False
        loop.call_at(int(loop.time()) + 1.0, self._release)
        self._hold(channel, frame)

    def _release(self) -> None:
        self._is_held = False
        self._settle()
        self._send_held()

    def _hold(self, channel: str, frame: Frame) -> None:
        if channel in self._newest:
            self._left_out[channel] += 1
            self.skipped += 1
        self._newest[channel] = frame

    def _send_held(self) -> None:
        if self._is_behind or self._is_held or self.closed_for:
            return
        held, self._newest = self._newest, {}
        left_out, self._left_out = self._left_out, Counter()
        for channel, frame in held.items():
            if left_out[channel]:
                self.answer(Conflated(channel=channel, skipped=left_out[channel]))
            self.take(channel, frame)

    def _unsent(self) -> int:
        return self._transport.underlying_transport.get_write_buffer_size() if self._transport else 0


def _nowhere(*_: object) -> None:
    """Where what is sent goes before there is a connection, and after."""
