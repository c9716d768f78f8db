"""Jobs in PostgreSQL: requests in, their state out; for workers, a job each, held while it is worked on.

What a kind of job does belongs to its handler.
"""

import contextlib
import datetime as dt
import json
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from psycopg import sql

from md_platform.errors import LeaseLost, NotFound
from md_platform.storage.database import Connection, connected, database_errors

Kind = Literal["export", "backfill"]
State = Literal["queued", "running", "done", "failed", "cancelled", "expired"]
UNFINISHED: tuple[State, ...] = ("queued", "running")

ABANDONED_AFTER_S = 15
"""A running job of which nothing was heard for so long is taken up by another worker."""
_RETRY_AFTER_S = 5
_ATTEMPTS = 5


@dataclass(frozen=True, slots=True)
class Job:
    """A job as it stands. `done` and `total` are in what the kind counts, `detail` is what it tells."""

    id: str
    kind: Kind
    owner: str
    request: Mapping[str, Any]
    state: State
    done: int
    total: int
    detail: Mapping[str, Any]
    error: str | None
    is_unwanted: bool
    created_at: dt.datetime
    started_at: dt.datetime | None
    finished_at: dt.datetime | None
    expires_at: dt.datetime | None

    @property
    def is_finished(self) -> bool:
        """Whether nothing will happen any more."""
        return self.state not in UNFINISHED


_FIELDS = sql.SQL(", ").join(map(sql.Identifier, Job.__dataclass_fields__))


class Jobs:
    """The jobs in the database at `url`. A call is one transaction; StorageError where it is unreachable."""

    def __init__(self, url: str) -> None:
        self._url = url

    def add(self, kind: Kind, owner: str, request: Mapping[str, Any], total: int = 0) -> Job:
        """A new job, to be worked on as soon as somebody is free."""
        with self._connect() as connection:
            values = (uuid.uuid4().hex, kind, owner, json.dumps(request), total)
            (job,) = _jobs(connection, _ADD, values)
        return job

    def get(self, kind: Kind, id_: str, owner: str | None = None) -> Job:
        """The job `id_`, if it is of `owner` (None: whoever's); NotFound."""
        with self._connect() as connection:
            found = _jobs(connection, _GET, (id_, kind, owner, owner))
        if not found:
            raise NotFound(f"no {kind} is called {id_!r}")
        return found[0]

    def of(self, kind: Kind, owner: str | None = None, limit: int = 100) -> list[Job]:
        """The newest jobs of `owner` (None: of all), newest first."""
        with self._connect() as connection:
            return _jobs(connection, _LIST, (kind, owner, owner, limit))

    def unfinished(self, kind: Kind, owner: str | None = None) -> list[Job]:
        """Jobs that wait or are worked on, oldest first."""
        with self._connect() as connection:
            return _jobs(connection, _UNFINISHED, (kind, owner, owner))

    def cancel(self, kind: Kind, id_: str, owner: str | None = None) -> Job:
        """Have the job cancelled: at once where it waits, soon where it is worked on; a finished one stays as it is."""
        self.get(kind, id_, owner)
        with self._connect() as connection:
            connection.execute(_CANCEL, (id_,))
        return self.get(kind, id_, owner)

    def claim(self, kinds: Sequence[Kind], worker: str) -> Job | None:
        """A job of `kinds` for the process `worker`: one that waits, or that nobody works on any more."""
        with self._connect() as connection:
            connection.execute(_GIVE_UP, (_ATTEMPTS, ABANDONED_AFTER_S))
            found = _jobs(connection, _CLAIM, (worker, list(kinds), _RETRY_AFTER_S, ABANDONED_AFTER_S))
        return found[0] if found else None

    def hold(self, ids: Sequence[str], worker: str) -> dict[str, bool]:
        """Say that `worker` works on `ids`. Those that it still has, each with whether it is unwanted."""
        with self._connect() as connection:
            return dict(connection.execute(_HOLD, (worker, list(ids))).fetchall())

    def advance(self, id_: str, worker: str, done: int, total: int, detail: Mapping[str, Any]) -> None:
        """Note how far the job is; LeaseLost where another worker has it."""
        with self._connect() as connection:
            values = (done, total, json.dumps(detail), id_, worker)
            if not connection.execute(_ADVANCE, values).rowcount:
                raise LeaseLost(f"job {id_} is another worker's now")

    def finish(
        self,
        id_: str,
        worker: str,
        state: State,
        error: str | None = None,
        *,
        kept_for_s: float | None = None,
    ) -> None:
        """Note how the job ended; nothing where another worker has it. `queued` lets it be tried again a bit later."""
        with self._connect() as connection:
            is_over = state not in UNFINISHED
            connection.execute(_FINISH, (state, error, is_over, kept_for_s, id_, worker))

    def end_now(self, id_: str) -> None:
        """Mark a finished job as expired."""
        with self._connect() as connection:
            connection.execute("UPDATE md.jobs SET state = 'expired' WHERE id = %s AND state = 'done'", (id_,))

    def expire(self, kind: Kind) -> list[Job]:
        """Mark finished jobs whose time has come; those that now are."""
        with self._connect() as connection:
            return _jobs(connection, _EXPIRE, (kind,))

    @contextlib.contextmanager
    def _connect(self) -> Iterator[Connection]:
        with database_errors(), connected(self._url) as connection:
            yield connection


