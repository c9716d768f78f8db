"""Spans out to an OpenTelemetry collector, where one is configured: FastAPI makes those of requests, we of queries."""

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor


def send_to(url: str, service: str = "md-platform-api") -> None:
    """Send the spans of this process to the collector at `url` (OTLP by HTTP), in batches; dropped when it is away."""
    provider = TracerProvider(resource=Resource.create({"service.name": service}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=f"{url.rstrip('/')}/v1/traces")))
    trace.set_tracer_provider(provider)


def finish() -> None:
    """Send what waits: a signal ends the process before the library would."""
    provider = trace.get_tracer_provider()
    if isinstance(provider, TracerProvider):
        provider.shutdown()
