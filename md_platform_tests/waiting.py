"""Tests wait for conditions, never for a time."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def eventually(holds: Callable[[], T], timeout_s: float = 120, every_s: float = 0.2) -> T:
    """What `holds` returns as soon as that is true."""
    deadline = time.monotonic() + timeout_s
    while not (found := holds()):
        assert time.monotonic() < deadline, "did not come true"
        time.sleep(every_s)
    return found
