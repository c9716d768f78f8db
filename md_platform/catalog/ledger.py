"""The partition ledger: one row per dataset, instrument and period in PostgreSQL, written in bulk, read as frames."""

import contextlib
import datetime as dt
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, get_args

import polars as pl
from opentelemetry import trace

from md_platform.catalog.ledger_sql import (
    COUNT_MADE,
    HISTORY,
    SCORES,
    SCORES_SCHEMA,
    SELECT,
    SOURCES,
    SOURCES_SCHEMA,
    USABLE_BETWEEN,
)
from md_platform.domain.instruments import Instrument
from md_platform.domain.schemas import INSTANT
from md_platform.storage.database import Connection, connected, database_errors, register_instruments

Status = Literal["ok", "degraded", "failed", "missing", "pending", "closed"]
USABLE: tuple[Status, ...] = ("ok", "degraded")
"""States from which downstream work goes on with rows."""


@dataclass(frozen=True, slots=True)
class PartitionRecord:
    """What is known of one partition. `evidence` is JSON: counts, gaps, violations, the choice of source, errors."""

    dataset: str
    instrument: str
    date: dt.date
    status: Status
    rows: int = 0
    bytes: int = 0
    first_time: dt.datetime | None = None
    last_time: dt.datetime | None = None
    source: str | None = None
    sha256: str | None = None
    score: float | None = None
    evidence: dict[str, Any] = field(default_factory=dict)
    run_id: str | None = None


_tracer = trace.get_tracer(__name__)
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_COLUMNS = tuple(PartitionRecord.__dataclass_fields__)
_FRAME_SCHEMA = pl.Schema(
    {
        "dataset": pl.String(),
        "instrument": pl.String(),
        "date": pl.Date(),
        "status": pl.String(),
        "rows": pl.Int64(),
        "bytes": pl.Int64(),
        "first_time": INSTANT,
        "last_time": INSTANT,
        "source": pl.String(),
        "sha256": pl.String(),
        "score": pl.Float64(),
        "evidence": pl.String(),
        "run_id": pl.String(),
    }
)


@dataclass(frozen=True, slots=True)
class State:
    """What planning and summaries need of one partition.

    `inputs` are the hashes of the same day's inputs that it was made from, `reason` says why it failed or waits.
    `updated_at` is when it was last made, `changed_at` when that last changed its content.
    """

    status: Status
    rows: int = 0
    sha256: str | None = None
    first_time: dt.datetime | None = None
    last_time: dt.datetime | None = None
    inputs: Mapping[str, str | None] = field(default_factory=dict)
    reason: str | None = None
    updated_at: dt.datetime = _EPOCH
    changed_at: dt.datetime = _EPOCH


@dataclass(frozen=True, slots=True)
class Made:
    """A usable partition as readers need it. `is_archived`: the archive has this content. `made_of`: its inputs."""

    sha256: str | None
    updated_at: dt.datetime
    changed_at: dt.datetime
    is_archived: bool
    made_of: Mapping[str, str | None]


States = Mapping[tuple[str, dt.date], State]
"""States of one instrument by dataset and date."""


class Partitions(Protocol):
    """What readers need of a ledger: that of the database, or what files tell (see `files`)."""

    def usable(self, instrument: str, dataset: str, start: dt.date, end: dt.date) -> dict[dt.date, Made]:
        """Partitions of `dataset` from which rows may be read, with `start <= date < end`, by date."""

    def history(
        self, instrument: str, datasets: Sequence[str], start: dt.date, end: dt.date
    ) -> dict[tuple[str, dt.date], State]:
        """States of `instrument` in `datasets` with `start <= date < end`, by dataset and date."""

    def instruments(self) -> list[tuple[Instrument, str]]:
        """Every instrument known with its universe."""


Connect = Callable[[], contextlib.AbstractContextManager[Connection]]


