"""One client: its frames in, decoded requests done one after the other, answers and data out."""

import asyncio
import datetime as dt
import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Protocol

import msgspec
import picows
import structlog

from md_platform.access.principal import ANONYMOUS, Principal
from md_platform.errors import Forbidden, MdpError, NotAuthenticated
from md_platform.gateway.frames import View, inflated
from md_platform.gateway.messages import (
    PROTOCOL,
    AnyRequest,
    Authenticate,
    Configure,
    Done,
    Failure,
    Ping,
    Pong,
    Replay,
    Subscribe,
    Unsubscribe,
    Welcome,
    failure,
)
from md_platform.gateway.outlet import Outlet

log = structlog.get_logger(__name__)

SCOPE = "live"
"""What a key with scopes must have among them."""

REQUEST_BYTES = 1 << 20
_REQUESTS_WAITING = 1_000
_AUTHENTICATE_WITHIN_S = 10.0
_decode_json = msgspec.json.Decoder(AnyRequest).decode
_decode_msgpack = msgspec.msgpack.Decoder(AnyRequest).decode

Authenticated = Callable[[str], Awaitable[Principal]]
"""Who a credential belongs to; NotAuthenticated, Forbidden."""


class Work(Protocol):
    """What the requests of a connection are about: live subscriptions, or a replay."""

    async def do(self, request: AnyRequest, principal: Principal) -> None:
        """Do it and answer; MdpError otherwise."""

    def close(self) -> None:
        """The client is gone."""


