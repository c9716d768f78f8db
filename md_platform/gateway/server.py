"""The gateway's process: a port that clients connect to, the hub behind it, health and metrics on the same port.

Several processes may share a port: the kernel gives each new connection to one of them.
"""

import asyncio
import contextlib
import datetime as dt
import resource
import signal
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import parse_qs, urlsplit

import picows
import structlog

from md_platform.access.audit import Access, Audit
from md_platform.access.authenticator import Authenticator
from md_platform.access.principal import ANONYMOUS, Principal
from md_platform.domain.intervals import UTC
from md_platform.errors import StorageError
from md_platform.gateway.frames import View
from md_platform.gateway.health import GatewayHealth
from md_platform.gateway.hub import Hub
from md_platform.gateway.messages import Degraded, Restored
from md_platform.gateway.past import Past
from md_platform.gateway.replay import Player
from md_platform.gateway.session import REQUEST_BYTES, Session, Work
from md_platform.gateway.subscriptions import Subscriptions
from md_platform.gateway.summary import tell
from md_platform.serving.market import Market

log = structlog.get_logger(__name__)

JSON, MSGPACK = "md.v1.json", "md.v1.msgpack"
"""WebSocket subprotocols."""

_DEFLATE = "permessage-deflate"
_PING_AFTER_S, _PONG_WITHIN_S = 30.0, 20.0
_READ_BYTES = 1_024  # of requests: the buffer of each connection, which grows when it must
_BACKLOG = 4_096
_TARGET_AT_MOST = 500
_STOPPED_WITHIN_S = 5.0


@dataclass(frozen=True)
class GatewayConfig:
    """Where to listen and what to read.

    Without `database_url` history is what Redis has; without `market` there is no /replay.
    """

    redis_url: str
    authenticator: Authenticator
    host: str = "127.0.0.1"
    port: int = 8001
    database_url: str | None = None
    market: Market | None = None
    audit: Audit | None = None
    tls: ssl.SSLContext | None = None


