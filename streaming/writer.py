"""The database writer: the spool in, rows of the live store out. A process of its own, so that feeds never wait for it.

While the database is away the spool grows; when it is back, everything is stored in order, each event once.
"""

import json
import random
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import structlog

from md_platform.domain.events import IndicatorValues
from md_platform.domain.wire import decode
from md_platform.errors import StorageError, StorageFull
from md_platform.settings import KeptFor
from md_platform.storage.live_store import LiveStore
from md_platform.storage.spool import Spool, Spooled
from streaming.run import LEAST_FREE_BYTES, TAIL_NS

log = structlog.get_logger(__name__)

EVENTS_PER_WRITE = 50_000
_IDLE_S = 0.05
_KEEP_EVERY_S = 3_600.0
_FORGET_EVERY_S = 30.0
_BACKOFF_S = (0.2, 1.0, 2.0, 5.0, 10.0)


class Writer:
    """Drains the spool at `path` into `store` until `stopping` says so; `writer.beat` beside it tells how far it is."""

    def __init__(self, path: Path, store: LiveStore, kept_for: KeptFor, stopping: Callable[[], bool]) -> None:
        self._spool = Spool(path)
        self._beat = path.with_name("writer.beat")
        self._store = store
        self._kept_for = kept_for
        self._stopping = stopping
        self._kept_at = self._forgot_at = float("-inf")
        self._failures = 0
        self.stored = 0

    def run(self) -> None:
        """Store until told to stop; what is in the spool by then stays there for the next one."""
        after: int | None = None
        while not self._stopping():
            try:
                if after is None:
                    after = self._store.last_row(self._spool.id)
                self._maintain(after)
                rows = self._spool.read(after, EVENTS_PER_WRITE)
                if rows:
                    self._write(rows, after)
                    after = rows[-1].id
                self._beat.write_text(json.dumps({"row": after, "stored": self.stored, "behind_s": _behind_s(rows)}))
                if self._failures:
                    log.info("database is back", stored=self.stored)
                self._failures = 0
                if sum(row.message.events for row in rows) < EVENTS_PER_WRITE // 10:
                    time.sleep(_IDLE_S)
            except StorageError as error:
                if not (error.retryable or isinstance(error, StorageFull)):
                    raise
                if not self._failures:
                    log.warning("database is away", reason=str(error))
                wait_s = _BACKOFF_S[min(self._failures, len(_BACKOFF_S) - 1)]
                self._failures += 1
                after = None
                self._beat.touch()
                time.sleep(wait_s * random.uniform(0.5, 1.0))  # noqa: S311 - jitter

    def _write(self, rows: list[Spooled], after: int) -> None:
        events = []
        for row in rows:
            try:
                events += [event for event in decode(row.message.payload) if not isinstance(event, IndicatorValues)]
            except msgspec.MsgspecError as error:
                raise StorageError(
                    f"spool row {row.id} cannot be read ({error}): was it written by another version?"
                ) from error
        written = self._store.write(events, self._spool.id, rows[-1].id, after)
        self.stored += written.stored.total()

    def _maintain(self, after: int) -> None:
        now = time.monotonic()
        if now - self._kept_at > _KEEP_EVERY_S:
            for change in self._store.keep(self._kept_for):
                log.info("retention", change=change)
            self._kept_at = now
        if now - self._forgot_at > _FORGET_EVERY_S:
            self._forget(after, time.time_ns() - TAIL_NS)
            self._forgot_at = now

    def _forget(self, after: int, before_ns: int) -> None:
        """Sinks that are behind keep what is stored in the spool, but not at the price of feeds."""
        if shutil.disk_usage(self._spool.path.parent).free >= LEAST_FREE_BYTES:
            self._spool.forget(after, before_ns)
            return
        for sink, messages in self._spool.overrun(after, before_ns).items():
            log.error("disk nearly full: a sink that is behind loses messages", sink=sink, messages=messages)


def _behind_s(rows: list[Spooled]) -> float:
    """How old what was just stored was."""
    return (time.time_ns() - rows[0].at_ns) / 1e9 if rows else 0.0
