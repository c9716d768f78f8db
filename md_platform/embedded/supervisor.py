"""Services in, running children out: starts them in order, restarts what crashes, keeps logs small, ends all of them.

One thread does everything, so that the kernel's end-with-parent holds for every child. What the services are does not
belong here.
"""

import contextlib
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import psutil
import structlog

from md_platform.embedded.home import Home
from md_platform.embedded.processes import (
    Service,
    descendants,
    end,
    end_all,
    forget,
    last_words,
    left_over,
    log_path,
    spawn,
)
from md_platform.errors import ServiceError

CRASHES_AT_START = 3  # of a child that was never ready: its log says more than another try
CRASHES_IN_A_ROW = 10
HEALTHY_AFTER_S = 60.0
LOG_BYTES = 10 * 2**20
_BACK_OFF_S = (0.5, 30.0)
_TICK_S = 0.1
_HOUSEKEEPING_S = 5.0

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Child:
    """A service and its process. `restart_at` is set while it waits out its back-off."""

    service: Service
    process: subprocess.Popen[bytes]
    started: float
    was_ready: bool = False
    crashes: int = 0
    restarts: int = 0
    restart_at: float | None = None


class StopRequested(BaseException):
    """Raised by `tick` after `request_stop`; not an Exception, so that nothing on the way takes it for a failure."""


class Supervisor:
    """Children of one home, ended in reverse order of their start when the block ends.

    The caller owns the home's lock. Entering ends what an earlier supervisor left behind.
    """

    def __init__(self, home: Home) -> None:
        self.home = home
        self._batches: list[list[Child]] = []
        self._housekeeping_at = 0.0
        self.is_stop_requested = False

    def __enter__(self) -> Self:
        self._end_left_over()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def children(self) -> list[Child]:
        """All children in order of their start."""
        return [child for batch in self._batches for child in batch]

    def request_stop(self) -> None:
        """Have the next `tick` raise StopRequested: what a signal handler may do at any moment."""
        self.is_stop_requested = True

    def start(self, *services: Service) -> None:
        """Start `services` side by side and return when each answers its probe; ServiceError where one cannot."""
        batch: list[Child] = []
        self._batches.append(batch)
        for service in services:
            batch.append(Child(service, spawn(self.home, service), time.monotonic()))
            log.debug("started", part=service.name, pid=batch[-1].process.pid)
        deadline = time.monotonic() + max(service.start_timeout_s for service in services)
        while waiting := [child for child in batch if not child.was_ready]:
            self.tick()
            for child in waiting:
                if child.restart_at is None and child.service.probe():
                    child.was_ready = True
            if time.monotonic() > deadline:
                late = next(child.service for child in batch if not child.was_ready)
                raise ServiceError(
                    f"{late.name} did not answer within {late.start_timeout_s:.0f} s; {self._log_of(late)}"
                )
            time.sleep(_TICK_S / 2)

    def watch(self, until: Callable[[], bool]) -> None:
        """Keep the children running until `until` answers true; ServiceError where one crashes time and again."""
        while not until():
            self.tick()
            time.sleep(_TICK_S)

    def tick(self) -> None:
        """Look after every child once, without waiting. StopRequested where that was asked for."""
        if self.is_stop_requested:
            raise StopRequested
        now = time.monotonic()
        for child in self.children:
            if child.restart_at is not None:
                if now >= child.restart_at:
                    self._restart(child)
            elif (code := child.process.poll()) is not None:
                self._crashed(child, code, now)
            elif child.crashes and now - child.started > HEALTHY_AFTER_S:
                child.crashes = 0
        if now >= self._housekeeping_at:
            self._housekeeping_at = now + _HOUSEKEEPING_S
            for child in self.children:
                self._bound_log(child.service)
                self._bound_memory(child)

    def stop(self) -> None:
        """End every child, last started first; what does not end in time is killed."""
        while self._batches:
            batch = self._batches.pop()
            orphans: list[psutil.Process] = []
            for child in batch:
                with contextlib.suppress(psutil.Error):
                    orphans += descendants(psutil.Process(child.process.pid))
                child.process.send_signal(child.service.stop_signal)
            deadline = time.monotonic() + max((child.service.stop_timeout_s for child in batch), default=0)
            for child in batch:
                try:
                    child.process.wait(max(0, deadline - time.monotonic()))
                except subprocess.TimeoutExpired:
                    log.warning("killed, since it did not end when asked", part=child.service.name)
                    child.process.kill()
                    child.process.wait()
                forget(self.home, child.service.name)
            end_all(orphans)

    def _restart(self, child: Child) -> None:
        child.process = spawn(self.home, child.service)
        child.started = time.monotonic()
        child.restart_at = None
        child.restarts += 1

    def _crashed(self, child: Child, code: int, now: float) -> None:
        child.crashes = 1 if now - child.started > HEALTHY_AFTER_S else child.crashes + 1
        how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        if child.crashes >= (CRASHES_IN_A_ROW if child.was_ready else CRASHES_AT_START):
            raise ServiceError(
                f"{child.service.name} ended {child.crashes} times in a row, at last with {how}; "
                f"{self._log_of(child.service)}"
            )
        first, longest = _BACK_OFF_S
        delay = min(longest, first * 2 ** (child.crashes - 1))
        child.restart_at = now + delay
        log.warning("ended by itself, will be restarted", part=child.service.name, how=how, in_s=delay)

    def _log_of(self, service: Service) -> str:
        path = log_path(self.home, service.name)
        return f"{path} says:\n{last_words(path)}"

    def _bound_log(self, service: Service) -> None:
        path = log_path(self.home, service.name)
        with contextlib.suppress(OSError):
            if path.stat().st_size > LOG_BYTES:
                shutil.copyfile(path, path.with_suffix(".log.1"))
                path.open("r+b").truncate(0)  # the child appends, so it goes on at the new end

    def _bound_memory(self, child: Child) -> None:
        limit = child.service.rss_limit
        with contextlib.suppress(psutil.Error):
            if limit is not None and child.restart_at is None and child.process.poll() is None:
                process = psutil.Process(child.process.pid)
                used = process.memory_info().rss
                if used > limit:
                    log.info("restarted, since it grew", part=child.service.name, mb=used >> 20, limit_mb=limit >> 20)
                    end(process, child.service.stop_signal, child.service.stop_timeout_s)
                    child.process.wait()
                    self._restart(child)

    def _end_left_over(self) -> None:
        for name, process in left_over(self.home).values():
            log.warning("ended what an earlier start left", part=name, pid=process.pid)
            stop_signal = signal.SIGINT if name == "postgres" else signal.SIGTERM
            end(process, stop_signal, timeout_s=30 if name == "postgres" else 10)
            forget(self.home, name)
