"""Jobs in, carried out by a few threads of this process; a job whose process was killed is taken up by the next."""

import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import structlog

from md_platform.errors import LeaseLost, MdpError, StorageError
from md_platform.jobs.queue import Job, Jobs, Kind, State
from md_platform.telemetry import redact

log = structlog.get_logger(__name__)

_HOLD_EVERY_S = 2.0
_LOOK_EVERY_S = 1.0
_REPORT_EVERY_S = 0.5


class Cancelled(Exception):
    """Somebody asked to cancel the job that is worked on."""


class Interrupted(Exception):
    """This process ends, or lost the job: what is done stays, another goes on with it."""


@dataclass
class Task:
    """A job that is worked on, as its handler sees it."""

    job: Job
    _jobs: Jobs
    _worker: str
    _stopping: threading.Event
    _unwanted: threading.Event = field(default_factory=threading.Event)
    _lost: threading.Event = field(default_factory=threading.Event)
    _reported: tuple[Mapping[str, Any], float] = ({}, 0.0)

    def check(self) -> None:
        """Raise Cancelled or Interrupted where the work should not go on. Costs nothing."""
        if self._unwanted.is_set():
            raise Cancelled
        if self._stopping.is_set() or self._lost.is_set():
            raise Interrupted

    def report(self, done: int, total: int, detail: Mapping[str, Any]) -> None:
        """Tell how far the work is, and `check`; where only the numbers changed, now and then is enough."""
        self.check()
        now = time.monotonic()
        before, at = self._reported
        if detail == before and now - at < _REPORT_EVERY_S:
            return
        self._reported = (dict(detail), now)
        try:
            self._jobs.advance(self.job.id, self._worker, done, total, detail)
        except LeaseLost:
            raise Interrupted from None

    def told(self, *, is_ours: bool, is_unwanted: bool) -> None:
        """What the database says of the job."""
        if is_unwanted:
            self._unwanted.set()
        if not is_ours:
            self._lost.set()


@dataclass(frozen=True, slots=True)
class Work:
    """How jobs of one kind are done: at most `at_once` in this process.

    `do` returns why the job failed, None where it is done; what it raises fails the job, too, and what is retryable is
    tried again. `tidy` is called now and then.
    """

    do: Callable[[Task], str | None]
    at_once: int
    kept_for_s: float | None = None
    tidy: Callable[[], None] = lambda: None


class Worker:
    """Works on jobs from `start` until `close`, which lets others go on with them."""

    def __init__(self, jobs: Jobs, works: Mapping[Kind, Work]) -> None:
        self._jobs = jobs
        self._works = works
        self._name = f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"
        self._stopping = threading.Event()
        self._wake = threading.Event()
        self._lock = threading.Lock()
        self._tasks: dict[str, Task] = {}
        self._pool = ThreadPoolExecutor(sum(work.at_once for work in works.values()), thread_name_prefix="job")
        self._threads = [
            threading.Thread(target=loop, name=loop.__name__, daemon=True) for loop in (self._look, self._hold)
        ]

    def start(self) -> None:
        """Begin to look for jobs."""
        for thread in self._threads:
            thread.start()

    def wake(self) -> None:
        """A job was added: look at once."""
        self._wake.set()

    def close(self) -> None:
        """End; waits until each job's handler has noticed."""
        self._stopping.set()
        self._wake.set()
        for thread in self._threads:
            if thread.is_alive():
                thread.join()
        self._pool.shutdown(wait=True)

    def _look(self) -> None:
        while not self._stopping.is_set():
            self._wake.clear()
            try:
                while self._take():
                    pass
                for work in self._works.values():
                    work.tidy()
            except StorageError as error:
                log.warning("jobs wait", reason=str(error))
            self._wake.wait(_LOOK_EVERY_S)

    def _take(self) -> bool:
        """Begin one more job; False where there is none or no room."""
        with self._lock:
            busy = [task.job.kind for task in self._tasks.values()]
        free = [kind for kind, work in self._works.items() if busy.count(kind) < work.at_once]
        if self._stopping.is_set() or not free:
            return False
        job = self._jobs.claim(free, self._name)
        if job is None:
            return False
        task = Task(job, self._jobs, self._name, self._stopping)
        if job.is_unwanted:
            task.told(is_ours=True, is_unwanted=True)
        with self._lock:
            self._tasks[job.id] = task
        self._pool.submit(self._carry_out, task)
        return True

    def _hold(self) -> None:
        while not self._stopping.wait(_HOLD_EVERY_S):
            with self._lock:
                tasks = dict(self._tasks)
            if not tasks:
                continue
            try:
                held = self._jobs.hold(list(tasks), self._name)
            except StorageError:
                continue  # whoever takes them up meanwhile has them
            for id_, task in tasks.items():
                task.told(is_ours=id_ in held, is_unwanted=held.get(id_, False))

    def _carry_out(self, task: Task) -> None:
        job, work = task.job, self._works[task.job.kind]
        try:
            self._end(task, work)
        except StorageError as error:
            log.warning("a job's end could not be noted, it will be tried again", job=job.id, reason=str(error))
        finally:
            with self._lock:
                del self._tasks[job.id]
            self._wake.set()

    def _end(self, task: Task, work: Work) -> None:
        job = task.job
        try:
            task.check()
            error = work.do(task)
        except Cancelled:
            self._jobs.finish(job.id, self._name, "cancelled")
        except Interrupted:
            self._jobs.finish(job.id, self._name, "queued")
        except MdpError as raised:
            log.warning("a job failed", job=job.id, kind=job.kind, reason=str(raised))
            state: State = "queued" if raised.retryable else "failed"
            self._jobs.finish(job.id, self._name, state, redact(str(raised)))
        except Exception:
            log.exception("a job failed", job=job.id, kind=job.kind)
            self._jobs.finish(job.id, self._name, "failed", "an unforeseen error: see the log of the API")
        else:
            self._jobs.finish(job.id, self._name, "failed" if error else "done", error, kept_for_s=work.kept_for_s)
