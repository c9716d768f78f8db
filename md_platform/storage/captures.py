"""Captures: what went over connections, frame by frame, as zstd JSON lines. Records in, files out; and back.

The first line is a header; then one record a line in order of arrival: `connect`, `send`, `recv` (a WebSocket frame as
received) and `http` (a REST answer). `ts` is our clock in seconds; binary frames are `b64`, all others `data`.
"""

import base64
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import msgspec
import zstandard

from md_platform.errors import InvalidFile

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


def read_capture(path: Path) -> Iterator[Record]:
    """Records of the capture at `path`; InvalidFile where it is none."""
    decode = msgspec.json.Decoder(Record).decode
    try:
        with path.open("rb") as file:
            lines = io.BufferedReader(zstandard.ZstdDecompressor().stream_reader(file), 1 << 20)
            header = msgspec.json.decode(next(lines, b"null"))
            if not isinstance(header, dict) or header.get("t") != "header":
                raise InvalidFile(f"{path} is no capture: its first line must be a header, was {str(header)[:80]}")
            for line in lines:
                yield decode(line)
    except (zstandard.ZstdError, msgspec.MsgspecError) as error:
        raise InvalidFile(f"{path} is no whole capture: {error}") from None
