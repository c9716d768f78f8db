"""How long after they came in messages reached a stage: the last thousand batches, as percentiles."""

import time
from collections import deque
from collections.abc import Iterable

from md_platform.storage.spool import Message

_REMEMBERED = 1_000


class Lag:
    """Milliseconds from the socket, or from the stage before, to one stage."""

    def __init__(self) -> None:
        self._ms: deque[float] = deque(maxlen=_REMEMBERED)

    def measure(self, messages: Iterable[Message]) -> None:
        """Note that `messages` have just reached the stage: the oldest of them counts."""
        received_ns = min((message.received_ns for message in messages if message.received_ns), default=0)
        if received_ns:
            self.reached(received_ns)

    def reached(self, since_ns: int) -> None:
        """Note that what was in the stage before at `since_ns` has just reached this one."""
        self._ms.append((time.time_ns() - since_ns) / 1e6)

    def percentiles_ms(self) -> dict[str, float]:
        """`p50` and `p99`; nothing before the first batch."""
        found = {f"p{percent}": self.percentile_ms(percent) for percent in (50, 99)}
        return {name: round(value, 2) for name, value in found.items() if value is not None}

    def percentile_ms(self, percent: float) -> float | None:
        """The value that `percent` of the batches do not exceed; None before the first."""
        ordered = sorted(self._ms)
        return ordered[min(int(len(ordered) * percent / 100), len(ordered) - 1)] if ordered else None
