"""The archive: Delta tables partitioned by symbol and month; frames in by one commit, frames out sorted.

One commit covers all partitions of a run. Tables are reopened by path for each commit.
"""

import contextlib
import datetime as dt
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from deltalake import CommitProperties, DeltaTable, WriterProperties, write_deltalake
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError
from deltalake.writer.properties import ColumnProperties

from md_platform.domain.intervals import DAY, Interval
from md_platform.errors import StorageError
from md_platform.storage.lake import storage_errors

PARTITION_BY = ["symbol", "month"]
_WRITER = WriterProperties(
    compression="ZSTD",
    compression_level=1,
    max_row_group_size=1 << 17,
    default_column_properties=ColumnProperties(dictionary_enabled=False),
)
_TABLE = {
    "delta.logRetentionDuration": "interval 30 days",
    "delta.deletedFileRetentionDuration": "interval 7 days",
}


@dataclass(frozen=True, slots=True)
class Days:
    """What a commit replaces: every row of `instruments` on UTC days `first` to `last`, both included."""

    instruments: tuple[str, ...]
    first: dt.date
    last: dt.date

    @property
    def predicate(self) -> str:
        """The same in Delta's SQL. Ids come from parsed instruments, whose alphabet holds no quote."""
        ids = ", ".join(f"'{name}'" for name in self.instruments)
        return (
            f"symbol IN ({ids}) AND month >= '{self.first:%Y-%m}' AND month <= '{self.last:%Y-%m}'"
            f" AND date >= '{self.first}' AND date <= '{self.last}'"
        )


@dataclass(frozen=True, slots=True)
class Commit:
    """One commit in a table's log; `stands` is false where the table was since restored to an earlier version."""

    version: int
    metadata: Mapping[str, Any]
    stands: bool


_ATTEMPTS = 10
_LATELY = 10  # commits that others may have made while one was written
_OS_ERROR = re.compile(r"\(os error (\d+)\)")


@contextlib.contextmanager
def _delta_errors(uri: str) -> Iterator[None]:
    """Turn what Delta reports of `uri` into StorageError, what the operating system refused beneath it among that."""
    try:
        with storage_errors(uri):
            try:
                yield
            except (DeltaError, OSError) as error:
                if code := _OS_ERROR.search(str(error)):
                    raise OSError(int(code[1]), os.strerror(int(code[1]))) from error
                raise
    except CommitFailedError:
        raise
    except DeltaError as error:
        raise StorageError(f"{uri}: {str(error).splitlines()[0]}") from error


