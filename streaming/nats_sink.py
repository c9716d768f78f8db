"""Messages in; messages of NATS JetStream out, on subjects such as `md.trades.binance.BTC-USDT`.

JetStream drops what it has seen within its window, by `Nats-Msg-Id`. Where no stream takes these subjects yet, one is
made that keeps a day; one that is there stays as its operator made it.
"""

from collections.abc import Sequence
from uuid import UUID

import nats
from nats.aio.client import Client
from nats.errors import Error
from nats.js import JetStreamContext
from nats.js.api import StreamConfig
from nats.js.errors import NotFoundError

from md_platform.storage.spool import EVERY_CHANNEL
from streaming.delivery import Numbered
from streaming.packets import PACKET_BYTES, Packet, send_in_order
from streaming.sink_url import SinkUrl

STREAM = "market_data"
SUBJECTS = "md.>"
_KEPT_S = 86_400.0
_HEADERS_BYTES = 4_096


class NatsSink:
    """`nats://[user:password@ or token@]host:4222[,host:4222]`; `tls://` speaks TLS."""

    wanted = EVERY_CHANNEL
    slowest_retry_s = 5.0
    failures = (Error,)

    def __init__(self, url: SinkUrl) -> None:
        self.name = url.name
        self._url = url
        self._spool = ""
        self._at_most_bytes = PACKET_BYTES
        self._client: Client | None = None
        self._jetstream: JetStreamContext | None = None

    async def open(self, spool: UUID) -> None:
        """Connect, and see that a stream takes what is sent."""
        self._spool = str(spool)
        self._client = await nats.connect(
            [f"{self._url.scheme}://{host}" for host in self._url.hosts],
            user=self._url.user if self._url.password else None,
            password=self._url.password,
            token=None if self._url.password else self._url.user,
            allow_reconnect=False,  # the delivery does that, from where it was
            connect_timeout=5,
            error_cb=_nothing,
        )
        self._at_most_bytes = min(PACKET_BYTES, self._client.max_payload - _HEADERS_BYTES)
        self._jetstream = self._client.jetstream(timeout=5)
        try:
            await self._jetstream.find_stream_name_by_subject(SUBJECTS)
        except NotFoundError:
            await self._jetstream.add_stream(StreamConfig(name=STREAM, subjects=[SUBJECTS], max_age=_KEPT_S))

    async def send(self, messages: Sequence[Numbered]) -> None:
        """Publish, each channel in order."""
        await send_in_order(messages, self._publish, self._at_most_bytes)

    async def _publish(self, packet: Packet) -> None:
        assert self._jetstream is not None  # noqa: S101 - open comes first
        headers = {"Nats-Msg-Id": f"{self._spool}:{packet.number}", "md-channel": packet.channel}
        await self._jetstream.publish(packet.routing_key, packet.payload, headers=headers)

    async def close(self) -> None:
        """Hang up."""
        if self._client is not None:
            client, self._client = self._client, None
            await client.close()


async def _nothing(_: Exception) -> None:
    """Errors come out of `publish`."""
