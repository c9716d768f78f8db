"""Messages in; records of Kafka topics out.

`market_data_feed` has trades, quotes, books and bars, `data_quality_events` what happens to feeds and what was not
accepted, `price_alerts` what alert rules fired. A record's key is its channel, which so stays in order.
"""

from collections.abc import Sequence
from uuid import UUID

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from md_platform.domain.wire import ALERTS, EVENTS, QUARANTINE
from md_platform.storage.spool import EVERY_CHANNEL
from streaming.delivery import Numbered
from streaming.packets import Packet, send_in_order
from streaming.sink_url import SinkUrl

MARKET_DATA = "market_data_feed"
_TOPICS = {EVENTS: "data_quality_events", QUARANTINE: "data_quality_events", ALERTS: "price_alerts"}
"""Of channels whose topic is another."""


class KafkaSink:
    """`kafka://[user:password@]host:9092[,host:9092]`; `kafka+ssl://` speaks TLS."""

    wanted = EVERY_CHANNEL
    slowest_retry_s = 5.0
    failures = (KafkaError,)

    def __init__(self, url: SinkUrl) -> None:
        self.name = url.name
        self._url = url
        self._spool = ""
        self._producer: AIOKafkaProducer | None = None

    async def open(self, spool: UUID) -> None:
        """Connect; brokers that wait for all replicas make the record safe before they say so."""
        self._spool = str(spool)
        tls = "SSL" if self._url.scheme == "kafka+ssl" else "PLAINTEXT"
        self._producer = AIOKafkaProducer(
            bootstrap_servers=list(self._url.hosts),
            acks="all",
            request_timeout_ms=5_000,
            security_protocol=f"SASL_{tls}" if self._url.user else tls,
            sasl_plain_username=self._url.user,
            sasl_plain_password=self._url.password,
        )
        await self._producer.start()

    async def send(self, messages: Sequence[Numbered]) -> None:
        """Produce, each channel in order."""
        await send_in_order(messages, self._publish)

    async def _publish(self, packet: Packet) -> None:
        assert self._producer is not None  # noqa: S101 - open comes first
        await self._producer.send_and_wait(
            _TOPICS.get(packet.channel, MARKET_DATA),
            packet.payload,
            key=packet.channel.encode(),
            headers=[("md-id", f"{self._spool}:{packet.number}".encode())],
        )

    async def close(self) -> None:
        """Stop; what is not acknowledged expires with the request timeout."""
        if self._producer is not None:
            producer, self._producer = self._producer, None
            await producer.stop()
