"""Answers that say what went wrong in (RFC 9457), the platform's own errors out: the types that the server raised."""

from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import Any

import msgspec

from md_platform import errors
from md_platform.errors import MdpError


class Problem(msgspec.Struct):
    """What a problem says that matters here."""

    type: str = ""
    detail: str = ""
    trace_id: str = ""


_PREFIX = "urn:md-platform:"
_BY_STATUS: Mapping[int, type[MdpError]] = {
    401: errors.NotAuthenticated,
    403: errors.Forbidden,
    404: errors.NotFound,
    406: errors.NotAcceptable,
    413: errors.TooLarge,
    429: errors.TooManyRequests,
    502: errors.PlatformUnavailable,
    503: errors.PlatformUnavailable,
    504: errors.PlatformUnavailable,
}
"""Where the answer is no problem of the platform's, as those of a proxy."""


def error_of(status: int, content: bytes, headers: Mapping[str, str]) -> MdpError:
    """The error that an answer with this status stands for."""
    try:
        problem = msgspec.json.decode(content, type=Problem)
    except msgspec.MsgspecError:
        problem = Problem()
    kind = _types().get(problem.type.removeprefix(_PREFIX).replace("-", "")) or _type_of(status)
    message = problem.detail or f"the server answered {status} {_phrase(status)}"
    if problem.trace_id:
        message = f"{message} (trace {problem.trace_id})"
    return made(kind, message, _seconds(headers.get("retry-after")))


def error_named(code: str, message: str) -> MdpError:
    """The error that the gateway names as `unknown_instrument`."""
    return made(_types().get(code.replace("_", ""), errors.ServiceError), message, None)


def made(kind: type[MdpError], message: str, retry_after_s: float | None) -> MdpError:
    """An error of `kind`, which says when to try again where it can."""
    if issubclass(kind, errors.TooManyRequests):
        return kind(message, retry_after_s or 1.0)
    error = kind(message)
    if kind.retryable and retry_after_s is not None:
        error.retry_after_s = retry_after_s  # type: ignore[attr-defined]  # as TooManyRequests and RateLimited have it
    return error


def _type_of(status: int) -> type[MdpError]:
    """By the status alone."""
    if status in _BY_STATUS:
        return _BY_STATUS[status]
    return errors.ServiceError if status >= HTTPStatus.INTERNAL_SERVER_ERROR else errors.UserError


def _types(root: type[Any] = MdpError) -> dict[str, type[MdpError]]:
    """Every type of error by its name in lower case."""
    return {kind.__name__.lower(): kind for kind in _below(root)}


def _below(kind: type[MdpError]) -> Iterator[type[MdpError]]:
    for each in kind.__subclasses__():
        yield each
        yield from _below(each)


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""


def _seconds(text: str | None) -> float | None:
    """Retry-After in seconds; its other form, a date, is not used by the platform."""
    try:
        return None if text is None else max(float(text), 0.0)
    except ValueError:
        return None
