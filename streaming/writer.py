"""The database writer: spools in, rows of the live store out. A process of its own, so that feeds never wait for it.

While the database is away the spools grow; when it is back, everything is stored in order, each event once.
"""

import contextlib
import itertools
import json
import random
import shutil
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeGuard

import msgspec
import structlog

from md_platform.domain.events import Bar, DayStatistics, IndicatorValues, Quarantined
from md_platform.domain.wire import Published, decode
from md_platform.errors import StorageError, StorageFull, Unstorable
from md_platform.settings import KeptFor
from md_platform.storage.live_rows import Stored
from md_platform.storage.live_store import LiveStore
from md_platform.storage.spool import Spool, Spooled
from streaming.lag import Lag
from streaming.remembering import TAIL_NS
from streaming.run import LEAST_FREE_BYTES
from streaming.venue_quality import VenueQuality

log = structlog.get_logger(__name__)

EVENTS_PER_WRITE = 50_000
_BEAT = "writer.beat"
_IDLE_S = 0.05
_KEEP_EVERY_S = 3_600.0
_FORGET_EVERY_S = 5.0
_LOOK_EVERY_S = 1.0
_BACKOFF_S = (0.2, 1.0, 2.0, 5.0, 10.0)


class Writer:
    """Drains every spool in `folder` and below it into `store` until `stopping` says so.

    That is the spool of each shard on this machine, also of shards that are no more. `writer.beat` beside each tells
    how far it is, the one in `folder` that the writer lives.
    """

    def __init__(self, folder: Path, store: LiveStore, kept_for: KeptFor, stopping: Callable[[], bool]) -> None:
        self._folder = folder
        self._store = store
        self._kept_for = kept_for
        self._stopping = stopping
        self._spools: dict[Path, Spool] = {}
        self._after: dict[Path, int] = {}
        self._looked_at = self._kept_at = self._forgot_at = float("-inf")
        self._failures = 0
        self._lags: defaultdict[Path, Lag] = defaultdict(Lag)
        self._qualities: defaultdict[Path, VenueQuality] = defaultdict(VenueQuality)
        self.stored = 0

    def run(self) -> None:
        """Store until told to stop; what is in the spools by then stays there for the next one."""
        self._folder.mkdir(parents=True, exist_ok=True)
        while not self._stopping():
            try:
                with contextlib.suppress(OSError):  # a full disk takes no beat, and that is no reason to stop
                    (self._folder / _BEAT).touch()
                self._look()
                self._maintain()
                events = sum(self._drain(path, spool) for path, spool in self._spools.items())
                if self._failures:
                    log.info("database is back", stored=self.stored)
                self._failures = 0
                if events < EVENTS_PER_WRITE // 10:
                    time.sleep(_IDLE_S)
            except StorageError as error:
                if not (error.retryable or isinstance(error, StorageFull)):
                    raise
                if not self._failures:
                    log.warning("database is away", reason=str(error))
                wait_s = _BACKOFF_S[min(self._failures, len(_BACKOFF_S) - 1)]
                self._failures += 1
                self._after.clear()
                time.sleep(wait_s * random.uniform(0.5, 1.0))  # noqa: S311 - jitter

    def _look(self) -> None:
        """Open spools that are new."""
        now = time.monotonic()
        if now - self._looked_at > _LOOK_EVERY_S:
            self._looked_at = now
            for path in self._folder.rglob("spool.db"):
                if path not in self._spools:
                    self._spools[path] = Spool(path)

    def _drain(self, path: Path, spool: Spool) -> int:
        """Store what one write takes; how many events."""
        if path not in self._after:
            self._after[path] = self._store.last_row(spool.id)
        rows = spool.read(self._after[path], EVENTS_PER_WRITE)
        if rows:
            self._write(spool, rows, self._after[path])
            self._after[path] = rows[-1].id
            self._lags[path].reached(rows[0].at_ns)
        told = {
            "row": self._after[path],
            "stored": self.stored,
            "behind_s": _behind_s(rows),
            "lag_ms": self._lags[path].percentiles_ms(),
            "quality": self._qualities[path].scores(),
        }
        with contextlib.suppress(OSError):
            path.with_name(_BEAT).write_text(json.dumps(told))
        return sum(row.message.events for row in rows)

    def _write(self, spool: Spool, rows: list[Spooled], after: int) -> None:
        """Store `rows`, in ever smaller parts where they hold one that cannot be: that one goes to quarantine."""
        try:
            batches = [list(_kept(row)) for row in rows]
            self._write_events(spool, list(itertools.chain.from_iterable(batches)), rows[-1].id, after)
        except Unstorable as error:
            if len(rows) == 1:
                self._quarantine(spool, rows[0], after, str(error))
                return
            half = len(rows) // 2
            self._write(spool, rows[:half], after)
            self._write(spool, rows[half:], rows[half - 1].id)
        else:
            for batch in batches:
                self._qualities[spool.path].add(batch)

    def _write_events(self, spool: Spool, events: Sequence[Stored], upto: int, after: int) -> None:
        written = self._store.write(events, spool.id, upto, after)
        self.stored += written.stored.total()

    def _quarantine(self, spool: Spool, row: Spooled, after: int, reason: str) -> None:
        """Keep the message of `row` whole, beside what venues sent and no rule took."""
        log.error("a message cannot be stored", spool=str(spool.path), row=row.id, reason=reason)
        told = f"{row.message.channel}: {reason}".replace("\0", "")
        kept = Quarantined("", "spool", row.at_ns, told, row.message.payload)
        self._write_events(spool, [kept], row.id, after)

    def _maintain(self) -> None:
        now = time.monotonic()
        if now - self._kept_at > _KEEP_EVERY_S:
            for change in self._store.keep(self._kept_for):
                log.info("retention", change=change)
            self._kept_at = now
        if now - self._forgot_at > _FORGET_EVERY_S:
            for path, after in self._after.items():
                try:
                    self._forget(self._spools[path], after, time.time_ns() - TAIL_NS)
                except StorageError as error:
                    log.warning("what is stored stays in the spool", spool=str(path), reason=str(error))
            self._forgot_at = now

    def _forget(self, spool: Spool, after: int, before_ns: int) -> None:
        """Sinks that are behind keep what is stored in the spool, but not at the price of feeds."""
        if shutil.disk_usage(self._folder).free >= LEAST_FREE_BYTES:
            spool.forget(after, before_ns)
            return
        for sink, messages in spool.overrun(after, before_ns).items():
            log.error("disk nearly full: a sink that is behind loses messages", sink=sink, messages=messages)


def _kept(row: Spooled) -> Iterator[Stored]:
    """Events of a row that are stored; Unstorable where it cannot be read."""
    try:
        yield from (event for event in decode(row.message.payload) if _is_kept(event))
    except msgspec.MsgspecError as error:
        raise Unstorable(f"it cannot be read ({error}): was it written by another version?") from error


def _is_kept(event: Published) -> TypeGuard[Stored]:
    """Whether it is stored. A bar that still runs has the key of the one that it becomes, and would take its place."""
    is_running = isinstance(event, Bar) and not event.is_closed
    return not is_running and not isinstance(event, IndicatorValues | DayStatistics)


def _behind_s(rows: list[Spooled]) -> float:
    """How old what was just stored was."""
    return (time.time_ns() - rows[0].at_ns) / 1e9 if rows else 0.0
