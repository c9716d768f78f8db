"""What a venue's sockets took, as it was sent: one JSON line for each frame, of all connections in order.

A frame is taken when the transport accepted it: of one that was cut afterwards nobody knows whether it was read.
"""

from collections.abc import Iterator
from pathlib import Path

import msgspec


class Sent(msgspec.Struct, array_like=True):
    """A frame: when it was taken (simulated time), on which connection (from 1), and its text."""

    at_us: int
    connection: int
    text: str


class FrameLog:
    """Appends to the file at `path`, line by line, so that it can be read while it grows."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("ab", buffering=0)
        self._encode = msgspec.json.Encoder().encode

    def took(self, at_us: int, connection: int, text: str) -> None:
        """The socket of `connection` took the frame `text`."""
        self._file.write(self._encode(Sent(at_us, connection, text)) + b"\n")


def frames_sent(path: Path, offset: int = 0) -> Iterator[Sent]:
    """The frames of the log at `path` so far, from byte `offset` on; a line that is being written is left out."""
    with path.open("rb") as lines:
        lines.seek(offset)
        for line in lines:
            if line.endswith(b"\n"):
                yield msgspec.json.decode(line, type=Sent)
