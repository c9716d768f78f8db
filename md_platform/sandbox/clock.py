"""The sandbox's time: microseconds since the epoch, at any speed from any start."""

import time
from typing import Protocol


class SimulatedTime(Protocol):
    """What the sandbox asks for the time."""

    speed: float

    def now_us(self) -> int:
        """Simulated time, microseconds since the epoch."""
        ...


class Clock:
    """Runs from `start_us` (default: the wall clock now) at `speed` simulated seconds per second."""

    def __init__(self, start_us: int | None = None, speed: float = 1.0) -> None:
        self._start_us = time.time_ns() // 1_000 if start_us is None else start_us
        self._origin_ns = time.monotonic_ns()
        self.speed = speed

    def now_us(self) -> int:
        """Simulated time, microseconds since the epoch."""
        return self._start_us + int((time.monotonic_ns() - self._origin_ns) * self.speed) // 1_000


class StoppedClock:
    """Stands still until told otherwise: what tests inject."""

    speed = 0.0

    def __init__(self, now_us: int) -> None:
        self._now_us = now_us

    def now_us(self) -> int:
        """Simulated time, microseconds since the epoch."""
        return self._now_us

    def advance(self, us: int) -> None:
        """Move on by `us` microseconds."""
        self._now_us += us
