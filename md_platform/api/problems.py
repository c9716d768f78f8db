"""Errors in, RFC 9457 problems out: `application/problem+json` with the request's trace id, never a traceback."""

import math
import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import orjson
import redis
import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.responses import Response

from md_platform import errors
from md_platform.telemetry import redact

MEDIA_TYPE = "application/problem+json"
STATUSES: Mapping[type[errors.MdpError], int] = {
    errors.UnknownInstrument: 404,
    errors.UnknownVenue: 404,
    errors.UnknownDataset: 404,
    errors.UnknownIndicator: 404,
    errors.NotFound: 404,
    errors.NotAcceptable: 406,
    errors.TooLarge: 413,
    errors.UserError: 422,
    errors.NotAuthenticated: 401,
    errors.Forbidden: 403,
    errors.TooManyRequests: 429,
    errors.SourceUnavailable: 503,
    errors.RateLimited: 503,
    errors.SourceError: 502,
    errors.StorageUnavailable: 503,
    errors.OrchestratorUnavailable: 503,
    errors.MdpError: 500,
}
"""HTTP status of each type of error, and of those below it."""
_TITLE_BREAKS = re.compile(r"(?<=[a-z])(?=[A-Z])")
_RETRY_AFTER_S = 1

log = structlog.get_logger(__name__)


class Problem(BaseModel):
    """What went wrong (RFC 9457)."""

    type: str = Field(examples=["urn:md-platform:unknown-instrument"], description="names the kind of problem")
    title: str = Field(examples=["unknown instrument"], description="the kind in words")
    status: int = Field(examples=[404], description="HTTP status")
    detail: str = Field(examples=["no instrument binance:NOPE: see /api/v1/instruments"], description="what happened")
    instance: str = Field(examples=["/api/v1/bars/binance:NOPE"], description="path of the request")
    trace_id: str = Field(examples=["0af7651916cd43dd8448eb211c80319c"], description="of the request, in every log")
    retryable: bool = Field(default=False, description="whether the same request may succeed later")
    errors: list[dict[str, Any]] = Field(default=[], description="what is wrong where, in a request of wrong shape")


RESPONSES: dict[int | str, dict[str, Any]] = {
    status: {
        "description": HTTPStatus(status).phrase,
        "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }
    for status in (400, 401, 403, 404, 406, 413, 415, 422, 429, 500, 502, 503)
}
"""What every route may answer besides, for OpenAPI."""


def install(app: FastAPI) -> None:
    """Have `app` answer errors as problems. Unforeseen exceptions are the outermost middleware's business."""
    app.add_exception_handler(errors.MdpError, _raised)
    app.add_exception_handler(redis.RedisError, _raised)
    app.add_exception_handler(RequestValidationError, _misshapen)
    app.add_exception_handler(HTTPException, _refused)


def status_of(error: errors.MdpError) -> int:
    """HTTP status of `error`: that of the nearest type in STATUSES."""
    return next(STATUSES[kind] for kind in type(error).__mro__ if kind in STATUSES)


def problem_of(error: Exception, instance: str, trace_id: str) -> Response:
    """The answer to `error`. What is not the request's own fault is logged, and told without the server's affairs."""
    if isinstance(error, redis.RedisError):
        error = errors.StorageUnavailable(f"Redis does not answer: {error}")
    if not isinstance(error, errors.MdpError):
        log.error("unforeseen error", path=instance, exc_info=error)
        return _problem(500, "internal-error", "an unforeseen error, see the trace id in the log", instance, trace_id)
    status = status_of(error)
    detail = redact(str(error))
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        log.warning("a request failed", error=type(error).__name__, reason=detail, path=instance)
        detail = (type(error).__doc__ or "").partition("\n")[0] or "see the trace id in the log"
    headers: dict[str, str] = {}
    if status == HTTPStatus.UNAUTHORIZED:
        headers["www-authenticate"] = 'Bearer realm="md-platform"'
    if error.retryable:
        after_s = getattr(error, "retry_after_s", None) or _RETRY_AFTER_S
        headers["retry-after"] = str(math.ceil(after_s))
    kind = _TITLE_BREAKS.sub("-", type(error).__name__).lower()
    return _problem(status, kind, detail, instance, trace_id, headers=headers, retryable=error.retryable)


def _problem(
    status: int,
    kind: str,
    detail: str,
    instance: str,
    trace_id: str,
    *,
    headers: Mapping[str, str] | None = None,
    retryable: bool = False,
    parts: list[dict[str, Any]] | None = None,
) -> Response:
    problem = Problem(
        type=f"urn:md-platform:{kind}",
        title=kind.replace("-", " "),
        status=status,
        detail=detail,
        instance=redact(instance),
        trace_id=trace_id,
        retryable=retryable,
        errors=parts or [],
    )
    content = orjson.dumps(problem.model_dump(exclude=set() if parts else {"errors"}))
    return Response(content, status, {"cache-control": "no-store", **(headers or {})}, MEDIA_TYPE)


def _raised(request: Request, error: Exception) -> Response:
    return problem_of(error, request.url.path, request.state.trace_id)


def _misshapen(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - what it is installed for
    # the values themselves are left out: they may be secrets in the wrong place
    parts = [
        {"at": ".".join(map(str, each["loc"])), "message": each["msg"], "type": each["type"]} for each in error.errors()
    ]
    detail = "; ".join(f"{part['at']}: {part['message']}" for part in parts[:3])
    return _problem(422, "invalid-request", detail, request.url.path, request.state.trace_id, parts=parts)


def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - what it is installed for
    kind = HTTPStatus(error.status_code).phrase.lower().replace(" ", "-")
    detail = str(error.detail) or HTTPStatus(error.status_code).description
    headers = dict(error.headers or {})
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED and (endpoint := request.scope.get("endpoint")):
        headers["allow"] = request.app.state.allowed[endpoint]  # Starlette's has those of one route of the path only
    return _problem(error.status_code, kind, detail, request.url.path, request.state.trace_id, headers=headers)
