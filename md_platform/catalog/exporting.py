"""Frames in, a file of CSV, JSON lines, Parquet or Arrow out: streamed, and written whole or not at all.

The command line, the API's downloads and export jobs write the same bytes.
"""

import contextlib
import io
import os
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from md_platform.catalog.reading import Selection
from md_platform.errors import StorageError, UserError
from md_platform.storage.lake import storage_errors

Form = Literal["csv", "json", "parquet", "arrow"]
"""json is one object a line, arrow is an IPC stream."""

_ROWS_PER_GROUP = 1 << 17


def columns_of(selection: Selection, wanted: Iterable[str] | None) -> list[str]:
    """Columns `wanted` (None: all) of what is selected; UserError names those that it does not have."""
    known = selection.schema.names()
    names = known if wanted is None else [name.strip() for name in wanted]
    if strange := [name for name in names if name not in known]:
        raise UserError(f"columns of {selection.dataset.name} are {' '.join(known)}, was {' '.join(strange)!r}")
    return names


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


def export_rows(frames: Iterable[pl.DataFrame], form: Form, stream: IO[bytes]) -> int:
    """Write all of `frames`, one at a time, and count their rows."""
    rows = 0
    for part in parts(frames, form):
        stream.write(part.content)
        rows += part.rows
    return rows


@dataclass(frozen=True, slots=True)
class Part:
    """Bytes of an export, and how many rows were read for them; the last ones may come of none."""

    content: bytes
    rows: int


def parts(frames: Iterable[pl.DataFrame], form: Form) -> Iterator[Part]:
    """The bytes of an export, a part for each frame as it is read, and one that ends it."""
    if form in ("parquet", "arrow"):
        yield from _binary(frames, form)
        return
    for n, frame in enumerate(frames):
        text = as_text(frame).write_csv(include_header=n == 0).encode() if form == "csv" else json_lines(frame)
        yield Part(text, frame.height)


def json_lines(frame: pl.DataFrame) -> bytes:
    """One JSON object a row; what is not a number (an indicator that warms up) is null."""
    return as_text(frame).write_ndjson().encode()


def as_text(frame: pl.DataFrame) -> pl.DataFrame:
    """`frame` with its times as ISO 8601 text, UTC: 2024-01-01T00:00:00Z, with as many decimals as it takes."""
    times = [name for name, dtype in frame.schema.items() if isinstance(dtype, pl.Datetime)]
    return frame.with_columns(pl.col(times).dt.strftime("%Y-%m-%dT%H:%M:%S%.fZ"))


class _Drain(io.RawIOBase):
    """Takes what a writer writes, until it is taken away."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._position = 0

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def write(self, data: Any) -> int:  # noqa: ANN401 - whatever is a buffer
        content = bytes(data)
        self._parts.append(content)
        self._position += len(content)
        return len(content)

    def taken(self) -> bytes:
        content, self._parts = b"".join(self._parts), []
        return content


def _binary(frames: Iterable[pl.DataFrame], form: Form) -> Iterator[Part]:
    drain = _Drain()
    waiting: list[pl.DataFrame] = []
    writer: pq.ParquetWriter | pa.ipc.RecordBatchStreamWriter | None = None
    for frame in frames:
        if writer is None:
            schema = frame.to_arrow().schema
            writer = (
                pq.ParquetWriter(drain, schema, compression="zstd")
                if form == "parquet"
                else pa.ipc.new_stream(drain, schema)
            )
        waiting.append(frame)
        if form == "arrow" or sum(part.height for part in waiting) >= _ROWS_PER_GROUP:
            writer.write_table(pl.concat(waiting).to_arrow())
            waiting = []
        yield Part(drain.taken(), frame.height)
    if writer is not None:
        if waiting:
            writer.write_table(pl.concat(waiting).to_arrow())
        writer.close()
        yield Part(drain.taken(), 0)