class Session(Outlet):
    """A connection from its first frame to its last. `principal` is None until it is known who asks."""

    __slots__ = (
        "_audited",
        "_authenticated",
        "_closed",
        "_expiry",
        "_fragments",
        "_is_deflated",
        "_requests",
        "_work",
        "_worker",
        "principal",
    )

    def __init__(
        self,
        view: View,
        work: Callable[["Session"], Work],
        authenticated: Authenticated,
        principal: Principal | None,
        credential: str | None,
        closed: Callable[["Session"], None],
        audited: Callable[["Session", str, str, int], None],
    ) -> None:
        super().__init__(view, "close")
        self.principal = principal
        self._work = work(self)
        self._authenticated = authenticated
        self._closed = closed
        self._audited = audited
        self._requests: deque[AnyRequest] = deque()
        self._worker: asyncio.Task[None] | None = None
        self._expiry: asyncio.TimerHandle | None = None
        self._fragments: list[bytes] = []
        self._is_deflated = False
        if credential is not None:
            self._requests.append(Authenticate(credential=credential))

    def on_ws_connected(self, transport: picows.WSTransport) -> None:
        """Called by picows."""
        super().on_ws_connected(transport)
        if self.principal is not None:
            self._known(self.principal)
        elif not self._requests:
            self._welcome()
        self._start()
        if self.principal is None:
            asyncio.get_running_loop().call_later(_AUTHENTICATE_WITHIN_S, self._require_known)

    def on_ws_disconnected(self, transport: picows.WSTransport) -> None:
        """Called by picows."""
        super().on_ws_disconnected(transport)
        if self._worker is not None:
            self._worker.cancel()
        if self._expiry is not None:
            self._expiry.cancel()
        self._work.close()
        self._closed(self)

    def on_ws_frame(self, transport: picows.WSTransport, frame: picows.WSFrame) -> None:
        """Take a frame, or the part of one."""
        kind = frame.msg_type
        if kind is picows.WSMsgType.CLOSE:
            if not self.closed_for:
                transport.send_close(frame.get_close_code())
            transport.disconnect()
        elif kind in (picows.WSMsgType.TEXT, picows.WSMsgType.BINARY, picows.WSMsgType.CONTINUATION):
            if kind is not picows.WSMsgType.CONTINUATION:
                self._is_deflated = frame.rsv1
            self._fragments.append(frame.get_payload_as_bytes())
            if sum(map(len, self._fragments)) > REQUEST_BYTES:
                self.end("too_large", f"a request has {REQUEST_BYTES} bytes at most")
            elif frame.fin:
                message, self._fragments = b"".join(self._fragments), []
                self._received(message)

    def degraded(self, told: msgspec.Struct) -> None:
        """Say how it stands with live data, to who is in."""
        if self.principal is not None:
            self.answer(told)  # type: ignore[arg-type]  # Degraded or Restored

    def _received(self, message: bytes) -> None:
        try:
            if self._is_deflated:
                message = inflated(message, REQUEST_BYTES)
            request = _decode_msgpack(message) if self.view.msgpack else _decode_json(message)
        except (msgspec.MsgspecError, ValueError) as error:
            self.answer(Failure(code="bad_request", message=str(error)))
            return
        if isinstance(request, Ping):
            self.answer(Pong(id=request.id, at=time.time_ns()))
        elif len(self._requests) >= _REQUESTS_WAITING:
            self.end("too_many_requests", f"{_REQUESTS_WAITING} requests wait already: wait for answers")
        else:
            self._requests.append(request)
            self._start()

    def _start(self) -> None:
        if self._requests and (self._worker is None or self._worker.done()):
            self._worker = asyncio.create_task(self._do_all())

    async def _do_all(self) -> None:
        while self._requests and not self.closed_for:
            request = self._requests.popleft()
            op, target, status = type(request).__name__.lower(), _target(request), 200
            try:
                await self._do(request)
            except NotAuthenticated as error:
                status = 401
                self.end("not_authenticated", str(error))
            except MdpError as error:
                status = 403 if isinstance(error, Forbidden) else 400
                self.answer(failure(error, request.id))
            except Exception:
                log.exception("a request failed", op=type(request).__name__)
                status = 500
                self.end("internal_error", "this failed for a reason that is ours", picows.WSCloseCode.INTERNAL_ERROR)
            self._audited(self, op, target, status)

    @property
    def key_id(self) -> str | None:
        """The API key that this connection was opened with, where it was one."""
        return self.principal.key_id if self.principal is not None else None

    @property
    def address(self) -> str:
        """Where the client connects from."""
        peer = self._transport.underlying_transport.get_extra_info("peername") if self._transport else None
        return str(peer[0]) if peer else ""

    async def _do(self, request: AnyRequest) -> None:
        if isinstance(request, Authenticate):
            principal = await self._authenticated(request.credential)
            self._known(principal)
            if request.id is not None:
                self.answer(Done(id=request.id, op="authenticate"))
        elif self.principal is None:
            raise NotAuthenticated("say who you are first: Authorization header, ?ticket=, or op authenticate")
        elif isinstance(request, Configure):
            self.slow = request.slow
            self.answer(Done(id=request.id, op="configure"))
        else:
            await self._work.do(request, self.principal)

    def _known(self, principal: Principal) -> None:
        if self.principal is not None and self.principal.name not in (principal.name, ANONYMOUS.name):
            raise Forbidden("a connection stays with who opened it: open another one")
        principal.require("reader", SCOPE)
        self.principal = principal
        self._ends_at(principal.expires_at)
        self.limit(principal.tier)
        self._welcome()

    def _ends_at(self, expires_at: dt.datetime | None) -> None:
        if self._expiry is not None:
            self._expiry.cancel()
        if expires_at is not None:
            seconds = (expires_at - dt.datetime.now(dt.UTC)).total_seconds()
            loop = asyncio.get_running_loop()
            self._expiry = loop.call_later(seconds, self.end, "not_authenticated", "what you showed has expired")

    def _welcome(self) -> None:
        who = self.principal
        self.answer(Welcome(protocol=PROTOCOL, principal=who.name if who else "", role=who.role if who else ""))

    def _require_known(self) -> None:
        if self.principal is None and not self.closed_for:
            self.end("not_authenticated", f"you did not say who you are within {_AUTHENTICATE_WITHIN_S:.0f} s")


def _target(request: AnyRequest) -> str:
    """What a request is about: channels and instruments, never a credential."""
    if isinstance(request, Subscribe | Unsubscribe):
        return f"{request.channel} {','.join(request.instruments)}".strip()
    return f"{','.join(request.channels)} {','.join(request.instruments)}" if isinstance(request, Replay) else ""
