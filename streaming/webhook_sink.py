"""Notices in (disconnects, gaps, repairs, halts); signed POST requests to a web address out, several notices in one.

The body is a message of the wire. `MDP-Signature` is `sha256=` and the HMAC-SHA256, in hex, of `MDP-Timestamp`, a full
stop and the body, by the secret that both sides know. A receiver that answers anything but 2xx gets it again, with the
same `MDP-Delivery`, and may by then get later notices in it too.
"""

import hashlib
import hmac
import time
from collections.abc import Sequence
from uuid import UUID

import httpx

from md_platform.domain.wire import EVENTS
from streaming.delivery import Numbered
from streaming.packets import Packet, send_in_order
from streaming.sink_url import SinkUrl

_BODY_BYTES = 64 * 1024


class WebhookSink:
    """`https://[user:password@]host/path#secret`: the part after # is the secret to sign with, and is never sent."""

    wanted = EVENTS
    slowest_retry_s = 60.0
    failures = (httpx.HTTPError,)

    def __init__(self, url: SinkUrl) -> None:
        self.name = url.name
        self._url = url
        self._spool = ""
        self._client: httpx.AsyncClient | None = None

    async def open(self, spool: UUID) -> None:
        """Nothing to connect to before there is something to say."""
        self._spool = str(spool)
        self._client = httpx.AsyncClient(timeout=10)

    async def send(self, messages: Sequence[Numbered]) -> None:
        """Post, one request after the other."""
        await send_in_order(messages, self._post, _BODY_BYTES)

    async def _post(self, packet: Packet) -> None:
        assert self._client is not None  # noqa: S101 - open comes first
        at = str(int(time.time()))
        headers = {
            "Content-Type": "application/json",
            "MDP-Delivery": f"{self._spool}:{packet.number}",
            "MDP-Timestamp": at,
        }
        if self._url.secret:
            headers["MDP-Signature"] = f"sha256={signature(self._url.secret, at, packet.payload)}"
        response = await self._client.post(self._url.whole, content=packet.payload, headers=headers)
        if not response.is_success:
            raise ConnectionError(f"answered {response.status_code}")

    async def close(self) -> None:
        """Let go of connections."""
        if self._client is not None:
            client, self._client = self._client, None
            await client.aclose()


def signature(secret: str, timestamp: str, body: bytes) -> str:
    """What a receiver computes too, and compares in constant time."""
    return hmac.new(secret.encode(), timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()
