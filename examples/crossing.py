"""A strategy that knows nothing of where its bars come from: history, a replay and live call the same function."""

from collections import deque
from dataclasses import dataclass, field


@dataclass
class Crossing:
    """Long while the mean of the last `fast` closes is above that of the last `slow`; `returns` is what that gained."""

    fast: int = 5
    slow: int = 20
    is_long: bool = False
    returns: list[float] = field(default_factory=list)
    _closes: deque[float] = field(default_factory=deque)

    def on_close(self, close: float) -> bool:
        """Take the close of the next bar; whether the position changes."""
        if self._closes:
            self.returns.append(close / self._closes[-1] - 1.0 if self.is_long else 0.0)
        self._closes.append(close)
        if len(self._closes) <= self.slow:
            return False
        self._closes.popleft()
        closes = list(self._closes)
        was_long = self.is_long
        self.is_long = sum(closes[-self.fast :]) / self.fast > sum(closes) / self.slow
        return self.is_long != was_long

    @property
    def gain(self) -> float:
        """What one unit of money became, less one."""
        total = 1.0
        for each in self.returns:
            total *= 1.0 + each
        return total - 1.0
