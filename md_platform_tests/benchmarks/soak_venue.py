"""The benchmark's venue for a soak: it hangs up on schedule, goes on where it was, and logs what sockets took.

    python -m md_platform_tests.benchmarks.soak_venue FOLDER CUT_EVERY_S

Prints its addresses as JSON, and appends a line of JSON a second to FOLDER/sent.log: trades sent so far, connections.
Nothing trades while nobody is connected, so that what was sent is what happened.
"""

import json
import socket
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from md_platform_tests.benchmarks.feed_venue import Handler, Tape, serve


class CuttingHandler(Handler):
    """All connections share a tape; each is cut after `cut_every_s`, with what it was sent under way."""

    tape: ClassVar[Tape] = Tape(is_combined=True)
    taken: ClassVar[int] = 0
    connections: ClassVar[int] = 0
    cut_every_s: ClassVar[float]

    def frames(self, count: int, rate: int, *, is_combined: bool) -> Iterator[memoryview]:
        """The tape from where the connection before this one was cut."""
        tape, start, began = self.tape, self.tape.sent, time.monotonic()
        CuttingHandler.connections += 1
        while tape.sent < count and (age_s := time.monotonic() - began) < self.cut_every_s:
            due = min(start + int(age_s * rate), count)
            if due > tape.sent:
                yield tape.next(due - tape.sent)
                CuttingHandler.taken = tape.sent
            else:
                time.sleep(0.001)
        if tape.sent < count:
            self.connection.shutdown(socket.SHUT_WR)


def main() -> None:
    """Serve until killed."""
    log = Path(sys.argv[1]) / "sent.log"
    CuttingHandler.cut_every_s = float(sys.argv[2])
    address = serve(CuttingHandler)
    print(json.dumps({"http": f"http://{address}", "ws": f"ws://{address}"}), flush=True)
    while True:
        with log.open("a") as file:
            file.write(json.dumps({"sent": CuttingHandler.taken, "connections": CuttingHandler.connections}) + "\n")
        threading.Event().wait(1)


if __name__ == "__main__":
    main()
