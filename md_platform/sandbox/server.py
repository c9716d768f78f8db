"""The sandbox venue on sockets: HTTP and WebSocket for every protocol on one port, and on a second one with TLS.

`/binance/...`, `/coinbase/...` and `/kraken/...` are the venues' own paths below a prefix; `/control/faults` makes them
misbehave; `/healthz` answers supervisors. What is said on the sockets is decided in the protocols' files.
"""

import asyncio
import contextlib
import errno
import signal
import ssl
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import trustme
from aiohttp import web

from md_platform.errors import InvalidFile, InvalidRange, PortTaken
from md_platform.sandbox.binance import BinanceRest
from md_platform.sandbox.binance_stream import BinanceSession, BinanceStreams
from md_platform.sandbox.clock import Clock, SimulatedTime
from md_platform.sandbox.coinbase import CoinbaseRest
from md_platform.sandbox.coinbase_stream import CoinbaseSession, CoinbaseStreams
from md_platform.sandbox.connections import Connections
from md_platform.sandbox.faults import Fault, Faults, Kind, Marks, load_faults
from md_platform.sandbox.frame_log import FrameLog
from md_platform.sandbox.history import History
from md_platform.sandbox.kraken import KrakenRest
from md_platform.sandbox.kraken_stream import KrakenSession, KrakenStreams
from md_platform.sandbox.kraken_v1 import KrakenV1Session, KrakenV1Streams
from md_platform.sandbox.listings import PAIRS, Listing, listings
from md_platform.sandbox.live import Session
from md_platform.sandbox.rest import Request, Response, RestApi, Row
from md_platform.sandbox.simulation import Simulation

_HTTP_FAULTS: tuple[Kind, ...] = ("http_429", "http_418", "http_5xx", "slow", "malformed", "disconnect")


