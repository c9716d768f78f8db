"""The archive: Delta tables partitioned by symbol and month; frames in by one commit, frames out sorted.

One commit covers all partitions of a run. Tables are reopened by path for each commit.
"""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl
from deltalake import CommitProperties, DeltaTable, WriterProperties, write_deltalake
from deltalake.exceptions import TableNotFoundError
from deltalake.writer.properties import ColumnProperties

from md_platform.domain.intervals import DAY, Interval
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

    def replace(
        self, table: str, frame: pl.DataFrame | None, time: str, days: Sequence[Days], metadata: dict[str, str]
    ) -> int:
        """Make `frame` (sorted, with column `instrument` and the time column `time`) all that `table` holds of `days`.

        None empties those days. One commit, whose metadata carries `metadata`; returns the table's version after it.
        Readers see all or nothing.
        """
        predicate = " OR ".join(f"({part.predicate})" for part in days)
        commit = CommitProperties(custom_metadata=metadata, max_commit_retries=100)
        existing = self._open(table)
        if frame is None:
            if existing is not None:
                existing.delete(predicate, commit_properties=commit)
            return self.version(table)
        stored = frame.rename({"instrument": "symbol"}).with_columns(
            date=pl.col(time).dt.date(), month=pl.col(time).dt.strftime("%Y-%m")
        )
        if "://" not in self.root:
            with storage_errors(self.root):
                Path(self.root).mkdir(parents=True, exist_ok=True)
        options: dict[str, Any] = {} if existing is None else {"predicate": predicate}
        with storage_errors(self.uri(table)):
            write_deltalake(
                existing or self.uri(table),
                stored.to_arrow(),
                mode="overwrite",
                partition_by=PARTITION_BY,
                writer_properties=_WRITER,
                commit_properties=commit,
                configuration=_TABLE,
                storage_options=self.storage_options or None,
                **options,
            )
        return self.version(table)

    def maintain(self, table: str, time: str, *, now: dt.datetime | None = None) -> dict[str, int] | None:
        """Merge small files, sort last month's by `time`, delete files older than the retention of deleted files.

        Returns how many files were added and removed, and vacuumed; None where there is no table.
        """
        opened = self._open(table)
        if opened is None:
            return None
        last_month = ((now or dt.datetime.now(dt.UTC)).replace(day=1) - DAY).strftime("%Y-%m")
        compacted = opened.optimize.compact(writer_properties=_WRITER)
        finished = [("month", "=", last_month)]
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
        rows = pl.scan_delta(opened).filter(
            pl.col("symbol").is_in(list(instruments)),
            pl.col("month") >= f"{first:%Y-%m}",
            pl.col("month") <= f"{last:%Y-%m}",
            pl.col(time) >= interval.start,
            pl.col(time) < interval.end,
        )
        if timeframe is not None:
            rows = rows.filter(pl.col("timeframe") == timeframe)
        return rows.rename({"symbol": "instrument"}).drop("date", "month").sort("instrument", time).collect()
