"""What the process counts, out at /metrics as Prometheus text; of all workers where there are several.

Others count by prometheus-client's own registry too: what they name is here without more.
"""

import os
from typing import Annotated

from fastapi import APIRouter, Response
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    REGISTRY,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector

from md_platform.access.principal import Principal
from md_platform.api.dependencies import StoresOf, reader

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

REQUESTS = Counter("md_api_requests", "Requests answered", ["method", "route", "status"])
SECONDS = Histogram("md_api_request_seconds", "Until the last byte was sent", ["method", "route"], buckets=_SECONDS)
SENT_BYTES = Counter("md_api_sent_bytes", "Bytes of bodies, as sent", ["route"])
IN_FLIGHT = Gauge("md_api_in_flight", "Requests being answered", multiprocess_mode="livesum")
AUDIT_DROPPED = Gauge("md_api_audit_dropped", "Accesses not audited for want of room", multiprocess_mode="livesum")

router = APIRouter(tags=["health"])


@router.get(
    "/metrics",
    response_class=Response,
    responses={200: {"description": "Prometheus text", "content": {"text/plain": {"schema": {"type": "string"}}}}},
)
def metrics(stores: StoresOf, _who: Annotated[Principal, reader("metrics")]) -> Response:
    """Requests, errors and durations by route, caches, stores."""
    AUDIT_DROPPED.set(stores.audit.dropped)
    registry = REGISTRY
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call] # prometheus-client's
    return Response(generate_latest(registry), headers={"content-type": CONTENT_TYPE_LATEST})
