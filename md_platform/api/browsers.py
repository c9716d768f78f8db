"""Requests of browsers in, refusals out: an open platform on loopback must not be a way in for any page of the web.

A page can make its own name point to 127.0.0.1 (DNS rebinding), and may send simple requests anywhere. So without
authentication the Host must be a loopback name, and what changes something must not come from a foreign page.
"""

from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from md_platform.access.binding import is_loopback
from md_platform.api.problems import problem_of
from md_platform.errors import Forbidden

_SAFE = ("GET", "HEAD", "OPTIONS")


class LocalOnly:
    """Middleware of an open platform; `cors_origins` are the foreign pages that are welcome."""

    def __init__(self, app: ASGIApp, cors_origins: tuple[str, ...]) -> None:
        self._app = app
        self._origins = cors_origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass what a local client may send."""
        if scope["type"] == "http" and (reason := self._refusal(scope["method"], Headers(scope=scope))):
            answer = problem_of(Forbidden(reason), scope["path"], scope["state"]["trace_id"])
            await answer(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _refusal(self, method: str, headers: Headers) -> str | None:
        if not is_loopback(_host(f"//{headers.get('host', '')}")):
            return "without authentication the Host must be a loopback name: set MDP_AUTH=required for others"
        origin = headers.get("origin")
        if method in _SAFE or origin is None or origin in self._origins or is_loopback(_host(origin)):
            return None
        return "this page may not change anything here: name its origin in MDP_API_CORS_ORIGINS"


def _host(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""