@dataclass(frozen=True, slots=True)
class SandboxConfig:
    """How a sandbox is started. Port 0 lets the system choose; `rate_limits=False` lifts the venues' limits.

    The market is `activity` times as busy as usual. `frame_log` gets a line for each frame that a socket took.

    `start_us` (simulated time at the start, default the wall clock) and `speed` (simulated seconds per second) make
    the clock unless one is given.
    """

    host: str = "127.0.0.1"
    port: int = 8090
    tls_port: int | None = None
    tls_dir: Path | None = None
    seed: int = 1
    faults: Path | None = None
    start_us: int | None = None
    speed: float = 1.0
    clock: SimulatedTime | None = None
    pairs: tuple[str, ...] = PAIRS
    rate_limits: bool = True
    activity: float = 1.0
    frame_log: Path | None = None


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Where a started sandbox listens."""

    host: str
    port: int
    tls_port: int | None = None
    ca_file: Path | None = None
    started: float = field(default_factory=time.time)

    @property
    def http(self) -> str:
        """`http://host:port`."""
        return f"http://{self.host}:{self.port}"

    @property
    def ws(self) -> str:
        """`ws://host:port`."""
        return f"ws://{self.host}:{self.port}"

    @property
    def https(self) -> str:
        """`https://localhost:port` of the TLS port."""
        return f"https://localhost:{self.tls_port}"

    @property
    def wss(self) -> str:
        """`wss://localhost:port` of the TLS port."""
        return f"wss://localhost:{self.tls_port}"


class Sandbox:
    """The simulation, its protocols and its faults behind one aiohttp application."""

    def __init__(self, config: SandboxConfig) -> None:
        self.clock = config.clock or Clock(config.start_us, config.speed)
        self.history = History(Simulation(config.seed, listings(config.pairs, config.activity)))
        self.faults = Faults()
        self.faults.on_change = lambda: self.history.set_halts(self.faults.halts())
        if config.faults is not None:
            self.faults.add(_read_faults(config.faults), self.clock.now_us())
        lifted = 1e9
        self.rest: dict[str, RestApi] = (
            {
                "binance": BinanceRest(self.history),
                "coinbase": CoinbaseRest(self.history),
                "kraken": KrakenRest(self.history),
            }
            if config.rate_limits
            else {
                "binance": BinanceRest(self.history, int(lifted)),
                "coinbase": CoinbaseRest(self.history, lifted),
                "kraken": KrakenRest(self.history, lifted, lifted),
            }
        )

        self._binance = BinanceStreams(self.history, self._distort_live)
        self._coinbase = CoinbaseStreams(self.history, self._distort_live)
        self._kraken = KrakenStreams(self.history, self._distort_live)
        self._kraken_v1 = KrakenV1Streams(self.history, self._distort_live)
        frame_log = FrameLog(config.frame_log) if config.frame_log else None
        self.connections = Connections(self.clock, self.faults, frame_log)

    def application(self) -> web.Application:
        """The routes."""
        app = web.Application(client_max_size=1 << 20)
        app.router.add_get("/healthz", self._health)
        app.router.add_get("/control/faults", self._list_faults)
        app.router.add_post("/control/faults", self._add_faults)
        app.router.add_delete("/control/faults", self._clear_faults)
        app.router.add_get("/{protocol:binance|coinbase|kraken}{path:.*}", self._venue)
        return app

    async def _venue(self, request: web.Request) -> web.StreamResponse:
        protocol, path = request.match_info["protocol"], request.match_info["path"]
        if request.headers.get("Upgrade", "").lower() == "websocket":
            streams = request.query.get("streams", "")
            return await self.connections.converse(
                request, protocol, lambda now_us: self._session(protocol, path, streams, now_us)
            )
        return await self._answer(protocol, path, request)

    def _session(self, protocol: str, path: str, streams: str, now_us: int) -> Session:
        match protocol:
            case "binance":
                return BinanceSession(self._binance, path, streams, now_us)
            case "coinbase":
                return CoinbaseSession(self._coinbase)
            case _ if path.startswith("/v2"):
                return KrakenSession(self._kraken)
            case _:
                return KrakenV1Session(self._kraken_v1)

    async def _answer(self, protocol: str, path: str, request: web.Request) -> web.StreamResponse:
        """REST. Computed in a thread, as years of daily bars take seconds and live streams must not wait for them."""
        api, now_us = self.rest[protocol], self.clock.now_us()
        endpoint = path.rstrip("/").rsplit("/", 1)[-1]
        fault = self.faults.striking(_HTTP_FAULTS, Marks("history", protocol, "*", endpoint), now_us)
        if fault is not None and fault.fault.kind.startswith("http_"):
            status = fault.fault.status if fault.fault.kind == "http_5xx" else int(fault.fault.kind[-3:])
            return _to_web(api.failure(status, fault.fault.retry_after_s, now_us))
        if fault is not None and fault.fault.kind == "slow":
            await asyncio.sleep(fault.fault.delay_s)
        asked = Request(path, dict(request.query), now_us, request.remote or "", self._distort)
        response = await asyncio.to_thread(api.respond, asked)
        if fault is not None and fault.fault.kind == "malformed":
            response = Response(response.status, response.body[: len(response.body) // 2], response.headers)
        if fault is not None and fault.fault.kind == "disconnect":
            return await _cut_off(response, request)
        return _to_web(response)

    def _distort(self, listing: Listing, channel: str, rows: list[Row], now_us: int) -> list[Row]:
        return self.faults.rows("history", listing, channel, rows, now_us)

    def _distort_live(self, listing: Listing, channel: str, rows: list[Row], now_us: int) -> list[Row]:
        return self.faults.rows("live", listing, channel, rows, now_us)

    async def _health(self, _request: web.Request) -> web.Response:
        body = {
            "status": "ok",
            "service": "sandbox",
            "now_us": self.clock.now_us(),
            "connections": len(self.connections.open),
        }
        return web.json_response(body)

    async def _list_faults(self, _request: web.Request) -> web.Response:
        return _json([armed.described() for armed in self.faults.armed])

    async def _add_faults(self, request: web.Request) -> web.Response:
        try:
            added = self.faults.add(load_faults(await request.read()), self.clock.now_us())
        except (InvalidFile, InvalidRange) as problem:
            return _json({"error": str(problem)}, 400)
        return _json([armed.described() for armed in added], 201)

    async def _clear_faults(self, _request: web.Request) -> web.Response:
        self.faults.clear(self.clock.now_us())
        return web.Response(status=204)


def _read_faults(file: Path) -> list[Fault]:
    try:
        return load_faults(file.read_bytes())
    except OSError as problem:
        raise InvalidFile(f"faults must be a readable JSON file, {problem}") from None


def _to_web(response: Response) -> web.Response:
    return web.Response(
        status=response.status, body=response.body, headers=response.headers, content_type="application/json"
    )


async def _cut_off(response: Response, request: web.Request) -> web.StreamResponse:
    """Half of `response`, and then no connection any more."""
    answer = web.StreamResponse(status=response.status, headers=response.headers)
    answer.content_type, answer.content_length = "application/json", len(response.body)
    await answer.prepare(request)
    await answer.write(response.body[: len(response.body) // 2])
    if request.transport is not None:
        request.transport.close()
    return answer


def _json(body: object, status: int = 200) -> web.Response:
    return web.Response(status=status, body=msgspec.json.encode(body), content_type="application/json")


def _tls_context(directory: Path, host: str) -> tuple[ssl.SSLContext, Path]:
    """A certificate for `host` and localhost from a fresh test authority, whose own is left in `directory`."""
    directory.mkdir(parents=True, exist_ok=True)
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost", "127.0.0.1", host).configure_cert(context)
    ca_file = directory / "sandbox-ca.pem"
    authority.cert_pem.write_to_path(str(ca_file))
    return context, ca_file


async def _start(site: web.TCPSite) -> None:
    try:
        await site.start()
    except OSError as problem:
        if problem.errno != errno.EADDRINUSE:
            raise
        raise PortTaken(f"the sandbox's port is taken: {problem.strerror or problem}; set MDP_SANDBOX_PORT") from None


@contextlib.asynccontextmanager
async def listening(config: SandboxConfig) -> AsyncIterator[Endpoints]:
    """A sandbox that listens while the context is open."""
    sandbox = Sandbox(config)
    runner = web.AppRunner(sandbox.application(), access_log=None)
    await runner.setup()
    pump = asyncio.create_task(sandbox.connections.pump())
    try:
        await _start(web.TCPSite(runner, config.host, config.port))
        ca_file = None
        if config.tls_port is not None:
            context, ca_file = _tls_context(config.tls_dir or Path.cwd(), config.host)
            await _start(web.TCPSite(runner, config.host, config.tls_port, ssl_context=context))
        ports = [address[1] for address in runner.addresses]
        yield Endpoints(config.host, ports[0], ports[1] if ca_file else None, ca_file)
    finally:
        pump.cancel()
        await sandbox.connections.close()
        await runner.cleanup()


async def serve(config: SandboxConfig, ready: Callable[[Endpoints], None] | None = None) -> None:
    """Listen until cancelled; `ready` is told where."""
    async with listening(config) as endpoints:
        if ready is not None:
            ready(endpoints)
        await asyncio.Event().wait()


def run(config: SandboxConfig, ready: Callable[[Endpoints], None] | None = None) -> None:
    """Listen until SIGTERM or SIGINT. Blocks."""

    async def until_told() -> None:
        task = asyncio.ensure_future(serve(config, ready))
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, task.cancel)
        with contextlib.suppress(asyncio.CancelledError):
            await task

    asyncio.run(until_told())
