"""Accesses in, rows of md.audit_log out: written in batches by a thread of its own, kept for so long.

The queue is bounded (DROP_NEWEST): while the database is away, what does not fit is counted and said; requests go on.
"""

import datetime as dt
import threading
import time
from collections import deque
from dataclasses import astuple, dataclass, fields
from typing import Self

import structlog

from md_platform.errors import StorageError
from md_platform.storage.database import connected, database_errors

CAPACITY = 50_000
_EVERY_S = 1.0
_CLEAN_EVERY_S = 3_600.0

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Access:
    """One access: who did what from where, and how it ended. Neither queries nor credentials belong into it."""

    at: dt.datetime
    principal: str | None
    address: str
    service: str
    action: str
    route: str
    target: str
    status: int
    bytes: int
    ms: float
    trace_id: str


_COPY = f"COPY md.audit_log ({', '.join(field.name for field in fields(Access))}) FROM STDIN"


class Audit:
    """Writes accesses to the database at `url` each second, and removes those older than `kept_for`."""

    def __init__(self, url: str, kept_for: dt.timedelta, capacity: int = CAPACITY) -> None:
        self._url = url
        self._kept_for = kept_for
        self._capacity = capacity
        self._queue: deque[Access] = deque()
        self._stopping = threading.Event()
        self._clean_at = time.monotonic()
        self._thread = threading.Thread(target=self._write, name="audit", daemon=True)
        self.dropped = 0
        """Accesses that were not written, for want of room."""
        self._thread.start()

    def record(self, access: Access) -> None:
        """Have `access` written soon. Never waits."""
        if len(self._queue) < self._capacity:
            self._queue.append(access)
        else:
            self.dropped += 1

    def close(self) -> None:
        """Write what is left, in one attempt, and end the thread."""
        self._stopping.set()
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _write(self) -> None:
        said = 0
        while not self._stopping.wait(_EVERY_S):
            if self._flush() and said < self.dropped:
                log.error("accesses were not audited, since the database was away", count=self.dropped - said)
                said = self.dropped
        self._flush()

    def _flush(self) -> bool:
        """Write what waits; whether that went well. What was not written waits on."""
        batch = list(self._queue)
        if not batch and time.monotonic() < self._clean_at:
            return True
        try:
            with database_errors(), connected(self._url) as connection, connection.cursor() as cursor:
                if batch:
                    with cursor.copy(_COPY) as copy:
                        for access in batch:
                            copy.write_row(astuple(access))
                if time.monotonic() >= self._clean_at:
                    cursor.execute("DELETE FROM md.audit_log WHERE at < now() - %s", (self._kept_for,))
        except StorageError as error:
            log.warning("accesses wait to be audited", count=len(batch), reason=str(error))
            return False
        if time.monotonic() >= self._clean_at:
            self._clean_at = time.monotonic() + _CLEAN_EVERY_S
        for _ in batch:
            self._queue.popleft()
        return True
