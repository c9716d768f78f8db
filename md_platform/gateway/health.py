"""What the gateway says of itself: /healthz, /readyz and /metrics (Prometheus text)."""

import json
from collections import Counter
from collections.abc import Callable, Collection, Iterable

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from md_platform.gateway.hub import Hub
from md_platform.gateway.outlet import Outlet

_JSON, _TEXT = "application/json", "text/plain; version=0.0.4"


class GatewayHealth(Collector):
    """Reads the parts of the process when asked; they do nothing for it but count."""

    def __init__(self, hub: Hub, sessions: Collection[Outlet]) -> None:
        self._hub = hub
        self._sessions = sessions
        self._registry = CollectorRegistry()
        self._registry.register(self)
        self._sent = self._skipped = 0
        self._ended: Counter[str] = Counter()
        self._answers: dict[str, Callable[[], tuple[int, bytes, str]]] = {
            "/healthz": lambda: (200, b'{"status":"ok"}', _JSON),
            "/readyz": self._ready,
            "/metrics": lambda: (200, generate_latest(self._registry), _TEXT),
        }

    def answer(self, path: str) -> tuple[int, bytes, str] | None:
        """Status, body and content type of what `path` asks for; None where that is not health."""
        answer = self._answers.get(path)
        return None if answer is None else answer()

    def ended(self, session: Outlet) -> None:
        """Count what a connection did that is over."""
        self._sent += session.sent
        self._skipped += session.skipped
        self._ended[session.closed_for] += 1

    def _ready(self) -> tuple[int, bytes, str]:
        is_up = self._hub.is_up
        problem = {} if is_up else {"problem": self._hub.problem}
        body = json.dumps({"ready": is_up, "dependencies": {"redis": {"ok": is_up, **problem}}}).encode()
        return (200 if is_up else 503), body, _JSON

    def collect(self) -> Iterable[Metric]:
        """Metrics as they stand."""
        yield GaugeMetricFamily("md_gateway_connections", "Clients", value=len(self._sessions))
        yield GaugeMetricFamily("md_gateway_channels", "Channels that anybody gets", value=len(self._hub.channels))
        yield GaugeMetricFamily("md_gateway_redis_up", "Whether Redis is there", value=float(self._hub.is_up))
        received = CounterMetricFamily("md_gateway_received", "Messages from Redis", labels=["kind"])
        for kind, count in self._hub.received.items():
            received.add_metric([kind], count)
        yield received
        sent = self._sent + sum(session.sent for session in self._sessions)
        skipped = self._skipped + sum(session.skipped for session in self._sessions)
        yield CounterMetricFamily("md_gateway_sent", "Messages to clients", value=sent)
        yield CounterMetricFamily("md_gateway_skipped", "Messages conflated for slow clients", value=skipped)
        ended = CounterMetricFamily("md_gateway_ended", "Connections that are over", labels=["reason"])
        for reason, count in self._ended.items():
            ended.add_metric([reason], count)
        yield ended
        lags = GaugeMetricFamily(
            "md_gateway_lag_ms", "From our receipt of a trade to its being sent", labels=["percentile"]
        )
        ordered = sorted(self._hub.lags_ms)
        for percent in (50, 99) if ordered else ():
            lags.add_metric([f"p{percent}"], ordered[len(ordered) * percent // 100])
        yield lags
