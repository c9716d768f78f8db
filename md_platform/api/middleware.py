"""Around every request: its trace and request id, a line in the log, protective headers, unforeseen errors."""

import re
import secrets
import time
from typing import Any

import structlog
from opentelemetry import trace
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from md_platform.api.problems import problem_of

_TRACEPARENT = re.compile(r"00-(?P<trace>(?!0{32})[0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,64}")
SECURITY_HEADERS = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "cross-origin-resource-policy": "same-origin",
}

log = structlog.get_logger(__name__)


class RequestScope:
    """The outermost middleware: `state.trace_id` and `state.request_id` for all below it.

    The trace is that of the W3C header `traceparent` where there is one.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request; anything else passes."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
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
                added.update({**SECURITY_HEADERS, "x-request-id": request_id, "x-trace-id": trace_id})
            elif message["type"] == "http.response.body":
                sent_bytes += len(message.get("body", b""))
            await send(message)

        with structlog.contextvars.bound_contextvars(trace_id=trace_id, request_id=request_id):
            try:
                await self._app(scope, receive, sending)
            except Exception as error:
                if status:
                    raise  # too late to answer: the server closes the connection
                await problem_of(error, scope["path"], trace_id)(scope, receive, sending)
            finally:
                ms = round((time.perf_counter() - began) * 1000, 2)
                log.info("request", method=scope["method"], path=scope["path"], status=status, bytes=sent_bytes, ms=ms)


def _trace_id(headers: Headers) -> str:
    current = trace.get_current_span().get_span_context()
    if current.is_valid:
        return f"{current.trace_id:032x}"
    given = _TRACEPARENT.fullmatch(headers.get("traceparent", ""))
    return given["trace"] if given else secrets.token_hex(16)


def _request_id(headers: Headers) -> str:
    given = headers.get("x-request-id", "")
    return given if _REQUEST_ID.fullmatch(given) else secrets.token_hex(8)