class Ledger:
    """The ledger in the database at `url`. A call is one short transaction; StorageError where it is unreachable.

    `connect` gives the connection of a call where not each is to have its own.
    """

    def __init__(self, url: str, connect: Connect | None = None) -> None:
        self._new_connection = connect or (lambda: connected(url))

    @contextlib.contextmanager
    def _connect(self) -> Iterator[Connection]:
        with _tracer.start_as_current_span("ledger query"), database_errors(), self._new_connection() as connection:
            yield connection

    def record(self, records: Sequence[PartitionRecord]) -> None:
        """Insert or replace the state of every partition named; all of them or none."""
        if not records:
            return
        names = ", ".join(_COLUMNS)
        with self._connect() as connection, connection.transaction(), connection.cursor() as cursor:
            cursor.execute(
                "CREATE TEMP TABLE incoming (LIKE md.partition_status INCLUDING DEFAULTS) ON COMMIT DROP",
            )
            with cursor.copy(f"COPY incoming ({names}) FROM STDIN") as copy:
                for record in records:
                    copy.write_row(
                        [
                            json.dumps(v) if name == "evidence" else v
                            for name, v in zip(_COLUMNS, _values(record), strict=True)
                        ]
                    )
            cursor.execute(_UPSERT)

    def partitions(
        self,
        dataset: str | None = None,
        instruments: Iterable[str] | None = None,
        start: dt.date | None = None,
        end: dt.date | None = None,
    ) -> pl.DataFrame:
        """State of partitions with `start <= date < end`, sorted by dataset, instrument, date; None means any."""
        with self._connect() as connection:
            rows = connection.execute(
                SELECT,
                {
                    "dataset": dataset,
                    "instruments": None if instruments is None else list(instruments),
                    "start": start,
                    "end": end,
                },
            ).fetchall()
        return pl.DataFrame(rows, schema=_FRAME_SCHEMA, orient="row")

    def states(
        self, dataset: str, instruments: Iterable[str], start: dt.date, end: dt.date
    ) -> dict[tuple[str, dt.date], PartitionRecord]:
        """The same for one dataset, by instrument and date."""
        rows = self.partitions(dataset, instruments, start, end).iter_rows(named=True)
        return {
            (row["instrument"], row["date"]): PartitionRecord(**{**row, "evidence": json.loads(row["evidence"])})
            for row in rows
        }

    def history(
        self, instrument: str, datasets: Sequence[str], start: dt.date, end: dt.date
    ) -> dict[tuple[str, dt.date], State]:
        """States of `instrument` in `datasets` with `start <= date < end`, by dataset and date."""
        with self._connect() as connection:
            rows = connection.execute(HISTORY, (instrument, list(datasets), start, end)).fetchall()
        return {(row[0], row[1]): State(*row[2:]) for row in rows}

    def usable(self, instrument: str, dataset: str, start: dt.date, end: dt.date) -> dict[dt.date, Made]:
        """Partitions of `dataset` from which rows may be read, with `start <= date < end`, by date."""
        with self._connect() as connection:
            usable = list(USABLE)
            rows = connection.execute(
                USABLE_BETWEEN, (f"archive_{dataset}", usable, dataset, instrument, start, end, usable)
            ).fetchall()
        return {row[0]: Made(*row[1:]) for row in rows}

    def scores(
        self, dataset: str, instruments: Iterable[str], start: dt.date | None = None, end: dt.date | None = None
    ) -> pl.DataFrame:
        """Partitions with `start <= date < end` in brief: status, score, size, expected and missing rows, source.

        Sorted by instrument and date; what was not measured is null.
        """
        with self._connect() as connection:
            values = {"dataset": dataset, "instruments": list(instruments), "start": start, "end": end}
            rows = connection.execute(SCORES, values).fetchall()
        return pl.DataFrame(rows, schema=SCORES_SCHEMA, orient="row")

    def newest_scores(self, dataset: str, instruments: Iterable[str]) -> dict[str, tuple[dt.date, float]]:
        """The newest measured partition of each instrument: its date and score."""
        with self._connect() as connection:
            rows = connection.execute(
                "SELECT DISTINCT ON (instrument) instrument, date, score FROM md.partition_status "
                "WHERE dataset = %s AND instrument = ANY (%s) AND score IS NOT NULL ORDER BY instrument, date DESC",
                (dataset, list(instruments)),
            ).fetchall()
        return {instrument: (date, score) for instrument, date, score in rows}

    def count_made(
        self, run_ids: Sequence[str], datasets: Sequence[str], start: dt.date, end: dt.date
    ) -> dict[str, int]:
        """How many partitions of `datasets` with `start <= date < end` each of the runs has recorded so far."""
        with self._connect() as connection:
            rows = connection.execute(COUNT_MADE, (list(run_ids), list(datasets), start, end)).fetchall()
        return dict(rows)

    def totals(self) -> pl.DataFrame:
        """One row per dataset: instruments, partitions, partitions of each status, rows, bytes, first and last day."""
        with self._connect() as connection:
            rows = connection.execute(_TOTALS).fetchall()
        return pl.DataFrame(rows, schema=_TOTALS_SCHEMA, orient="row")

    def sources(self, datasets: Sequence[str]) -> pl.DataFrame:
        """What each source brought into `datasets`: instruments, partitions, rows, first and last day."""
        with self._connect() as connection:
            rows = connection.execute(SOURCES, (list(datasets),)).fetchall()
        return pl.DataFrame(rows, schema=SOURCES_SCHEMA, orient="row")

    def newest_days(self, dataset: str) -> dict[str, dt.date]:
        """Newest usable day of `dataset` by instrument."""
        with self._connect() as connection:
            rows = connection.execute(
                "SELECT instrument, max(date) FROM md.partition_status "
                "WHERE dataset = %s AND status = ANY (%s) GROUP BY instrument",
                (dataset, list(USABLE)),
            ).fetchall()
        return dict(rows)

    def register(self, instruments: Iterable[tuple[Instrument, str]]) -> None:
        """Remember instruments with the universe of each; known ones get the venue's newest native symbol."""
        with self._connect() as connection:
            register_instruments(connection, instruments, replace=True)

    def instruments(self) -> list[tuple[Instrument, str]]:
        """Every instrument known with its universe, in order of registration."""
        with self._connect() as connection:
            rows = connection.execute(
                "SELECT id, universe, native FROM md.instruments ORDER BY instrument_id"
            ).fetchall()
        return [(Instrument.parse(row[0], native=row[2]), row[1]) for row in rows]


