"""Around every request: trace and request id, log and audit, metrics, protective headers, unforeseen errors."""

import datetime as dt
import re
import secrets
import time
from collections.abc import Mapping
from typing import Any

import structlog
from opentelemetry import trace
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from md_platform.access.audit import Access, Audit
from md_platform.access.rates import Allowance
from md_platform.api.metrics import IN_FLIGHT, REQUESTS, SECONDS, SENT_BYTES
from md_platform.api.problems import problem_of
from md_platform.telemetry import redact

_TRACEPARENT = re.compile(r"00-(?P<trace>(?!0{32})[0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,64}")
_QUIET = ("/healthz", "/readyz", "/metrics", "/", "/favicon.ico", "/web/{version}/{name}")
"""Asked every few seconds by machines, or nobody's data: neither logged nor audited unless they fail."""
_PROTECTION = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "cross-origin-resource-policy": "same-origin",
}
_ENCRYPTED = {"strict-transport-security": "max-age=31536000"}

log = structlog.get_logger(__name__)


class RequestScope:
    """The outermost middleware: `state.trace_id` and `state.request_id` for all below it.

    The trace is that of the W3C header `traceparent` where there is one. `templates` are those of the routes by
    endpoint: what is counted and audited must not have a name for each address.
    """

    def __init__(self, app: ASGIApp, audit: Audit, *, is_encrypted: bool, templates: Mapping[object, str]) -> None:
        self._app = app
        self._audit = audit
        self._protection = {**_PROTECTION, **(_ENCRYPTED if is_encrypted else {})}
        self._templates = templates

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request; anything else passes."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        at, began = dt.datetime.now(dt.UTC), time.perf_counter()
        headers = Headers(scope=scope)
        trace_id, request_id = _trace_id(headers), _request_id(headers)
        state: dict[str, Any] = scope.setdefault("state", {})
        state |= {"trace_id": trace_id, "request_id": request_id}
        status, sent_bytes = 0, 0

        async def sending(message: Message) -> None:
            nonlocal status, sent_bytes
            if message["type"] == "http.response.start":
                status = message["status"]
                added = MutableHeaders(scope=message)
                for name, value in self._protection.items():
                    added.setdefault(name, value)  # the page has a policy of its own
                added.update({"x-request-id": request_id, "x-trace-id": trace_id})
                added.update(_rate_headers(state.get("allowance")))
            elif message["type"] == "http.response.body":
                sent_bytes += len(message.get("body", b""))
            await send(message)

        with (
            structlog.contextvars.bound_contextvars(trace_id=trace_id, request_id=request_id),
            IN_FLIGHT.track_inprogress(),
        ):
            try:
                await self._app(scope, receive, sending)
            except Exception as error:
                if status:
                    raise  # too late to answer: the server closes the connection
                await problem_of(error, scope["path"], trace_id)(scope, receive, sending)
            finally:
                self._account(scope, at, time.perf_counter() - began, status, sent_bytes)

    def _account(self, scope: Scope, at: dt.datetime, seconds: float, status: int, sent_bytes: int) -> None:
        """Count, log and audit the request; `status` 0: the client went away before there was an answer."""
        method, state = scope["method"], scope["state"]
        route = self._templates.get(scope.get("endpoint"), "")
        REQUESTS.labels(method, route, status).inc()
        SECONDS.labels(method, route).observe(seconds)
        SENT_BYTES.labels(route).inc(sent_bytes)
        if route in _QUIET and status < 400:  # noqa: PLR2004 - client and server errors
            return
        principal = state.get("principal")
        access = Access(
            at=at,
            principal=principal and principal.name,
            address=scope["client"][0] if scope.get("client") else "",
            service="api",
            action=method,
            route=route,
            target=redact(scope["path"]),
            status=status,
            bytes=sent_bytes,
            ms=round(seconds * 1_000, 3),
            trace_id=state["trace_id"],
        )
        self._audit.record(access)
        log.info(
            "request",
            principal=access.principal,
            method=method,
            path=access.target,
            status=status,
            bytes=sent_bytes,
            ms=access.ms,
        )


def _rate_headers(allowance: Allowance | None) -> dict[str, str]:
    if allowance is None:
        return {}
    return {
        "ratelimit-limit": str(allowance.limit),
        "ratelimit-remaining": str(allowance.remaining),
        "ratelimit-reset": str(allowance.reset_s),
    }


def _trace_id(headers: Headers) -> str:
    current = trace.get_current_span().get_span_context()
    if current.is_valid:
        return f"{current.trace_id:032x}"
    given = _TRACEPARENT.fullmatch(headers.get("traceparent", ""))
    return given["trace"] if given else secrets.token_hex(16)


def _request_id(headers: Headers) -> str:
    given = headers.get("x-request-id", "")
    return given if _REQUEST_ID.fullmatch(given) else secrets.token_hex(8)
