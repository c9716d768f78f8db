"""The live process and its database writer as services."""

import sys
import time
from collections.abc import Mapping, Sequence

from md_platform.embedded.home import Home
from md_platform.embedded.ports import LOOPBACK, is_healthy
from md_platform.embedded.processes import Service

_FRESH_S = 30


def stream(environment: Mapping[str, str], instruments: Sequence[str], port: int) -> Service:
    """The process that holds the connections. It is usable as soon as it answers, whatever its venues do."""
    address = f"http://{LOOPBACK}:{port}"
    return Service(
        name="stream",
        argv=(sys.executable, "-m", "streaming", "--instruments", ",".join(instruments)),
        probe=lambda: is_healthy(address),
        address=address,
        environment=environment,
    )


def writer(home: Home, environment: Mapping[str, str]) -> Service:
    """The process that stores what the spool holds."""
    return Service(
        name="stream-writer",
        argv=(sys.executable, "-m", "streaming", "write"),
        probe=lambda: writes(home),
        address=str(home.stream / "spool.db"),
        environment=environment,
    )


def writes(home: Home) -> bool:
    """Whether a writer was at work a moment ago."""
    beat = home.stream / "writer.beat"
    return beat.exists() and time.time() - beat.stat().st_mtime < _FRESH_S
