"""A venue's limits on connections and messages, kept by all of its connections together."""

import asyncio
import time
from collections import deque

from md_platform.venues.spec import RateLimit


class Pacer:
    """Waits before each connect and each message, so that a venue's limits hold over all connections that share it."""

    def __init__(self, connects: RateLimit, messages: RateLimit) -> None:
        self._connects = _Window(connects)
        self._messages = _Window(messages)

    async def connect(self) -> None:
        """Wait until one more connection may be opened."""
        await self._connects.enter()

    async def message(self) -> None:
        """Wait until one more message may be sent."""
        await self._messages.enter()


class _Window:
    def __init__(self, limit: RateLimit) -> None:
        self._limit = limit
        self._entered: deque[float] = deque()
        self._lock = asyncio.Lock()

    async def enter(self) -> None:
        async with self._lock:
            now = time.monotonic()
            while self._entered and now - self._entered[0] > self._limit.window_s:
                self._entered.popleft()
            if len(self._entered) >= self._limit.weight:
                await asyncio.sleep(self._limit.window_s - (now - self._entered[0]))
                self._entered.popleft()
            self._entered.append(time.monotonic())
