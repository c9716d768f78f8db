"""How long after they came in messages reached a stage: the last thousand batches, as percentiles."""

import time
from collections import deque
from collections.abc import Iterable

from md_platform.storage.spool import Message

_REMEMBERED = 1_000


class Lag:
    """Milliseconds from the socket to one stage."""

    def __init__(self) -> None:
        self._ms: deque[float] = deque(maxlen=_REMEMBERED)

    def measure(self, messages: Iterable[Message]) -> None:
        """Note that `messages` have just reached the stage: the oldest of them counts."""
        received_ns = min((message.received_ns for message in messages if message.received_ns), default=0)
        if received_ns:
            self._ms.append((time.time_ns() - received_ns) / 1e6)

    def percentile_ms(self, percent: float) -> float | None:
        """The value that `percent` of the batches do not exceed; None before the first."""
        ordered = sorted(self._ms)
        return ordered[min(int(len(ordered) * percent / 100), len(ordered) - 1)] if ordered else None
