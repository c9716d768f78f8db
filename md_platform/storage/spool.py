"""The write-ahead spool: messages in, on disk before anyone else sees them; read in order by the database writer.

One SQLite file in WAL mode, synced at every append. Rows that are stored stay for a while, so that a process that
starts again finds the last minutes here whatever the database does; and as long as a reader (a sink) has yet to take
them, unless the disk fills up.

Deleting takes room, too, before it gives any: a reserve beside the file is given up for it where the disk has none.
"""

import bisect
import itertools
import sqlite3
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from md_platform.errors import StorageError, StorageFull

Kind = Literal["trades", "quotes", "book"]
"""What a message holds, in the order in which it is dear: trades stands for bars and notices as well."""

SHED_FIRST: tuple[Kind, ...] = ("book", "quotes")
"""What is given up when the disk is nearly full, the first of them first. Trades never are."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS spool (id TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS messages (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    at_ns INTEGER NOT NULL,
    kind TEXT NOT NULL,
    channel TEXT NOT NULL,
    events INTEGER NOT NULL,
    payload BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS readers (
    name TEXT PRIMARY KEY,
    wanted TEXT NOT NULL,
    position INTEGER NOT NULL
);
"""

RESERVE_BYTES = 16 << 20
_ROWS_AT_ONCE = 1_000  # five values each: SQLite takes 32,766 in one statement
_DELETED_AT_ONCE = 1_000
"""Messages in one transaction, so that it fits into the reserve, and who appends waits for little."""

EVERY_CHANNEL = "*"
"""What a reader wants that wants everything."""


@dataclass(frozen=True, slots=True)
class Message:
    """One batch of one channel, as it is published. `received_ns`: when the first of it came in, 0 from the disk."""

    kind: Kind
    channel: str
    events: int
    payload: bytes
    received_ns: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Spooled:
    """A message and its place in the spool."""

    id: int
    at_ns: int
    message: Message


