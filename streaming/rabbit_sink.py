"""Messages in; persistent messages on a topic exchange of RabbitMQ out, routed as `md.trades.binance.BTC-USDT`.

Who wants them binds a queue of its own to the exchange; what no queue is bound for is dropped there, as AMQP has it.
"""

from collections.abc import Sequence
from uuid import UUID

import aio_pika
from aio_pika.abc import AbstractConnection, AbstractExchange
from aio_pika.exceptions import AMQPError, ChannelInvalidStateError

from md_platform.storage.spool import EVERY_CHANNEL
from streaming.delivery import Numbered
from streaming.packets import Packet, send_in_order
from streaming.sink_url import SinkUrl

EXCHANGE = "market_data"


class RabbitSink:
    """`amqp://[user:password@]host:5672[/vhost]`; `amqps://` speaks TLS."""

    wanted = EVERY_CHANNEL
    slowest_retry_s = 5.0
    failures = (AMQPError, ChannelInvalidStateError)

    def __init__(self, url: SinkUrl) -> None:
        self.name = url.name
        self._url = url
        self._spool = ""
        self._connection: AbstractConnection | None = None
        self._exchange: AbstractExchange | None = None

    async def open(self, spool: UUID) -> None:
        """Connect; the channel confirms each message when it is safe in all queues."""
        self._spool = str(spool)
        self._connection = await aio_pika.connect(self._url.whole, timeout=5)
        channel = await self._connection.channel(publisher_confirms=True)
        self._exchange = await channel.declare_exchange(EXCHANGE, aio_pika.ExchangeType.TOPIC, durable=True)

    async def send(self, messages: Sequence[Numbered]) -> None:
        """Publish, each channel in order."""
        await send_in_order(messages, self._publish)

    async def _publish(self, packet: Packet) -> None:
        assert self._exchange is not None  # noqa: S101 - open comes first
        message = aio_pika.Message(
            packet.payload,
            message_id=f"{self._spool}:{packet.number}",
            headers={"md-channel": packet.channel},
            content_type="application/json",
            delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
        )
        await self._exchange.publish(message, packet.routing_key, mandatory=False)

    async def close(self) -> None:
        """Hang up."""
        if self._connection is not None:
            connection, self._connection = self._connection, None
            await connection.close()
