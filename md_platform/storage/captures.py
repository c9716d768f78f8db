"""Captures: what went over connections, frame by frame, as zstd JSON lines. Records in, files out; and back.

The first line is a header; then one record a line in order of arrival: `connect`, `send`, `recv` (a WebSocket frame as
received) and `http` (a REST answer). `ts` is our clock in seconds; binary frames are `b64`, all others `data`.
"""

import base64
import datetime as dt
import hashlib
import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Literal

import msgspec
import zstandard

from md_platform.domain.intervals import UTC
from md_platform.errors import InvalidFile

_encode = msgspec.json.Encoder().encode
Kind = Literal["connect", "send", "recv", "http"]


class Record(msgspec.Struct, omit_defaults=True):
    """One thing that happened on connection `conn`. `addr` of a connection or message, `url` of a REST answer."""

    t: Kind
    conn: str
    ts: float
    addr: str = ""
    url: str = ""
    data: str = ""
    b64: str = ""

    @property
    def payload(self) -> bytes:
        """The frame's or answer's bytes."""
        return base64.b64decode(self.b64) if self.b64 else self.data.encode()

    @property
    def received_ns(self) -> int:
        """`ts` in nanoseconds."""
        return round(self.ts * 1_000_000) * 1_000


def received(connection: str, frame: bytes, received_ns: int) -> Record:
    """The record of a frame: as text where it is text."""
    ts = received_ns // 1_000 / 1e6
    try:
        return Record("recv", connection, ts, data=frame.decode())
    except UnicodeDecodeError:
        return Record("recv", connection, ts, b64=base64.b64encode(frame).decode())


def read_header(path: Path) -> dict[str, Any]:
    """The first line of the capture at `path`; InvalidFile where it is none."""
    with _lines(path) as lines:
        header = msgspec.json.decode(next(lines, b"null"))
    if not isinstance(header, dict) or header.get("t") != "header":
        raise InvalidFile(f"{path} is no capture: its first line must be a header, was {str(header)[:80]}")
    return header


def read_capture(path: Path) -> Iterator[Record]:
    """Records of the capture at `path`; InvalidFile where it is none. What a file that is cut short holds is read."""
    read_header(path)
    decode = msgspec.json.Decoder(Record).decode
    with _lines(path) as lines:
        next(lines)
        for line in lines:
            if line.endswith(b"\n"):
                yield decode(line)


@contextmanager
def _lines(path: Path) -> Iterator[Iterator[bytes]]:
    try:
        with path.open("rb") as file:
            yield io.BufferedReader(zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True), 1 << 20)
    except FileNotFoundError:
        raise InvalidFile(f"capture {path} does not exist") from None
    except (zstandard.ZstdError, msgspec.MsgspecError) as error:
        raise InvalidFile(f"{path} is no whole capture: {error}") from None


class CaptureWriter:
    """Writes captures into `folder`: a new file each hour or `rotate_bytes`, a `.sha256` beside each that is whole.

    Not for several threads at once. What is buffered is on disk after `flush`, which a file that is cut short survives:
    its whole records can be read.
    """

    def __init__(self, folder: Path, name: str, header: Mapping[str, object], rotate_bytes: int = 256 << 20) -> None:
        self._folder, self._name, self._header, self._rotate = folder, name, dict(header), rotate_bytes
        self._file: BinaryIO | None = None
        self._writer: zstandard.ZstdCompressionWriter | None = None
        self._path = folder
        self._opened_hour = -1
        folder.mkdir(parents=True, exist_ok=True)

    def write(self, record: Record) -> None:
        """Append one record."""
        hour = int(record.ts // 3_600)
        if self._file is not None and (hour != self._opened_hour or self._file.tell() > self._rotate):
            self.close()
        writer = self._writer or self._opened(record, hour)
        writer.write(_encode(record) + b"\n")

    def _opened(self, record: Record, hour: int) -> zstandard.ZstdCompressionWriter:
        started = dt.datetime.fromtimestamp(record.ts, UTC)
        self._path = self._folder / f"{self._name}_{started:%Y%m%dT%H%M%S%f}.jsonl.zst"
        self._file = self._path.open("wb")
        self._writer = zstandard.ZstdCompressor(level=3).stream_writer(self._file)
        self._opened_hour = hour
        self._writer.write(_encode({"t": "header", **self._header, "recorded": record.ts}) + b"\n")
        return self._writer

    def flush(self) -> None:
        """Make what was written so far readable."""
        if self._writer is not None:
            self._writer.flush(zstandard.FLUSH_BLOCK)

    def close(self) -> None:
        """Finish the file and write its checksum."""
        if self._writer is None:
            return
        self._writer.close()  # type: ignore[no-untyped-call, unused-ignore]
        self._writer = self._file = None
        digest = hashlib.sha256(self._path.read_bytes()).hexdigest()
        self._path.with_name(f"{self._path.name}.sha256").write_text(f"{digest}  {self._path.name}\n")