class Spool:
    """The spool at `path`. One process appends; another reads and forgets. Not for several threads at once."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _errors(path):
            self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=30)
            self._connection.execute("PRAGMA journal_mode=WAL")
            self._connection.execute("PRAGMA synchronous=FULL")
            self._connection.execute("PRAGMA journal_size_limit=67108864")
            self._connection.executescript(_SCHEMA)
            self._connection.execute(
                "INSERT INTO spool (id) SELECT ? WHERE NOT EXISTS (SELECT 1 FROM spool)", (str(uuid.uuid4()),)
            )
            self.id = uuid.UUID(self._connection.execute("SELECT id FROM spool").fetchone()[0])
        self.path = path
        self._reserve = path.with_suffix(".reserve")
        self._keep_reserve()

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def append(self, messages: Sequence[Message]) -> int:
        """Write `messages` at once, synced; the id of the last. StorageFull where the disk refuses: then none is in."""
        at_ns = time.time_ns()
        with _errors(self.path):
            if 0 < len(messages) <= _ROWS_AT_ONCE:
                return self._insert(at_ns, messages)
            last = 0
            with self._transaction():
                for start in range(0, len(messages), _ROWS_AT_ONCE):
                    last = self._insert(at_ns, messages[start : start + _ROWS_AT_ONCE])
            return last

    def _insert(self, at_ns: int, messages: Sequence[Message]) -> int:
        """One statement for all: after each a thread waits anew for its turn to run, several milliseconds if busy."""
        rows = ", ".join(["(?, ?, ?, ?, ?)"] * len(messages))
        values = [value for m in messages for value in (at_ns, m.kind, m.channel, m.events, m.payload)]
        statement = f"INSERT INTO messages (at_ns, kind, channel, events, payload) VALUES {rows}"  # noqa: S608 - marks
        return int(self._connection.execute(statement, values).lastrowid or 0)

    def checkpoint(self) -> None:
        """Write what was appended back into the file while others append, who else wait for it every 4 MiB."""
        with _errors(self.path):
            self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()

    def read(self, after: int, events: int = 20_000) -> list[Spooled]:
        """Messages after id `after` in order, of at most `events` events (and at least one message)."""
        found: list[Spooled] = []
        total = 0
        with _errors(self.path):
            rows = self._connection.execute(
                "SELECT id, at_ns, kind, channel, events, payload FROM messages WHERE id > ? ORDER BY id", (after,)
            )
            for id_, at_ns, kind, channel, count, payload in rows:
                if found and total + count > events:
                    break
                total += count
                found.append(Spooled(id_, at_ns, Message(kind, channel, count, payload)))
        return found

    def since(self, at_ns: int) -> Iterator[Spooled]:
        """Messages written since `at_ns`, in order, stored ones among them."""
        with _errors(self.path):
            for id_, at, kind, channel, count, payload in self._connection.execute(
                "SELECT id, at_ns, kind, channel, events, payload FROM messages WHERE at_ns >= ? ORDER BY id", (at_ns,)
            ):
                yield Spooled(id_, at, Message(kind, channel, count, payload))

    def keep_for(self, readers: Mapping[str, str]) -> None:
        """From now on wait for `readers`, names to the channel that each wants, and for no others."""
        with _errors(self.path), self._transaction():
            known = {name for (name,) in self._connection.execute("SELECT name FROM readers")}
            self._connection.executemany("DELETE FROM readers WHERE name = ?", [(n,) for n in known - readers.keys()])
            self._connection.executemany(
                "INSERT INTO readers (name, wanted, position) VALUES (?, ?, 0)"
                " ON CONFLICT (name) DO UPDATE SET wanted = excluded.wanted",
                list(readers.items()),
            )

    def position(self, reader: str) -> int:
        """Id of the last message that `reader` is remembered to have taken; 0 where it took none."""
        with _errors(self.path):
            found = self._connection.execute("SELECT position FROM readers WHERE name = ?", (reader,)).fetchone()
        return int(found[0]) if found else 0

    def remember(self, reader: str, position: int) -> None:
        """`reader` has taken everything up to id `position`."""
        with _errors(self.path), self._unsynced():
            self._connection.execute(
                "UPDATE readers SET position = max(position, ?) WHERE name = ?", (position, reader)
            )

    def forget(self, upto: int, before_ns: int) -> int:
        """Delete what is stored (id at most `upto`), older than `before_ns` and taken by all readers; how many."""
        with _errors(self.path):
            slowest = self._connection.execute("SELECT min(position) FROM readers WHERE wanted = '*'").fetchone()[0]
            # Found from the oldest on: a condition on time would have all that is kept looked through.
            young = self._connection.execute(
                "SELECT id FROM messages WHERE at_ns >= ? ORDER BY id LIMIT 1", (before_ns,)
            ).fetchone()
        last = min([upto, *([slowest] if slowest is not None else []), *([young[0] - 1] if young else [])])
        return self._delete(
            "id <= ? AND NOT EXISTS (SELECT 1 FROM readers WHERE wanted = channel AND position < id)", (last,)
        )

    def overrun(self, upto: int, before_ns: int) -> dict[str, int]:
        """As `forget`, without waiting for readers; how many messages each of them lost by it."""
        with _errors(self.path):
            lost = self._connection.execute(
                "SELECT name, count(*) FROM readers JOIN messages ON position < id AND wanted IN (channel, '*')"
                " WHERE id <= ? AND at_ns < ? GROUP BY name",
                (upto, before_ns),
            ).fetchall()
        self._delete("id <= ? AND at_ns < ?", (upto, before_ns))
        return {name: int(count) for name, count in lost}

    def shed(self, after: int, events: int) -> tuple[Kind, int] | None:
        """Give up at least `events` of the oldest least dear events that are not stored; which, and how many were.

        None where only trades are left.
        """
        for kind in SHED_FIRST:
            with _errors(self.path):
                rows = self._connection.execute(
                    "SELECT id, events FROM messages WHERE kind = ? AND id > ? ORDER BY id LIMIT 10000", (kind, after)
                ).fetchall()
            sums = list(itertools.accumulate(count for _, count in rows))
            if sums:
                last = min(bisect.bisect_left(sums, events), len(sums) - 1)
                self._delete("kind = ? AND id > ? AND id <= ?", (kind, after, rows[last][0]))
                return kind, sums[last]
        return None

    def _delete(self, condition: str, values: tuple[str | int, ...]) -> int:
        """Delete the messages that meet `condition`, which is ours, and give up the reserve where that needs room."""
        try:
            deleted = self._deleted(condition, values)
        except StorageFull:
            self._reserve.unlink(missing_ok=True)
            deleted = self._deleted(condition, values)
            with _errors(self.path):
                self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self._keep_reserve()
        return deleted

    def _deleted(self, condition: str, values: tuple[str | int, ...]) -> int:
        some = f"DELETE FROM messages WHERE id IN (SELECT id FROM messages WHERE {condition} ORDER BY id LIMIT ?)"  # noqa: S608
        total = 0
        while True:
            with _errors(self.path), self._unsynced():
                count = self._connection.execute(some, (*values, _DELETED_AT_ONCE)).rowcount
            total += count
            if count < _DELETED_AT_ONCE:
                return total

    def _keep_reserve(self) -> None:
        """Take the reserve, where it is not there and the disk has it."""
        if self._reserve.exists():
            return
        try:
            with self._reserve.open("wb", buffering=0) as file:
                if file.write(bytes(RESERVE_BYTES)) == RESERVE_BYTES:
                    return
        except OSError:  # it will be there again when the disk has room for it
            pass
        self._reserve.unlink(missing_ok=True)

    def depth(self, after: int) -> tuple[int, int]:
        """Messages and events after id `after`."""
        with _errors(self.path):
            found = self._connection.execute(
                "SELECT count(*), coalesce(sum(events), 0) FROM messages WHERE id > ?", (after,)
            ).fetchone()
        return int(found[0]), int(found[1])

    @contextmanager
    def _unsynced(self) -> Iterator[None]:
        """For changes that may be lost with the power: they are made again. No append waits for their sync."""
        self._connection.execute("PRAGMA synchronous=NORMAL")
        try:
            yield
        finally:
            self._connection.execute("PRAGMA synchronous=FULL")

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            if self._connection.in_transaction:  # a full disk has undone it already
                self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")


@contextmanager
def _errors(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_WRITE):
            raise StorageFull(f"no space left for the spool {path}: free some disk") from error
        raise StorageError(f"spool {path}: {error}") from error
    except sqlite3.DatabaseError as error:
        raise StorageError(f"spool {path} is damaged ({error}): move it aside, what it held is lost") from error
