"""Addresses in; the deliveries to Redis and to every optional sink out. Clients that are not used are not imported."""

from collections.abc import Sequence

from md_platform.errors import InvalidSetting
from md_platform.storage.spool import Spool
from streaming.delivery import Delivery, Sink
from streaming.redis_script import Fence
from streaming.redis_sink import RedisSink
from streaming.sink_url import SinkUrl


def deliveries(
    redis_url: str | None, urls: Sequence[SinkUrl], spool: Spool, fence: Fence | None = None
) -> list[Delivery]:
    """One delivery a sink, that to Redis behind `fence`; from now on `spool` waits for these and no others."""
    sinks: list[Sink] = [RedisSink(redis_url, fence)] if redis_url else []
    sinks += map(sink_of, urls)
    spool.keep_for({sink.name: sink.wanted for sink in sinks})
    return [Delivery(sink, spool.path) for sink in sinks]


def sink_of(url: SinkUrl) -> Sink:
    """The sink that speaks `url`'s scheme; InvalidSetting where there is none, or its client is not installed."""
    try:
        match url.scheme:
            case "kafka" | "kafka+ssl":
                from streaming.kafka_sink import KafkaSink  # noqa: PLC0415 - an extra

                return KafkaSink(url)
            case "nats" | "tls":
                from streaming.nats_sink import NatsSink  # noqa: PLC0415 - an extra

                return NatsSink(url)
            case "amqp" | "amqps":
                from streaming.rabbit_sink import RabbitSink  # noqa: PLC0415 - an extra

                return RabbitSink(url)
            case "http" | "https":
                from streaming.webhook_sink import WebhookSink  # noqa: PLC0415 - used by few

                return WebhookSink(url)
    except ModuleNotFoundError as error:
        raise InvalidSetting(
            f"MDP_SINKS: {url.name} needs the package {error.name}: pip install 'md-platform[sinks]'"
        ) from error
    raise InvalidSetting(
        f"MDP_SINKS: schemes are kafka, kafka+ssl, nats, tls, amqp, amqps, http and https, was {url.scheme!r}"
    )