def _jobs(connection: Connection, statement: sql.SQL, values: Sequence[Any]) -> list[Job]:
    return [Job(*row) for row in connection.execute(statement.format(fields=_FIELDS), values).fetchall()]


_ADD = sql.SQL(
    "INSERT INTO md.jobs (id, kind, owner, request, total) VALUES (%s, %s, %s, %s, %s) RETURNING {fields}",
)
_GET = sql.SQL("SELECT {fields} FROM md.jobs WHERE id = %s AND kind = %s AND (%s::text IS NULL OR owner = %s)")
_LIST = sql.SQL(
    "SELECT {fields} FROM md.jobs WHERE kind = %s AND (%s::text IS NULL OR owner = %s)"
    " ORDER BY created_at DESC, id LIMIT %s"
)
_UNFINISHED = sql.SQL(
    "SELECT {fields} FROM md.jobs WHERE kind = %s AND (%s::text IS NULL OR owner = %s)"
    " AND state IN ('queued', 'running') ORDER BY created_at"
)
_CANCEL = """
UPDATE md.jobs SET is_unwanted = true,
    state = CASE state WHEN 'queued' THEN 'cancelled' ELSE state END,
    finished_at = CASE state WHEN 'queued' THEN now() ELSE finished_at END
WHERE id = %s AND state IN ('queued', 'running')
"""
_GIVE_UP = """
UPDATE md.jobs SET state = 'failed', finished_at = now(),
    error = coalesce(error, 'the process that worked on it ended, again and again')
WHERE state IN ('queued', 'running') AND attempts >= %s AND seen_at < now() - %s * interval '1 second'
"""
_CLAIM = sql.SQL("""
UPDATE md.jobs SET state = 'running', worker = %s, seen_at = now(), attempts = attempts + 1,
    started_at = coalesce(started_at, now())
WHERE id = (
    SELECT id FROM md.jobs
    WHERE kind = ANY (%s)
      AND (state = 'queued' AND (seen_at IS NULL OR seen_at < now() - %s * interval '1 second')
           OR state = 'running' AND seen_at < now() - %s * interval '1 second')
    ORDER BY created_at FOR UPDATE SKIP LOCKED LIMIT 1
)
RETURNING {fields}
""")
_HOLD = """
UPDATE md.jobs SET seen_at = now() WHERE worker = %s AND id = ANY (%s) AND state = 'running' RETURNING id, is_unwanted
"""
_ADVANCE = """
UPDATE md.jobs SET done = %s, total = %s, detail = %s, seen_at = now(), attempts = 0
WHERE id = %s AND worker = %s AND state = 'running'
"""
_FINISH = """
UPDATE md.jobs SET state = %s, error = %s, finished_at = CASE WHEN %s THEN now() END, seen_at = now(),
    expires_at = now() + %s * interval '1 second'
WHERE id = %s AND worker = %s AND state = 'running'
"""
_EXPIRE = sql.SQL("""
UPDATE md.jobs SET state = 'expired' WHERE kind = %s AND state = 'done' AND expires_at < now() RETURNING {fields}
""")
