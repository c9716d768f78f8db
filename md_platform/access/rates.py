"""Requests in, allowances out: so many a minute for each principal, counted in Redis for all processes together.

While Redis is away each process counts for itself (PER_PROCESS): the platform answers on, and n processes let n times
as much through.
"""

import math
import time
from dataclasses import dataclass, replace
from typing import Literal

import redis
import structlog
from limits import RateLimitItem, RateLimitItemPerMinute
from limits.aio.storage import MemoryStorage, RedisStorage
from limits.aio.strategies import RateLimiter, SlidingWindowCounterRateLimiter

from md_platform.access.principal import Principal
from md_platform.errors import TooManyRequests

Mode = Literal["SHARED", "PER_PROCESS"]

FAILURES_PER_MINUTE = 30
"""Attempts with wrong credentials that one address may make."""
_RETRY_S = 1.0
_KNOWN_S = 1.0
_MOST_KNOWN = 10_000
_REDIS_TIMEOUT_S = 1.0

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Allowance:
    """What a principal may still do: `remaining` of `limit` requests, the window is over in `reset_s`."""

    limit: int
    remaining: int
    reset_s: int


@dataclass(frozen=True, slots=True)
class _Known:
    allowance: Allowance
    at: float


class Rates:
    """Counts requests in the Redis at `url`, in a sliding window of a minute."""

    def __init__(self, url: str) -> None:
        self._storage = RedisStorage(
            f"async+{url}",
            implementation="redispy",
            key_prefix="md:rate",
            socket_timeout=_REDIS_TIMEOUT_S,
            socket_connect_timeout=_REDIS_TIMEOUT_S,
        )
        self._shared = SlidingWindowCounterRateLimiter(self._storage)
        self._own = SlidingWindowCounterRateLimiter(MemoryStorage())
        self._shared_again_at = 0.0
        self._allowances: dict[str, _Known] = {}

    @property
    def mode(self) -> Mode:
        """How requests are counted now."""
        return "SHARED" if time.monotonic() >= self._shared_again_at else "PER_PROCESS"

    async def take(self, principal: Principal) -> Allowance | None:
        """Count one request; None where the tier has no limit. TooManyRequests where nothing is left.

        What remains is asked for once a second and counted down in between, since asking costs as much as counting.
        """
        per_minute = principal.tier.requests_per_minute
        if per_minute is None:
            return None
        item = RateLimitItemPerMinute(per_minute)
        taken = await self._hit(item, "request", principal.name)
        known = self._allowances.get(principal.name)
        if known is None or not taken or time.monotonic() - known.at > _KNOWN_S:
            known = _Known(await self._allowance(item, principal.name), time.monotonic())
            if len(self._allowances) >= _MOST_KNOWN:
                self._allowances.clear()
        else:
            known = replace(known, allowance=replace(known.allowance, remaining=max(0, known.allowance.remaining - 1)))
        self._allowances[principal.name] = known
        if not taken:
            tier = principal.tier.name
            raise TooManyRequests(f"tier {tier} has {per_minute} requests a minute, all used", known.allowance.reset_s)
        return known.allowance

    async def require_few_failures(self, address: str) -> None:
        """Raise TooManyRequests where `address` came with too many wrong credentials."""
        item = RateLimitItemPerMinute(FAILURES_PER_MINUTE)
        limiter = self._limiter()
        try:
            is_free = await limiter.test(item, "failure", address)
        except redis.RedisError as error:
            is_free = await self._away(error).test(item, "failure", address)
        if not is_free:
            raise TooManyRequests("too many wrong credentials came from this address", 60)

    async def failed(self, address: str) -> None:
        """Count a wrong credential from `address`."""
        await self._hit(RateLimitItemPerMinute(FAILURES_PER_MINUTE), "failure", address)

    async def _hit(self, item: RateLimitItem, kind: str, name: str) -> bool:
        try:
            return await self._limiter().hit(item, kind, name)
        except redis.RedisError as error:
            return await self._away(error).hit(item, kind, name)

    async def _allowance(self, item: RateLimitItem, name: str) -> Allowance:
        try:
            window = await self._limiter().get_window_stats(item, "request", name)
        except redis.RedisError as error:
            window = await self._away(error).get_window_stats(item, "request", name)
        left_s = math.ceil(window.reset_time - time.time())
        # in its first millisecond the library has a window end as it begins
        return Allowance(item.amount, window.remaining, left_s if left_s > 0 else item.get_expiry())

    def _limiter(self) -> RateLimiter:
        return self._shared if self.mode == "SHARED" else self._own

    def _away(self, error: redis.RedisError) -> RateLimiter:
        log.warning("requests are counted by each process, since Redis does not answer", reason=str(error))
        self._shared_again_at = time.monotonic() + _RETRY_S
        return self._own
