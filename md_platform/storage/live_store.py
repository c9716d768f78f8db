"""Events of a spool in, rows of the live store out, each exactly once: on TimescaleDB and on plain PostgreSQL alike.

A batch and its place in the spool are one transaction. Reading what is stored belongs in `live_reading`.
"""

import contextlib
import datetime as dt
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self
from uuid import UUID

import numpy as np
import psycopg
from psycopg import sql

from md_platform.domain.events import Bar
from md_platform.errors import SpoolOverlap, StorageError, Unstorable
from md_platform.settings import KeptFor
from md_platform.storage.copy_rows import encoded
from md_platform.storage.database import Connection, connected, database_errors
from md_platform.storage.live_numbers import LiveNumbers
from md_platform.storage.live_rows import BARS, TABLES, LiveTable, Stored

_ORIGIN = dt.datetime(2000, 1, 3, tzinfo=dt.UTC)  # as md.partition_start


@dataclass(frozen=True, slots=True)
class Written:
    """Rows stored and rows passed over because they were there, by table. `replayed`: the whole batch was there."""

    stored: Counter[str] = field(default_factory=Counter)
    duplicate: Counter[str] = field(default_factory=Counter)
    replayed: bool = False


class LiveStore:
    """The live store in the database at `url`, for one thread.

    `sources` gives a venue's name as a source where it is not its id: the address of an overridden endpoint.
    `universe_of` is asked for the universe of an instrument that is met for the first time.

    A call either succeeds or changes nothing; after StorageUnavailable (retryable) the same call may be made again, and
    opens a new connection.
    """

    def __init__(
        self,
        url: str,
        sources: Mapping[str, str] | None = None,
        universe_of: Callable[[str], str] = lambda _: "",
    ) -> None:
        self._url = url
        self._numbers = LiveNumbers(dict(sources or {}), universe_of)
        self._connection: Connection | None = None
        self._steps: dict[str, int] | None = None
        self._partitions: dict[str, set[int]] = {}

    def close(self) -> None:
        """Close the connection; a later call opens another."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def last_row(self, spool: UUID) -> int:
        """Last row of `spool` that is stored, 0 where none is: reading goes on after it."""
        with self._open() as connection:
            found = connection.execute("SELECT last_row FROM md.spool_progress WHERE spool = %s", (spool,)).fetchone()
        return int(found[0]) if found else 0

    def write(self, events: Sequence[Stored], spool: UUID, upto: int, after: int | None = None) -> Written:
        """Store `events`, which are what `spool` holds up to its row `upto`, in one transaction.

        Where `upto` is stored already nothing is written. `after` is the last row before the events: say it where
        batches of a spool may be cut differently when they are read again; SpoolOverlap unless it is what is stored.
        """
        by_table = _by_table(events)
        with self._open() as connection:
            self._numbers.give(connection, by_table)
            try:
                return self._write(connection, by_table, spool, upto, after)
            except psycopg.errors.CheckViolation:
                # Retention dropped a partition that was known here: a late row needs it again.
                self._partitions.clear()
                return self._write(connection, by_table, spool, upto, after)

    def keep(self, kept_for: KeptFor) -> list[str]:
        """Apply retention and columnstore policies; what was changed. Called at start and every few hours.

        On plain PostgreSQL this makes the coming partitions and drops the old ones; on TimescaleDB the server's own
        jobs do the work and only what is configured otherwise is changed.
        """
        changed: list[str] = []
        with self._open() as connection:
            for table, (drop_after, columnstore_after) in _policies(kept_for).items():
                with connection.transaction():
                    connection.execute("SET LOCAL lock_timeout = '10s'")
                    row = connection.execute("SELECT md.keep(%s, %s, %s)", (table, drop_after, columnstore_after))
                    changed += (row.fetchone() or [[]])[0]
        self._partitions.clear()
        return changed

    @contextlib.contextmanager
    def _open(self) -> Iterator[Connection]:
        """The connection, made where there is none. An error of the connection itself ends it."""
        if self._connection is None or self._connection.closed:
            self._connection = connected(self._url, autocommit=True)
            self._forget()
        try:
            with database_errors():
                if self._steps is None:
                    self._connection.execute(_NO_LIMIT)
                    self._steps = dict(self._connection.execute(_STEPS).fetchall())
                yield self._connection
        except StorageError:
            if self._connection.closed or self._connection.broken:
                self.close()
            raise

    def _forget(self) -> None:
        """Forget what another database than the last one may not have."""
        self._numbers.forget()
        self._steps = None
        self._partitions = {}

    def _write(
        self,
        connection: Connection,
        by_table: Mapping[LiveTable, Sequence[Stored]],
        spool: UUID,
        upto: int,
        after: int | None,
    ) -> Written:
        self._make_partitions(connection, by_table)
        payloads: dict[LiveTable, bytes] = {}
        for table, rows in by_table.items():
            with _fitting(table):
                payloads[table] = encoded(table.fields(rows, self._numbers.numbering), len(rows))
        written = Written()
        with connection.transaction():
            if not _advance(connection, spool, upto, after):
                return Written(duplicate=Counter({t.name: len(rows) for t, rows in by_table.items()}), replayed=True)
            for table, payload in payloads.items():
                stored = _store(connection, table, payload)
                written.stored[table.name] = stored
                written.duplicate[table.name] = len(by_table[table]) - stored
        return written

    def _make_partitions(self, connection: Connection, by_table: Mapping[LiveTable, Sequence[Stored]]) -> None:
        """Make the partitions that rows need. Not in their transaction: it holds a lock that others wait for."""
        for table, rows in by_table.items():
            step = (self._steps or {}).get(table.name)
            if step is None:
                continue
            known = self._partitions.setdefault(table.name, set())
            with _fitting(table):
                numbers = (table.moments(rows) // 1_000 - int(_ORIGIN.timestamp()) * 1_000_000) // step
            if missing := set(np.unique(numbers).tolist()) - known:
                moments = [_ORIGIN + dt.timedelta(microseconds=number * step) for number in missing]
                connection.execute("SELECT md.make_partitions(%s, %s)", (table.name, moments))
                known |= missing


_STEPS = """
SELECT name, (extract(epoch FROM step) * 1000000)::bigint FROM md.live_tables
JOIN pg_class ON pg_class.oid = format('md.%I', name)::regclass AND relkind = 'p'
"""

_NO_LIMIT = "SET timescaledb.max_tuples_decompressed_per_dml_transaction = 0"
"""Many late rows may meet compressed ones; without TimescaleDB this says nothing."""


def _by_table(events: Iterable[Stored]) -> dict[LiveTable, list[Stored]]:
    by_kind: dict[type, list[Stored]] = {}
    for event in events:
        kind = type(event)
        if kind in by_kind:
            by_kind[kind].append(event)
        else:
            by_kind[kind] = [event]
    by_table = {TABLES[kind]: rows for kind, rows in by_kind.items() if kind is not Bar}
    for bar in by_kind.get(Bar, ()):
        if isinstance(bar, Bar):
            by_table.setdefault(BARS[bar.timeframe], []).append(bar)
    return by_table


@contextlib.contextmanager
def _fitting(table: LiveTable) -> Iterator[None]:
    try:
        yield
    except (OverflowError, TypeError, ValueError) as error:
        raise Unstorable(f"a value does not fit its column in md.{table.name}: {error}") from error


def _advance(connection: Connection, spool: UUID, upto: int, after: int | None) -> bool:
    """Move the position of `spool` to `upto` and hold it; False where it is there already."""
    connection.execute(
        "INSERT INTO md.spool_progress (spool, last_row) VALUES (%s, 0) ON CONFLICT (spool) DO NOTHING", (spool,)
    )
    row = connection.execute("SELECT last_row FROM md.spool_progress WHERE spool = %s FOR UPDATE", (spool,)).fetchone()
    last = int(row[0]) if row else 0
    if upto <= last:
        return False
    if after is not None and after != last:
        raise SpoolOverlap(f"spool {spool} is stored up to row {last}: events must follow that row, was row {after}")
    connection.execute("UPDATE md.spool_progress SET last_row = %s, updated_at = now() WHERE spool = %s", (upto, spool))
    return True


def _store(connection: Connection, table: LiveTable, payload: bytes) -> int:
    """Store rows, those that are there already passed over; how many were new."""
    try:
        with connection.transaction():
            return _copy(connection, sql.Identifier("md", table.name), table, payload)
    except psycopg.errors.UniqueViolation:
        staging = sql.Identifier("pg_temp", f"staging_{table.name}")
        names = sql.SQL(", ").join(map(sql.Identifier, table.columns))
        target = sql.Identifier("md", table.name)
        connection.execute(sql.SQL(_STAGING).format(sql.Identifier(f"staging_{table.name}"), target))
        _copy(connection, staging, table, payload)
        inserted = connection.execute(sql.SQL(_MERGE).format(target, names, names, staging)).rowcount
        connection.execute(sql.SQL("TRUNCATE {}").format(staging))
        return inserted


_STAGING = "CREATE TEMPORARY TABLE IF NOT EXISTS {} (LIKE {} INCLUDING DEFAULTS)"
_MERGE = "INSERT INTO {} ({}) SELECT {} FROM {} ON CONFLICT DO NOTHING"


def _copy(connection: Connection, target: sql.Identifier, table: LiveTable, payload: bytes) -> int:
    names = sql.SQL(", ").join(map(sql.Identifier, table.columns))
    statement = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT BINARY)").format(target, names)
    with connection.cursor() as cursor:
        with cursor.copy(statement) as copy:
            copy.write(payload)
        return cursor.rowcount


def _policies(kept: KeptFor) -> dict[str, tuple[dt.timedelta, dt.timedelta]]:
    """How long each table is kept, and after what time it goes into the columnstore."""
    return {
        "trades": (kept.ticks, kept.ticks_columnstore_after),
        "quotes": (kept.ticks, kept.ticks_columnstore_after),
        "books": (kept.books, kept.ticks_columnstore_after),
        "bars_1s": (kept.ticks, kept.ticks_columnstore_after),
        "bars_1m": (kept.bars_1m, kept.bars_columnstore_after),
        "bars_intraday": (kept.bars_5m, kept.bars_columnstore_after),
        "bars_daily": (kept.bars_1d, kept.bars_columnstore_after),
        "venue_events": (kept.bars_1d, kept.bars_columnstore_after),
        "quarantined_messages": (kept.quarantine, kept.bars_columnstore_after),
    }
