"""Settings in, a running platform out: what `mdp up` starts, in which order, and until when.

How one child is kept alive does not belong here (supervisor), nor what is printed (cli).
"""

import contextlib
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import FrameType

import structlog

from md_platform.domain.instruments import Instrument
from md_platform.embedded import dagster_services, live_services, postgres, serving_services, valkey
from md_platform.embedded.home import Home
from md_platform.embedded.ports import LOOPBACK, is_healthy, require_free
from md_platform.embedded.processes import Service
from md_platform.embedded.supervisor import StopRequested, Supervisor
from md_platform.errors import MdpError, ServiceError, UnsupportedPython
from md_platform.settings import Settings
from md_platform.storage.migrate import migrate
from md_platform.telemetry import redact
from md_platform.venues import VENUES

DEFINITIONS = dagster_services.LOCATION
PYTHONS = ((3, 11), (3, 13))
_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_POSTGRES_SCHEME = re.compile(r"^postgres(ql)?(\+\w+)?://")

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where the parts of a running platform are; the URLs carry passwords."""

    database_url: str
    redis_url: str
    dagster_url: str
    sandbox_url: str | None
    stream_url: str | None = None
    api_url: str | None = None
    gateway_url: str | None = None


@dataclass(frozen=True, slots=True)
class Running:
    """A platform that has just become ready."""

    home: Home
    settings: Settings
    addresses: Addresses
    seconds: float


def up(
    settings: Settings,
    *,
    progress: Callable[[str], None] = lambda _line: None,
    ready: Callable[[Running], None] = lambda _running: None,
    first_load: Callable[[Running], None] | None = None,
    definitions: str = DEFINITIONS,
) -> None:
    """Run the platform until SIGINT, SIGTERM or SIGHUP, then end every child and return.

    `ready` is called once all parts answer; then `first_load` runs beside them in a thread of its own, and what it
    raises is reported and stops nothing. ServiceError and its kin say what could not start and what to do about it.
    """
    began = time.monotonic()
    require_python()
    home = Home.at(settings.home)
    home.prepare()
    supervisor = Supervisor(home)
    with home.lock(), _stopped_by_signals(supervisor), supervisor, contextlib.suppress(StopRequested):
        addresses = _start(home, settings, supervisor, progress, definitions)
        running = Running(home, settings, addresses, time.monotonic() - began)
        ready(running)
        if first_load is not None:
            threading.Thread(target=_reported, args=(first_load, running, progress), daemon=True).start()
        supervisor.watch(until=lambda: False)


def _start(
    home: Home, settings: Settings, supervisor: Supervisor, progress: Callable[[str], None], definitions: str
) -> Addresses:
    """Start every part in order and wait until it can be used."""

    def start(*services: Service) -> None:
        since = time.monotonic()
        supervisor.start(*services)
        names = " and ".join(service.name for service in services)
        progress(f"{names}: ready after {time.monotonic() - since:.1f} s")

    require_free(settings.dagster_port, "Dagster's webserver", "MDP_DAGSTER_PORT")
    require_free(settings.api_port, "the REST API", "MDP_API_PORT")
    require_free(settings.gateway_port, "the gateway", "MDP_GATEWAY_PORT")
    if settings.stream:
        require_free(settings.stream_port, "the live process", "MDP_STREAM_PORT")
    if settings.uses_sandbox:
        require_free(settings.sandbox_port, "the sandbox venue", "MDP_SANDBOX_PORT")

    if (database_url := external_database_url(settings)) is None:
        start(server := postgres.service(home))
        database_url = server.address
    for name in migrate(database_url):
        progress(f"database: applied {name}")

    if (redis_url := external_redis_url(settings)) is None:
        start(server := valkey.service(home))
        redis_url = server.address
    elif not valkey.answers(redis_url):
        raise ServiceError(
            f"no Redis answers at {redact(redis_url)}: mend MDP_REDIS_URL, or unset it for the embedded one"
        )

    environment = child_environment(home, settings, database_url, redis_url)
    sandbox_url = None
    if settings.uses_sandbox:
        venue = _sandbox(settings, environment)
        sandbox_url = venue.address
        start(venue)

    start(dagster_services.code_server(home, environment, definitions))
    webserver = dagster_services.webserver(home, environment, settings.dagster_port)
    start(webserver, dagster_services.daemon(home, environment, webserver.address))

    streamed = [name for name in settings.instruments if has_feed(name)] if settings.stream else []
    stream_url = None
    if streamed:
        live = live_services.stream(environment, streamed, settings.stream_port)
        stream_url = live.address
        start(live, live_services.writer(home, environment))

    rest, gateway = serving_services.api(environment, settings), serving_services.gateway(environment, settings)
    start(rest, gateway, serving_services.alerts(home, environment))

    return Addresses(database_url, redis_url, webserver.address, sandbox_url, stream_url, rest.address, gateway.address)


def child_environment(home: Home, settings: Settings, database_url: str, redis_url: str) -> dict[str, str]:
    """What every process of the platform is told by its environment, beside what we were told ourselves."""
    return {
        "MDP_HOME": str(home.path),
        "MDP_DATABASE_URL": database_url,
        "MDP_DAGSTER_DATABASE_URL": _POSTGRES_SCHEME.sub("postgresql+psycopg2://", database_url),
        "MDP_REDIS_URL": redis_url,
        "MDP_INSTRUMENTS": ",".join(settings.instruments),
        "MDP_DAGSTER_PORT": str(settings.dagster_port),
        "MDP_SANDBOX_PORT": str(settings.sandbox_port),
        "MDP_STREAM_PORT": str(settings.stream_port),
        "MDP_API_HOST": settings.api_host,
        "MDP_API_PORT": str(settings.api_port),
        "MDP_GATEWAY_HOST": settings.gateway_host,
        "MDP_GATEWAY_PORT": str(settings.gateway_port),
        "DAGSTER_HOME": str(home.dagster),
        "DAGSTER_EVENT_BATCH_SIZE": "500",
        "DAGSTER_EMIT_PARTITION_SUBSET_IN_PLANNED_EVENTS": "1",
        **_sandbox_urls(settings.sandbox_port),
    }


def has_feed(name: str) -> bool:
    """Whether the instrument can be streamed."""
    instrument = Instrument.parse(name)
    return any(feed.accepts(instrument) for spec in VENUES if spec.id == instrument.venue for feed in spec.feeds)


def external_database_url(settings: Settings) -> str | None:
    """MDP_DATABASE_URL as libpq reads it (SQLAlchemy's driver names are dropped), or None."""
    if settings.database_url is None:
        return None
    return _POSTGRES_SCHEME.sub("postgresql://", settings.database_url.get_secret_value())


def external_redis_url(settings: Settings) -> str | None:
    """MDP_REDIS_URL, or None."""
    return settings.redis_url.get_secret_value() if settings.redis_url else None


def database_url(settings: Settings) -> str:
    """The platform's database, external or this home's own; ServiceError where that was never started."""
    address = external_database_url(settings) or postgres.url(Home.at(settings.home), create=False)
    if address is None:
        raise ServiceError(
            f"no database in {settings.home} yet: start the platform with `mdp up`, or set MDP_DATABASE_URL"
        )
    return address


def redis_url(settings: Settings) -> str:
    """The platform's Redis, external or this home's own; ServiceError where that was never started."""
    address = external_redis_url(settings) or valkey.url(Home.at(settings.home), create=False)
    if address is None:
        raise ServiceError(f"no Redis in {settings.home} yet: start the platform with `mdp up`, or set MDP_REDIS_URL")
    return address


def require_python() -> None:
    """Raise UnsupportedPython unless this interpreter is one that the platform is tested with."""
    oldest, newest = PYTHONS
    if not oldest <= sys.version_info[:2] <= newest:
        raise UnsupportedPython(
            f"Python {'.'.join(map(str, oldest))} to {'.'.join(map(str, newest))} is needed, "
            f"was {'.'.join(map(str, sys.version_info[:3]))}: make the virtual environment with one of these"
        )


def _sandbox_urls(port: int) -> dict[str, str]:
    """Where the sandbox's venues are when it is not on its usual port; what the environment says comes first."""
    usual = f":{Settings.model_fields['sandbox_port'].default}/"
    own = {
        f"MDP_VENUE_{spec.id.upper().replace('-', '_')}_{kind}_URL": url
        for spec in VENUES
        if spec.is_simulated
        for kind, url in (("REST", spec.rest_url), ("WS", spec.feeds[0].urls[0] if spec.feeds else None))
        if url
    }
    moved = {name: url.replace(usual, f":{port}/") for name, url in own.items() if usual in url}
    return {name: url for name, url in moved.items() if usual != f":{port}/" and name not in os.environ}


def _sandbox(settings: Settings, environment: dict[str, str]) -> Service:
    address = f"http://{LOOPBACK}:{settings.sandbox_port}"

    return Service(
        name="sandbox",
        argv=(sys.executable, "-m", "md_platform.cli", "sandbox"),
        probe=lambda: is_healthy(address),
        address=address,
        environment=environment,
    )


def _reported(call: Callable[[Running], None], running: Running, progress: Callable[[str], None]) -> None:
    try:
        call(running)
    except MdpError as error:
        progress(f"first load: {redact(str(error))}")
    except Exception:
        log.exception("the first load failed; the platform runs on")


@contextlib.contextmanager
def _stopped_by_signals(supervisor: Supervisor) -> Iterator[None]:
    """Ask `supervisor` to stop when a signal says so, and restore what was there before.

    The handler raises nothing: an exception that strikes inside of a destructor is lost.
    """

    def handle(_number: int, _frame: FrameType | None) -> None:
        if supervisor.is_stop_requested:
            os.write(2, f"already stopping; `kill -9 {os.getpid()}` where that takes too long\n".encode())
        supervisor.request_stop()

    before = {
        number: signal.signal(number, handle)
        for number in _STOP_SIGNALS
        if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN  # nohup stays in force
    }
    try:
        yield
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)
