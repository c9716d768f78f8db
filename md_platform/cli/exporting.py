"""Frames in, a file of CSV, JSON lines or Parquet out: streamed, and written whole or not at all."""

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Literal

import polars as pl
import pyarrow.parquet as pq

from md_platform.errors import StorageError
from md_platform.storage.lake import storage_errors

_ROWS_PER_GROUP = 1 << 17


@contextlib.contextmanager
def open_output(path: Path | None) -> Iterator[IO[bytes]]:
    """A stream to `path`, which appears when the block ends well; standard output for None.

    StorageFull or StorageReadOnly where the disk refuses.
    """
    if path is None:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with storage_errors(path):
            with temporary.open("wb") as file:
                yield file
            temporary.replace(path)
    except OSError as error:
        raise StorageError(f"{path} cannot be written ({error.strerror or error})") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def export_rows(frames: Iterator[pl.DataFrame], form: Literal["csv", "json", "parquet"], stream: IO[bytes]) -> int:
    """Write all of `frames`, one at a time, and count their rows."""
    if form == "parquet":
        return _parquet(frames, stream)
    rows = 0
    for n, frame in enumerate(frames):
        if form == "csv":
            stream.write(as_text(frame).write_csv(include_header=n == 0).encode())
        else:
            stream.write(json_lines(frame))
        rows += frame.height
    return rows


def json_lines(frame: pl.DataFrame) -> bytes:
    """One JSON object a row; what is not a number (an indicator that warms up) is null."""
    return as_text(frame).write_ndjson().encode()


def as_text(frame: pl.DataFrame) -> pl.DataFrame:
    """`frame` with its times as ISO 8601 text, UTC: 2024-01-01T00:00:00Z, with as many decimals as it takes."""
    times = [name for name, dtype in frame.schema.items() if isinstance(dtype, pl.Datetime)]
    return frame.with_columns(pl.col(times).dt.strftime("%Y-%m-%dT%H:%M:%S%.fZ"))


def _parquet(frames: Iterator[pl.DataFrame], stream: IO[bytes]) -> int:
    rows = 0
    waiting: list[pl.DataFrame] = []
    with contextlib.ExitStack() as stack:
        writer: pq.ParquetWriter | None = None
        for frame in frames:
            waiting.append(frame)
            rows += frame.height
            if writer is None:
                writer = stack.enter_context(pq.ParquetWriter(stream, frame.to_arrow().schema, compression="zstd"))
            if sum(part.height for part in waiting) >= _ROWS_PER_GROUP:
                writer.write_table(pl.concat(waiting).to_arrow())
                waiting = []
        if writer is not None and waiting:
            writer.write_table(pl.concat(waiting).to_arrow())
    return rows