class Gateway:
    """The parts and how they hang together."""

    def __init__(self, config: GatewayConfig) -> None:
        self._config = config
        self.sessions: set[Session] = set()
        self._checks: set[asyncio.Task[None]] = set()
        self._empty = asyncio.Event()
        self._empty.set()
        self.hub = Hub(config.redis_url, self._told)
        self.past = Past(self.hub.tail, config.database_url)
        self.health = GatewayHealth(self.hub, self.sessions)
        self._works: dict[str, Callable[[Session], Work]] = {
            "/": lambda session: Subscriptions(session, self.hub, self.past),
        }
        if config.market is not None:
            market = config.market
            self._works["/replay"] = lambda session: Player(session, market)

    async def run(self, ready: Callable[[int], None] = lambda _port: None) -> None:
        """Serve until cancelled; `ready` gets the port."""
        server = await picows.ws_create_server(
            self._accept,
            self._config.host,
            self._config.port,
            ssl=self._config.tls,
            reuse_port=True,
            backlog=_BACKLOG,
            enable_auto_ping=True,
            auto_ping_idle_timeout=_PING_AFTER_S,
            auto_ping_reply_timeout=_PONG_WITHIN_S,
            max_frame_size=REQUEST_BYTES,
            read_buffer_init_size=_READ_BYTES,
        )
        loop = asyncio.get_running_loop()
        forget = self._config.authenticator.listen(lambda key_id: _soon(loop, self._revoked, key_id))
        hub, summary = asyncio.create_task(self.hub.run()), asyncio.create_task(tell(self.hub))
        try:
            port = server.sockets[0].getsockname()[1]
            log.info("gateway listens", host=self._config.host, port=port)
            ready(port)
            done, _ = await asyncio.wait((hub, summary), return_when=asyncio.FIRST_COMPLETED)
            done.pop().result()
        finally:
            forget()
            server.close()
            for session in list(self.sessions):
                session.end("going_away", "the gateway stops: connect again", picows.WSCloseCode.GOING_AWAY)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_STOPPED_WITHIN_S):
                    await self._empty.wait()
            while pending := [task for task in (hub, summary) if not task.done()]:
                for task in pending:
                    task.cancel()  # more than once: a library may take a cancellation that comes while it connects
                await asyncio.wait(pending, timeout=1)
            await self.hub.close()
            self.past.close()

    def _accept(
        self, request: picows.WSUpgradeRequest
    ) -> picows.WSListener | picows.WSUpgradeResponseWithListener | None:
        """Called by picows for each connection: health, or a session of what the path names."""
        url = urlsplit(request.path.decode("latin-1"))
        if (said := self.health.answer(url.path)) is not None:
            status, body, kind = said
            response = picows.WSUpgradeResponse.create_ok_response(body, {"Content-Type": kind})
            response.status = HTTPStatus(status)
            return picows.WSUpgradeResponseWithListener(response, None)
        if url.path not in self._works:
            return None
        asked = {name: values[-1] for name, values in parse_qs(url.query).items()}
        protocol, headers = _protocol(request, asked)
        offered = request.headers.get("Sec-WebSocket-Extensions", "")
        deflate = _DEFLATE in offered and "server_max_window_bits" not in offered
        if deflate:
            headers["Sec-WebSocket-Extensions"] = f"{_DEFLATE}; server_no_context_takeover; client_no_context_takeover"
        session = Session(
            View(msgpack=protocol == MSGPACK, deflate=deflate),
            self._works[url.path],
            self._authenticated,
            ANONYMOUS if self._config.authenticator.is_open else None,
            _credential(request, asked),
            self._closed,
            lambda session, action, target, status: self._record(session, url.path, action, target, status),
        )
        if asked.get("slow") == "conflate":
            session.slow = "conflate"
        self.sessions.add(session)
        self._empty.clear()
        return picows.WSUpgradeResponseWithListener(picows.WSUpgradeResponse.create_101_response(headers), session)

    def _closed(self, session: Session) -> None:
        self.sessions.discard(session)
        if not self.sessions:
            self._empty.set()
        self.health.ended(session)

    async def _authenticated(self, credential: str) -> Principal:
        """In a thread: a hash that resists guessing takes its time."""
        return await asyncio.to_thread(self._config.authenticator.authenticate, credential)

    def _revoked(self, key_id: str | None) -> None:
        """End the connections that were opened with this key; None: those whose keys turn out to have ended."""
        if key_id is not None:
            self._end({key_id})
        elif shown := {id_ for session in self.sessions if (id_ := session.key_id)}:
            check = asyncio.create_task(self._check(shown))
            self._checks.add(check)
            check.add_done_callback(self._checks.discard)

    async def _check(self, key_ids: set[str]) -> None:
        try:
            self._end(await asyncio.to_thread(self._config.authenticator.ended, key_ids))
        except StorageError as error:
            log.warning("keys could not be looked up: those that were revoked meanwhile go on", reason=str(error))

    def _end(self, key_ids: set[str]) -> None:
        for session in list(self.sessions):
            if session.key_id in key_ids:
                session.end("not_authenticated", "the API key was revoked")

    def _record(self, session: Session, route: str, action: str, target: str, status: int) -> None:
        if self._config.audit is not None:
            name = session.principal.name if session.principal else None
            at, address = dt.datetime.now(UTC), session.address
            self._config.audit.record(
                Access(at, name, address, "gateway", action, route, target[:_TARGET_AT_MOST], status, 0, 0.0, "")
            )

    def _told(self, problem: str | None) -> None:
        told = Restored() if problem is None else Degraded(reason="redis is away")
        for session in list(self.sessions):
            session.degraded(told)


def _soon(loop: asyncio.AbstractEventLoop, do: Callable[[str | None], None], key_id: str | None) -> None:
    loop.call_soon_threadsafe(do, key_id)


def _protocol(request: picows.WSUpgradeRequest, asked: dict[str, str]) -> tuple[str, dict[str, str]]:
    """The subprotocol by header or by `?encoding=msgpack`, and the header that confirms it."""
    offered = [name.strip() for name in request.headers.get("Sec-WebSocket-Protocol", "").split(",")]
    for name in (JSON, MSGPACK):
        if name in offered:
            return name, {"Sec-WebSocket-Protocol": name}
    return (MSGPACK if asked.get("encoding") == "msgpack" else JSON), {}


def _credential(request: picows.WSUpgradeRequest, asked: dict[str, str]) -> str | None:
    """What the client shows before its first message: a header, or a ticket in the query as browsers can."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer" and token:
        return token.strip()
    return request.headers.get("X-API-Key") or asked.get("ticket")


async def serve(config: GatewayConfig) -> None:
    """Run until SIGINT or SIGTERM, with as many connections as the system allows this process."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    running = asyncio.create_task(Gateway(config).run())
    stopping = asyncio.create_task(stopped.wait())
    await asyncio.wait((running, stopping), return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if not running.done():
        running.cancel()
    await asyncio.gather(running, return_exceptions=stopped.is_set())
