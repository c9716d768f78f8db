"""Rate limits: what each client has used in, and the venue's verdict out. Times are wall-clock seconds."""

import time
from collections.abc import Callable


class MinuteBudget:
    """Request weight for each client and calendar minute, as Binance counts it; offenders get banned.

    Over the limit a request is told to wait (429); a client that goes on regardless is banned (418), longer each time.
    """

    def __init__(self, limit: int, patience: int = 10, clock: Callable[[], float] = time.time) -> None:
        self.limit = limit
        self._patience = patience
        self._clock = clock
        self._minute = 0
        self._used: dict[str, int] = {}
        self._refused: dict[str, int] = {}
        self._bans: dict[str, int] = {}
        self._banned_until: dict[str, float] = {}

    def spend(self, client: str, weight: int) -> int:
        """Count a request; weight used by the client in this minute, this request included."""
        minute = int(self._clock() // 60)
        if minute != self._minute:
            self._minute = minute
            self._used.clear()
            self._refused.clear()
        self._used[client] = self._used.get(client, 0) + weight
        return self._used[client]

    def wait_s(self, client: str) -> int:
        """Seconds until the client may ask again; 0 when within its limit."""
        if self._used.get(client, 0) <= self.limit:
            return 0
        self._refused[client] = self._refused.get(client, 0) + 1
        return max(1, 60 - int(self._clock() % 60))

    def banned_until(self, client: str) -> float | None:
        """When the client's ban ends, or None; patience exhausted starts one of 2 minutes, doubling each time."""
        now = self._clock()
        until = self._banned_until.get(client, 0.0)
        if until <= now and self._refused.get(client, 0) > self._patience:
            self._bans[client] = self._bans.get(client, 0) + 1
            until = now + 60 * 2 ** self._bans[client]
            self._banned_until[client] = until
            self._refused[client] = 0
        return until if until > now else None


class TokenBucket:
    """`rate` requests a second for each client, `burst` at once: Coinbase and Kraken."""

    def __init__(self, rate: float, burst: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = rate
        self._burst = burst
        self._clock = clock
        self._level: dict[str, tuple[float, float]] = {}

    def take(self, client: str) -> bool:
        """Whether the client may make a request now; counts it if so."""
        now = self._clock()
        tokens, then = self._level.get(client, (self._burst, now))
        tokens = min(self._burst, tokens + (now - then) * self._rate)
        allowed = tokens >= 1
        self._level[client] = (tokens - 1 if allowed else tokens, now)
        return allowed
