"""A link over a WebSocket: the frames of each read of the socket in, handed over together."""

import asyncio
import ssl
import time
from collections.abc import Callable, Sequence

import picows

from md_platform.venues.feeds import Feed, Subscription
from streaming.connection import Connection
from streaming.link import Link

_CONNECT_TIMEOUT_S = 5.0
_AT_ONCE = 256
"""Frames that are handed over together at most: what is made of them stays in the processor's cache."""
_TEXT = picows.WSMsgType.TEXT
_PARTS = (_TEXT, picows.WSMsgType.BINARY, picows.WSMsgType.CONTINUATION)

Address = Callable[[str, Feed, str, Sequence[Subscription]], str]
"""Where to connect, from the venue, its feed, one of the feed's addresses and what is subscribed to."""


class SocketLink(Link, picows.WSListener):
    """One socket from connect to disconnect."""

    def __init__(self, connection: Connection, url: str, address: Address, ssl_context: ssl.SSLContext | None) -> None:
        Link.__init__(self, connection, url)
        self._address = address
        self._ssl_context = ssl_context
        self._transport: picows.WSTransport | None = None
        self._frames: list[bytes] = []
        self._fragments: list[bytes] = []
        self._sent_at = time.monotonic()

    async def open(self) -> None:
        """Connect, and send what subscribes."""
        connection = self.connection
        address = await asyncio.to_thread(
            self._address, connection.venue, connection.feed, self.url, connection.subscriptions
        )
        try:
            await picows.ws_connect(
                lambda: self,
                address,
                ssl_context=self._ssl_context,
                websocket_handshake_timeout=_CONNECT_TIMEOUT_S,
                enable_auto_ping=True,
                auto_ping_idle_timeout=10,
                auto_ping_reply_timeout=10,
                max_frame_size=64 * 1024 * 1024,
            )
        except picows.WSError as error:
            raise ConnectionError(str(error) or type(error).__name__) from error
        for frame in self.session.opening():
            await connection.pacer.message()
            self.send(frame)

    def on_ws_connected(self, transport: picows.WSTransport) -> None:
        """Called by picows."""
        self._transport = transport
        self.connected_ns = self.last_ns = time.time_ns()

    def on_ws_disconnected(self, transport: picows.WSTransport) -> None:  # noqa: ARG002 - picows' signature
        """Called by picows."""
        self._hand_over()
        self.end("the venue hung up")

    def on_ws_frame(self, transport: picows.WSTransport, frame: picows.WSFrame) -> None:
        """Collect the frames of one read of the socket, then hand them over together."""
        kind = frame.msg_type
        if kind is _TEXT and frame.fin:  # nearly all of them
            self._frames.append(frame.get_payload_as_bytes())
        elif kind in _PARTS:
            self._fragments.append(frame.get_payload_as_bytes())
            if frame.fin:
                self._frames.append(b"".join(self._fragments))
                self._fragments.clear()
        elif kind == picows.WSMsgType.CLOSE:
            transport.send_close(frame.get_close_code())
            transport.disconnect()
        if frame.last_in_buffer or len(self._frames) >= _AT_ONCE:
            self._hand_over()

    def _hand_over(self) -> None:
        if self._frames:
            frames, self._frames = self._frames, []
            self.received(frames, time.time_ns())

    def send(self, frame: bytes | str) -> None:
        """Send one text message."""
        if self._transport is not None and not self._transport.is_disconnected:
            self.connection.intake.sent(self, frame)
            self._transport.send(picows.WSMsgType.TEXT, frame.encode() if isinstance(frame, str) else frame)
            self._sent_at = time.monotonic()

    async def close(self) -> None:
        """Hang up."""
        if self._transport is not None:
            self._transport.disconnect()

    def pause(self) -> None:
        """Read nothing more: the venue's socket fills, and it waits."""
        if self._transport is not None and not self._transport.is_disconnected:
            self._transport.underlying_transport.pause_reading()

    def resume(self) -> None:
        """Read again what has waited."""
        super().resume()
        if self._transport is not None and not self._transport.is_disconnected:
            self._transport.underlying_transport.resume_reading()

    def ping_if_idle(self) -> None:
        """The venue's own ping, where it wants one."""
        feed = self.connection.feed
        if feed.ping is not None and time.monotonic() - self._sent_at >= feed.ping_after_s:
            self.send(feed.ping())


def sockets(address: Address, ssl_context: ssl.SSLContext | None = None) -> Callable[[Connection, str], Link]:
    """What opens a connection's links as sockets."""
    return lambda connection, url: SocketLink(connection, url, address, ssl_context)
