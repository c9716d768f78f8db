"""Dagster's three processes as services: a code server that loads the definitions, webserver and daemon on it."""

import shutil
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import httpx

from md_platform.embedded.home import Home
from md_platform.embedded.ports import LOOPBACK, answers, free_port
from md_platform.embedded.processes import Service
from md_platform.errors import MdpError
from md_platform.orchestrator import Orchestrator
from md_platform.settings import packaged_file

DAEMON_RSS_LIMIT = 2**30  # it starts near 200 MB and grows with the ticks and backfills it has seen
LOCATION = "md_platform.definitions"  # the name it also has by workspace.yaml
_LOGS = ("--log-format", "json")
_HEALTH = "{ instance { daemonHealth { allDaemonStatuses { daemonType required healthy lastHeartbeatTime } } } }"
_LOCATIONS = """{ workspaceOrError { __typename ... on Workspace { locationEntries { name loadStatus
  locationOrLoadError { __typename ... on PythonError { message } } } } } }"""


def code_server(home: Home, environment: Mapping[str, str], module: str) -> Service:
    """The process that imports `module`, once for webserver and daemon alike, and that starts the runs.

    Writes what all three read: dagster.yaml, and a workspace that names this server.
    """
    port = free_port(home.recall("code_server_port"))
    home.remember("code_server_port", port)
    shutil.copyfile(packaged_file("dagster.yaml"), home.dagster / "dagster.yaml")
    _workspace(home).write_text(
        f"load_from:\n  - grpc_server: {{host: {LOOPBACK}, port: {port}, location_name: {LOCATION}}}\n"
    )
    return Service(
        name="code-server",
        argv=(
            *_python("md_platform.assets.code_server"),
            *("--python-file" if module.endswith(".py") else "--module-name", module),
            *("--host", LOOPBACK, "--port", str(port), "--location-name", LOCATION),
            *("--use-python-environment-entry-point", *_LOGS),
        ),
        probe=lambda: answers(port),
        address=f"grpc://{LOOPBACK}:{port}",
        environment=environment,
    )


def webserver(home: Home, environment: Mapping[str, str], port: int) -> Service:
    """The UI and GraphQL API on `port`."""
    address = f"http://{LOOPBACK}:{port}"
    return Service(
        name="dagster-webserver",
        argv=(
            *_python("dagster_webserver"),
            "--host",
            LOOPBACK,
            "--port",
            str(port),
            "--workspace",
            str(_workspace(home)),
            "--db-pool-recycle",
            "1",  # a connection older than a second is not trusted: PostgreSQL may have been restarted meanwhile
            *_LOGS,
        ),
        probe=lambda: responds(address),
        address=address,
        environment=environment,
    )


def daemon(home: Home, environment: Mapping[str, str], webserver_address: str) -> Service:
    """Schedules, sensors, the run queue and backfills; ready when a heartbeat of each has been seen."""
    started = time.time()  # the database still shows the heartbeats of the last start
    return Service(
        name="dagster-daemon",
        argv=(*_python("dagster._daemon", "run"), "--workspace", str(_workspace(home)), *_LOGS),
        probe=lambda: daemon_problem(webserver_address, since=started) is None,
        address="",
        environment=environment,
        rss_limit=DAEMON_RSS_LIMIT,
    )


def responds(webserver_address: str) -> bool:
    """Whether the webserver answers."""
    try:
        return httpx.get(f"{webserver_address}/server_info", timeout=5).is_success
    except httpx.HTTPError:
        return False


def daemon_problem(webserver_address: str, since: float = 0) -> str | None:
    """What is wrong with the daemon by its heartbeats after `since`; None where all that must run do."""
    try:
        found = Orchestrator(webserver_address, timeout_s=10).query(_HEALTH)
    except MdpError as error:
        return str(error)
    statuses = found["instance"]["daemonHealth"]["allDaemonStatuses"]
    sick = [
        status["daemonType"].lower()
        for status in statuses
        if status["required"] and not (status["healthy"] and (status["lastHeartbeatTime"] or 0) >= since)
    ]
    return f"no heartbeat of {', '.join(sick)}" if sick else None


def location_problem(webserver_address: str) -> str | None:
    """Why the definitions are not loaded; None where they are."""
    try:
        workspace = Orchestrator(webserver_address, timeout_s=10).query(_LOCATIONS)["workspaceOrError"]
    except MdpError as error:
        return str(error)
    entries = workspace.get("locationEntries", [])
    for entry in entries:
        loaded = entry["locationOrLoadError"] or {"__typename": "loading"}
        if loaded["__typename"] == "PythonError":
            return str(loaded["message"]).strip()
        if entry["loadStatus"] != "LOADED":
            return f"{entry['name']} is {entry['loadStatus'].lower()}"
    return None if entries else "no code location is configured"


def _python(module: str, *arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-m", module, *arguments)


def _workspace(home: Home) -> Path:
    return home.dagster / "workspace.yaml"
