"""Frames as they come in, captures on disk out: what `--replay` reads again."""

import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from md_platform.storage.captures import CaptureWriter, Record, received
from md_platform.venues.feeds import Feed, Subscription


class Recorder:
    """Records every connection of a process into `folder`, one file at a time."""

    def __init__(self, folder: Path) -> None:
        self._subscriptions: list[dict[str, str | int | None]] = []
        self._writer = CaptureWriter(folder, "stream", {"subscriptions": self._subscriptions})
        self._urls: dict[str, str] = {}

    def describe(self, feed: Feed, subscribed: Iterable[Subscription]) -> None:
        """Say in the headers of files to come what `feed` carries."""
        self._subscriptions += [
            {
                "feed": feed.name,
                "channel": each.channel,
                "instrument": each.instrument.id,
                "native": each.instrument.native,
                "book_depth": feed.book.depth,
            }
            for each in subscribed
        ]

    def frames(self, connection: str, url: str, frames: Sequence[bytes], received_ns: int) -> None:
        """Frames that came in together."""
        self._connected(connection, url, received_ns)
        for frame in frames:
            self._writer.write(received(connection, frame, received_ns))

    def sent(self, connection: str, url: str, frame: bytes | str) -> None:
        """A message that we sent."""
        text = frame if isinstance(frame, str) else frame.decode(errors="replace")
        self._connected(connection, url, time.time_ns())
        self._writer.write(Record("send", connection, time.time(), addr=url, data=text))

    def answered(self, url: str, payload: bytes, received_ns: int) -> None:
        """A REST answer."""
        self._writer.write(
            Record("http", "http", received_ns // 1_000 / 1e6, url=url, data=payload.decode(errors="replace"))
        )

    def _connected(self, connection: str, url: str, at_ns: int) -> None:
        if self._urls.get(connection) != url:
            self._urls[connection] = url
            self._writer.write(Record("connect", connection, at_ns // 1_000 / 1e6, addr=url))

    def flush(self) -> None:
        """Make what was recorded so far readable."""
        self._writer.flush()

    def close(self) -> None:
        """Finish the file."""
        self._writer.close()
