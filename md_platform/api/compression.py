"""Answers in, the same compressed out: zstd or gzip as the client accepts, whole or as they come.

Small answers pass as they are. What is large is compressed in a thread, so that other requests go on.
"""

import asyncio
import zlib
from typing import Protocol

import zstandard
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LEAST_BYTES = 1_024
_THREAD_BYTES = 128 * 1_024
_COMPRESSED = ("text/", *(f"application/{kind}" for kind in ("json", "x-ndjson", "problem+json", "vnd.apache.arrow")))
_GZIP_WINDOW = 31  # zlib's largest window, with a gzip header


class Compressor(Protocol):
    """Parts in, compressed parts out."""

    def compress(self, data: bytes, /) -> bytes:
        """What is ready of it."""

    def flush(self) -> bytes:
        """The rest, and the end."""


class Compression:
    """Middleware. Entity tags get the coding as a suffix, since other bytes need another strong tag."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Compress the answer where the client accepts that."""
        coding = accepted_coding(Headers(scope=scope).get("accept-encoding", "")) if scope["type"] == "http" else None
        if coding is None:
            await self._app(scope, receive, send)
            return
        await self._app(scope, receive, _Encoding(coding, send).send)


class _Encoding:
    """One answer on its way."""

    def __init__(self, coding: str, send: Send) -> None:
        self._coding = coding
        self._send = send
        self._start: Message | None = None
        self._compressor: Compressor | None = None

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._start = message  # kept back until it is known how long the answer is
            return
        body, more = message.get("body", b""), message.get("more_body", False)
        if self._start is not None:
            start, self._start = self._start, None
            headers = MutableHeaders(scope=start)
            headers.add_vary_header("Accept-Encoding")
            if _is_worth_it(headers, body, more=more):
                self._compressor = _compressor(self._coding)
                body = await self._compressed(body, more=more)
                headers["content-encoding"] = self._coding
                if "etag" in headers:
                    headers["etag"] = f'{headers["etag"][:-1]}+{self._coding}"'
                if more:
                    del headers["content-length"]
                else:
                    headers["content-length"] = str(len(body))
            await self._send(start)
        elif self._compressor is not None:
            body = await self._compressed(body, more=more)
        await self._send({"type": "http.response.body", "body": body, "more_body": more})

    async def _compressed(self, body: bytes, *, more: bool) -> bytes:
        if len(body) > _THREAD_BYTES:
            return await asyncio.to_thread(self._compress, body, more)
        return self._compress(body, more)

    def _compress(self, body: bytes, more: bool) -> bytes:  # noqa: FBT001 - as ASGI names it
        if self._compressor is None:
            return body
        compressed = self._compressor.compress(body)
        return compressed if more else compressed + self._compressor.flush()


def accepted_coding(accept: str) -> str | None:
    """The best of our codings that an Accept-Encoding header allows; None for as it is."""
    allowed = {}
    for part in accept.lower().split(","):
        coding, _, parameters = part.strip().partition(";")
        allowed[coding.strip()] = parameters.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return next((coding for coding in ("zstd", "gzip") if allowed.get(coding)), None)


def _is_worth_it(headers: MutableHeaders, body: bytes, *, more: bool) -> bool:
    is_text = headers.get("content-type", "").startswith(_COMPRESSED)
    is_ranged = "accept-ranges" in headers  # its ranges are about the bytes as they are
    return is_text and not is_ranged and "content-encoding" not in headers and (more or len(body) >= LEAST_BYTES)


def _compressor(coding: str) -> Compressor:
    if coding == "zstd":
        return zstandard.ZstdCompressor(level=1).compressobj()
    return zlib.compressobj(1, zlib.DEFLATED, _GZIP_WINDOW)