@dataclass(frozen=True, slots=True)
class Archive:
    """Delta tables under `root`, a path or a URL such as s3://bucket/prefix."""

    root: str
    storage_options: dict[str, str] = field(default_factory=dict)

    def uri(self, table: str) -> str:
        """Where the table `table` is."""
        return f"{self.root}/{table}"

    def _open(self, table: str) -> DeltaTable | None:
        try:
            return DeltaTable(self.uri(table), storage_options=self.storage_options or None)
        except TableNotFoundError:
            return None

    def version(self, table: str) -> int:
        """Version of `table` as it stands, -1 where there is none."""
        opened = self._open(table)
        return -1 if opened is None else opened.version()

    def commits(self, table: str, oldest: int) -> list[Commit]:
        """Commits of `table` from version `oldest` on, as far as its log still reaches, newest first."""
        for _ in range(_ATTEMPTS):
            opened = self._open(table)
            if opened is None:
                return []
            standing = opened.version()
            log = opened.history(max(1, standing - oldest + 1))
            if self.version(table) == standing:
                break  # else the log was counted back from a commit that was no longer the last
        commits: list[Commit] = []
        for logged in log:
            version = logged["version"]
            commits.append(Commit(version, logged, stands=version <= standing))
            if version <= standing and logged["operation"] == "RESTORE":  # to a time, where it names no version
                standing = int(logged["operationParameters"].get("version", -1))
        return commits

    def replace(
        self, table: str, frame: pl.DataFrame | None, time: str, days: Sequence[Days], metadata: dict[str, str]
    ) -> int:
        """Make `frame` (sorted, with column `instrument` and the time column `time`) all that `table` holds of `days`.

        None empties those days. One commit, whose metadata carries `metadata`; returns its version, -1 where there was
        nothing to empty. Readers see all or nothing.
        """
        commit = CommitProperties(custom_metadata=metadata, max_commit_retries=100)
        predicate = " OR ".join(f"({part.predicate})" for part in days)
        rows = frame
        if rows is not None:
            rows = rows.rename({"instrument": "symbol"}).with_columns(
                date=pl.col(time).dt.date(), month=pl.col(time).dt.strftime("%Y-%m")
            )
        for attempt in range(_ATTEMPTS):
            existing = self._open(table)
            if existing is None and rows is None:
                return -1
            try:
                with _delta_errors(self.uri(table)):
                    self._commit(table, existing, rows, predicate, commit)
                break
            except CommitFailedError as error:  # others made the table, or changed these files, since it was opened
                if attempt == _ATTEMPTS - 1:
                    raise StorageError(f"{self.uri(table)} is changed by others too often: {error}") from error
        return self._version_of(table, metadata)

    def _commit(
        self,
        table: str,
        existing: DeltaTable | None,
        rows: pl.DataFrame | None,
        predicate: str,
        commit: CommitProperties,
    ) -> None:
        if existing is not None and rows is None:
            existing.delete(predicate, commit_properties=commit)
        elif rows is not None:
            if "://" not in self.root:
                Path(self.root).mkdir(parents=True, exist_ok=True)
            # the first commit appends: another process may have made the table by now, and its rows must stay
            options: dict[str, Any] = {"mode": "append"}
            if existing is not None:
                options = {"mode": "overwrite", "predicate": predicate}
            write_deltalake(
                existing or self.uri(table),
                rows.to_arrow(),
                partition_by=PARTITION_BY,
                writer_properties=_WRITER,
                commit_properties=commit,
                configuration=_TABLE,
                storage_options=self.storage_options or None,
                **options,
            )

    def _version_of(self, table: str, metadata: Mapping[str, str]) -> int:
        """Version of the commit that carries `metadata`: others may have committed since."""
        newest = self.version(table)
        found = (c.version for c in self.commits(table, newest - _LATELY) if metadata.items() <= c.metadata.items())
        return next(found, newest)

    def maintain(self, table: str, time: str, *, now: dt.datetime | None = None) -> dict[str, int] | None:
        """Merge small files, sort last month's by `time`, delete files older than the retention of deleted files.

        Returns how many files were added and removed, and vacuumed; None where there is no table.
        """
        opened = self._open(table)
        if opened is None:
            return None
        last_month = ((now or dt.datetime.now(dt.UTC)).replace(day=1) - DAY).strftime("%Y-%m")
        finished = [("month", "=", last_month)]
        with _delta_errors(self.uri(table)):
            compacted = opened.optimize.compact(writer_properties=_WRITER)
            ordered = opened.optimize.z_order([time], partition_filters=finished, writer_properties=_WRITER)
            vacuumed = opened.vacuum(dry_run=False)
        return {
            "files_added": compacted["numFilesAdded"] + ordered["numFilesAdded"],
            "files_removed": compacted["numFilesRemoved"] + ordered["numFilesRemoved"],
            "files_vacuumed": len(vacuumed),
        }

    def read(
        self, table: str, instruments: Sequence[str], interval: Interval, time: str, timeframe: str | None = None
    ) -> pl.DataFrame | None:
        """Rows of `instruments` with `time` in `interval`, sorted by instrument and time; None where there is no table.

        `timeframe` keeps only bars or values of that timeframe.
        """
        opened = self._open(table)
        if opened is None:
            return None
        first, last = interval.days()[0], interval.days()[-1]
        rows = pl.scan_delta(opened).filter(pl.col("month") >= f"{first:%Y-%m}", pl.col("month") <= f"{last:%Y-%m}")
        if timeframe is not None:
            rows = rows.filter(pl.col("timeframe") == timeframe)
        frames = []
        for instrument in sorted(instruments):
            # cutting the sorted rows is three times faster than filtering them by time and sorting by both columns
            ordered = in_order(rows.filter(pl.col("symbol") == instrument).collect(), time)
            start, end = (ordered[time].search_sorted(edge) for edge in (interval.start, interval.end))
            frames.append(ordered.slice(start, end - start))
        return pl.concat(frames).rename({"symbol": "instrument"}).drop("date", "month")

    def instruments(self, table: str) -> list[str]:
        """Instruments of which `table` has rows, in name order."""
        opened = self._open(table)
        return [] if opened is None else sorted({str(part["symbol"]) for part in opened.partitions()})

    def days(self, table: str, instrument: str, start: dt.date, end: dt.date) -> list[dt.date]:
        """UTC days of which `table` has rows of `instrument`, with `start <= day < end`, in order."""
        opened = self._open(table)
        if opened is None:
            return []
        month, date = pl.col("month"), pl.col("date")
        rows = pl.scan_delta(opened).filter(
            pl.col("symbol") == instrument,
            month.is_between(pl.lit(f"{start:%Y-%m}"), pl.lit(f"{end:%Y-%m}")),
            date.is_between(start, end, closed="left"),
        )
        return rows.select(date.unique().sort()).collect()["date"].to_list()


def in_order(rows: pl.DataFrame, time: str) -> pl.DataFrame:
    """`rows` sorted by `time`, those of one time as they stood.

    Files come as they were committed, each sorted: where none reaches into another they are put in order without a
    sort, which would copy every column.
    """
    times = rows[time].to_physical().to_numpy()
    starts = np.concatenate(([0], np.flatnonzero(times[1:] < times[:-1]) + 1))
    ends = np.append(starts[1:], len(times))
    if len(starts) == 1 or not len(times):
        return rows
    order = np.argsort(times[starts], kind="stable")
    if (times[ends - 1][order][:-1] >= times[starts][order][1:]).any():
        return rows.sort(time, maintain_order=True)
    return pl.concat([rows.slice(starts[n], ends[n] - starts[n]) for n in order], rechunk=False)
