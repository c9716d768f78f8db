"""What the live process says of itself: /healthz, /readyz and /metrics (Prometheus text) on loopback."""

import json
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from aiohttp import web
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from streaming.connection import Connection
from streaming.delivery import Delivery
from streaming.outbox import Outbox
from streaming.pipeline import Pipeline
from streaming.repair import Repair


class Health(Collector):
    """Reads the parts of the process when asked; they do nothing for it."""

    def __init__(
        self,
        pipeline: Pipeline,
        connections: Sequence[Connection],
        outbox: Outbox,
        repair: Repair,
        deliveries: Sequence[Delivery],
        spool: Path,
    ) -> None:
        self._pipeline = pipeline
        self._connections = connections
        self._outbox = outbox
        self._repair = repair
        self._deliveries = deliveries
        self._beat = spool.with_name("writer.beat")
        self._began = time.monotonic()

    def problems(self) -> list[str]:
        """What keeps the process from being ready."""
        away = [f"{connection.name} is not connected" for connection in self._connections if not connection.is_up]
        away += [f"{each.sink.name} is away" for each in self._deliveries if not each.is_up]
        if self._outbox.is_full:
            away.append("the spool takes nothing: feeds are held")
        return away

    def status(self) -> dict[str, Any]:
        """The same as JSON, for `mdp stream status`."""
        counts = self._pipeline.counts
        return {
            "uptime_s": round(time.monotonic() - self._began, 1),
            "problems": self.problems(),
            "connections": {
                each.name: {
                    "venue": each.venue,
                    "up": each.is_up,
                    "events": counts.received[each.name],
                    "reconnects": each.reconnects,
                    "instruments": len({subscription.instrument for subscription in each.subscriptions}),
                }
                for each in self._connections
            },
            "skew_ms": {venue: round(skew_ns / 1e6, 1) for venue, skew_ns in self._pipeline.skew_ns.items()},
            "lag_ms": self._lags(),
            "notices": dict(counts.kinds),
            "duplicates": counts.duplicates,
            "spooled": self._outbox.spooled,
            "dropped": dict(self._outbox.dropped),
            "published": {each.sink.name: each.sent for each in self._deliveries},
            "holes_left_open": self._repair.left_open,
            "writer": self._writer(),
        }

    def _lags(self) -> dict[str, dict[str, float]]:
        stages = {"spooled": self._outbox.lag, **{each.sink.name: each.lag for each in self._deliveries}}
        found = {stage: lag.percentiles_ms() for stage, lag in stages.items()}
        found["stored"] = (self._writer() or {}).get("lag_ms", {})
        return {stage: percentiles for stage, percentiles in found.items() if percentiles}

    def _writer(self) -> dict[str, Any] | None:
        """How far the database writer says that it is, and how many messages are before it."""
        try:
            told = dict(json.loads(self._beat.read_text()))
        except (OSError, ValueError):
            return None
        return {**told, "waiting_messages": max(0, self._outbox.last_id - told.get("row", 0))}

    def collect(self) -> Iterable[Metric]:
        """Metrics as they stand."""
        counts = self._pipeline.counts
        received = CounterMetricFamily("md_stream_events", "Events received", labels=["connection"])
        for name, count in counts.received.items():
            received.add_metric([name], count)
        kinds = CounterMetricFamily("md_stream_notices", "Notices, rejects and odd frames", labels=["kind"])
        for kind, count in counts.kinds.items():
            kinds.add_metric([kind], count)
        up = GaugeMetricFamily("md_stream_connection_up", "Whether a connection serves", labels=["connection"])
        reconnects = CounterMetricFamily("md_stream_reconnects", "Links lost", labels=["connection"])
        for connection in self._connections:
            up.add_metric([connection.name], float(connection.is_up))
            reconnects.add_metric([connection.name], connection.reconnects)
        skew = GaugeMetricFamily("md_stream_skew_seconds", "Our clock less the venue's, and delay", labels=["venue"])
        for venue, skew_ns in self._pipeline.skew_ns.items():
            skew.add_metric([venue], skew_ns / 1e9)
        dropped = CounterMetricFamily("md_stream_dropped", "Events given up for want of room", labels=["kind"])
        for dropped_kind, count in self._outbox.dropped.items():
            dropped.add_metric([dropped_kind], count)
        yield from (received, kinds, up, reconnects, skew, dropped)
        yield CounterMetricFamily("md_stream_duplicates", "Events that came before", value=counts.duplicates)
        yield CounterMetricFamily("md_stream_spooled", "Events on disk", value=self._outbox.spooled)
        yield CounterMetricFamily(
            "md_stream_holes_left_open", "Holes history did not fill", value=self._repair.left_open
        )
        yield GaugeMetricFamily("md_stream_uptime_seconds", "Age", value=time.monotonic() - self._began)
        lags = GaugeMetricFamily(
            "md_stream_lag_ms", "To the stage; stored: from the spool", labels=["stage", "percentile"]
        )
        for stage, percentiles in self._lags().items():
            for percentile, value in percentiles.items():
                lags.add_metric([stage, percentile], value)
        yield lags
        sent = CounterMetricFamily("md_stream_published", "Events that a sink has taken", labels=["sink"])
        sink_up = GaugeMetricFamily("md_stream_sink_up", "Whether a sink takes events as they come", labels=["sink"])
        behind = GaugeMetricFamily("md_stream_sink_behind", "Messages that a sink has yet to take", labels=["sink"])
        for each in self._deliveries:
            sent.add_metric([each.sink.name], each.sent)
            sink_up.add_metric([each.sink.name], float(each.is_up))
            behind.add_metric([each.sink.name], max(0, self._outbox.last_id - each.sent_id))
        yield from (sent, sink_up, behind)
        yield from self._of_writer()

    def _of_writer(self) -> Iterable[Metric]:
        """What the database writer tells, where there is one."""
        told = self._writer()
        if told is None:
            return
        yield CounterMetricFamily("md_stream_stored", "Rows stored since the writer began", value=told.get("stored", 0))
        yield GaugeMetricFamily("md_stream_store_behind", "Messages yet to be stored", value=told["waiting_messages"])
        quality = GaugeMetricFamily("md_stream_quality", "Score of the last minutes, at most 1", labels=["venue"])
        for venue, score in told.get("quality", {}).items():
            quality.add_metric([venue], score)
        yield quality


async def served(health: Health, routes: Iterable[web.RouteDef], port: int, host: str = "127.0.0.1") -> web.AppRunner:
    """Serve, with `routes` beside, until the runner's `cleanup`."""
    registry = CollectorRegistry()
    registry.register(health)

    async def alive(_: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def ready(_: web.Request) -> web.Response:
        problems = health.problems()
        return web.json_response({"ready": not problems, "problems": problems}, status=503 if problems else 200)

    async def status(_: web.Request) -> web.Response:
        return web.json_response(health.status())

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(body=generate_latest(registry), content_type="text/plain")

    app = web.Application()
    app.add_routes(
        [
            web.get("/healthz", alive),
            web.get("/readyz", ready),
            web.get("/status", status),
            web.get("/metrics", metrics),
            *routes,
        ]
    )
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, host, port).start()
    return runner