def _values(record: PartitionRecord) -> tuple[Any, ...]:
    return tuple(getattr(record, name) for name in _COLUMNS)


_UPSERT = f"""
INSERT INTO md.partition_status ({", ".join(_COLUMNS)})
SELECT {", ".join(_COLUMNS)} FROM incoming
ON CONFLICT (dataset, instrument, date) DO UPDATE SET
    {", ".join(f"{name} = excluded.{name}" for name in _COLUMNS[3:])},
    updated_at = now(),
    changed_at = CASE WHEN md.partition_status.sha256 IS DISTINCT FROM excluded.sha256
                      THEN now() ELSE md.partition_status.changed_at END
"""  # noqa: S608 - names of our own columns


_STATUSES = get_args(Status)
_TOTALS = f"""
SELECT dataset, count(DISTINCT instrument), count(*),
       {", ".join(f"count(*) FILTER (WHERE status = '{status}')" for status in _STATUSES)},
       sum(rows)::bigint, sum(bytes)::bigint, min(date) FILTER (WHERE rows > 0), max(date) FILTER (WHERE rows > 0)
FROM md.partition_status GROUP BY dataset ORDER BY dataset
"""  # noqa: S608 - statuses of our own
_TOTALS_SCHEMA = pl.Schema(
    {
        "dataset": pl.String(),
        **dict.fromkeys(("instruments", "partitions", *_STATUSES, "rows", "bytes"), pl.Int64()),
        "first_day": pl.Date(),
        "last_day": pl.Date(),
    }
)
