"""One child process: how it is described, started, found again after our own crash, and ended.

What to run and in what order does not belong here.
"""

import contextlib
import ctypes
import datetime as dt
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypedDict

import psutil

from md_platform.embedded.home import Home

MARK = "MDP_SUPERVISED"
_STARTED = "--- started "
_CLOCK_SLACK_S = 5
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


@dataclass(frozen=True, slots=True)
class Account:
    """An unprivileged user that a server runs as when we are root."""

    name: str
    uid: int
    gid: int


class Dropped(TypedDict):
    """Arguments by which subprocess starts a child as another user; None keeps ours."""

    user: int | None
    group: int | None
    extra_groups: tuple[int, ...] | None


def dropped_to(account: Account | None) -> Dropped:
    """How subprocess is told to run as `account`."""
    if account is None:
        return {"user": None, "group": None, "extra_groups": None}
    return {"user": account.uid, "group": account.gid, "extra_groups": ()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """What one child is. `probe` answers whether it can be used; `rss_limit` restarts one that grows past it."""

    name: str
    argv: tuple[str, ...]
    probe: Callable[[], bool]
    address: str
    environment: Mapping[str, str] = field(default_factory=dict)
    account: Account | None = None
    folder: Path | None = None
    stop_signal: signal.Signals = signal.SIGTERM
    start_timeout_s: float = 90
    stop_timeout_s: float = 15
    rss_limit: int | None = None


def log_path(home: Home, name: str) -> Path:
    """Where the child `name` writes."""
    return home.logs / f"{name}.log"


def last_words(path: Path, count: int = 12) -> str:
    """Why the child ended, by its log since its last start: the errors of Python's tracebacks, else the last lines."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - 65_536))
            lines = file.read().decode(errors="replace").rpartition(_STARTED)[2].splitlines()[1:]
    except OSError:
        return ""
    errors: list[str] = []
    inside = False
    for line in lines:
        if line.startswith("Traceback "):
            inside = True
        elif inside and line and not line[0].isspace():
            errors.append(line)
            inside = False
    return "\n".join(errors or lines[-count:])


def spawn(home: Home, service: Service) -> subprocess.Popen[bytes]:
    """Start the child in its own session, writing to its log, and record it under `run`.

    On Linux the kernel ends it when the calling thread ends, so call this from the main thread.
    """
    environment = {**os.environ, "PYTHONUNBUFFERED": "1", MARK: str(home.path), **service.environment}
    parent = os.getpid()

    def end_with_parent() -> None:
        if _LIBC is not None:
            _LIBC.prctl(_PR_SET_PDEATHSIG, service.stop_signal)
            if os.getppid() != parent:
                os._exit(1)

    log = os.open(log_path(home, service.name), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        os.write(log, f"{_STARTED}{service.name} at {dt.datetime.now(dt.UTC):%Y-%m-%d %H:%M:%S}Z\n".encode())
        child = subprocess.Popen(  # noqa: S603 - argv is ours
            service.argv,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=environment,
            cwd=service.folder,
            start_new_session=True,
            preexec_fn=end_with_parent,  # noqa: PLW1509 - one system call, nothing that takes a lock
            **dropped_to(service.account),
        )
    finally:
        os.close(log)
    _record(home, service.name, child.pid)
    return child


def forget(home: Home, name: str) -> None:
    """Remove the record of a child that has ended."""
    (home.run / f"{name}.json").unlink(missing_ok=True)


def left_over(home: Home) -> dict[int, tuple[str, psutil.Process]]:
    """Processes by pid that an earlier `mdp up` on this home started and did not end, with their part's name.

    Found by record (pid, start time and program must all agree: pids are reused) and by the mark in their environment.
    """
    found: dict[int, tuple[str, psutil.Process]] = {}
    for path in home.run.glob("*.json"):
        if process := _recorded(path):
            found[process.pid] = (path.stem, process)
        else:
            path.unlink(missing_ok=True)
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.pid != os.getpid() and process.environ().get(MARK) == str(home.path):
                found.setdefault(process.pid, ("child", process))
    return found


def end(process: psutil.Process, how: signal.Signals, timeout_s: float) -> None:
    """Ask `process` to end, kill it where it does not in `timeout_s`, and end what it started."""
    family = descendants(process)
    with contextlib.suppress(psutil.Error):
        process.send_signal(how)
    _, alive = psutil.wait_procs([process], timeout=timeout_s)
    for stubborn in alive:
        with contextlib.suppress(psutil.Error):
            stubborn.kill()
    end_all(family)


def end_all(processes: list[psutil.Process], timeout_s: float = 5) -> None:
    """End processes that have lost their parent: asked first, killed after `timeout_s`."""
    for process in processes:
        with contextlib.suppress(psutil.Error):
            process.terminate()
    _, alive = psutil.wait_procs(processes, timeout=timeout_s)
    for process in alive:
        with contextlib.suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(alive, timeout=timeout_s)


def descendants(process: psutil.Process) -> list[psutil.Process]:
    """Children of `process` and theirs, while it still lives."""
    with contextlib.suppress(psutil.Error):
        return process.children(recursive=True)
    return []


def _record(home: Home, name: str, pid: int) -> None:
    with contextlib.suppress(psutil.Error):
        content = {"pid": pid, "started": psutil.Process(pid).create_time()}
        unfinished = home.run / f"{name}.new"
        unfinished.write_text(json.dumps(content))
        unfinished.replace(home.run / f"{name}.json")


def _recorded(path: Path) -> psutil.Process | None:
    with contextlib.suppress(psutil.Error, OSError, ValueError, KeyError, TypeError):
        record = json.loads(path.read_text())
        process = psutil.Process(int(record["pid"]))
        same = abs(process.create_time() - float(record["started"])) < _CLOCK_SLACK_S
        if same and process.status() != psutil.STATUS_ZOMBIE:
            return process
    return None
