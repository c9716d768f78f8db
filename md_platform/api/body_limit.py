"""Bodies of requests in, no more of them out than the limit: FastAPI's own limit does not answer with a problem."""

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send


class BodyLimit:
    """Middleware: reading a body of more than `max_bytes` gives status 413, at once where its length is declared."""

    def __init__(self, app: ASGIApp, max_bytes: int) -> None:
        self._app = app
        self._max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request, watching its body."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        declared = Headers(scope=scope).get("content-length", "")
        expected = int(declared) if declared.isdecimal() else 0
        read = 0

        async def receiving() -> Message:
            nonlocal read
            message = {} if expected > self._max_bytes else await receive()
            read += len(message.get("body", b""))
            if max(read, expected) > self._max_bytes:
                raise HTTPException(413, f"the body may have {self._max_bytes:,} bytes: send it in parts")
            return message

        await self._app(scope, receiving, send)
