"""Who serves a shard: leases in Redis in; the one process that may publish for it, and what was published before, out.

The lease stands in the Redis that is published to. Where Redis is away nobody can publish, so nothing is lost by not
knowing who may: feeds go on into the spool. A lease in the database would stop them when the database is away.

Whoever takes a shard puts its own token there. A batch is one script on Redis that does nothing unless the token is
still ours, so that a process that slept through its end publishes nothing, however late it wakes: no clock decides it.
"""

import asyncio
import fcntl
import os
import socket
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import redis.asyncio as redis
import structlog
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from md_platform.errors import StorageError
from streaming.assignment import Shard
from streaming.redis_script import Fence

log = structlog.get_logger(__name__)

LEASE_S = 5.0
"""How long a shard stays with a process that is not heard of."""

RENEW_EVERY_S = 1.0
_ASK_EVERY_S = 0.25
_LEASE_MS = int(LEASE_S * 1_000)
_AWAY = (RedisError, OSError, TimeoutError)

_TAKE = """
if redis.call('EXISTS', KEYS[2]) == 1 then return false end
local before = redis.call('HGETALL', KEYS[1])
redis.call('HSET', KEYS[1], 'token', ARGV[1])
redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[2])
return before
"""
_RENEW = """
local token = redis.call('HGET', KEYS[1], 'token')
if token and token ~= ARGV[1] then return 0 end
if not token then redis.call('HSET', KEYS[1], 'token', ARGV[1]) end
redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[2])
return 1
"""
_DESCRIBE = """
if redis.call('HGET', KEYS[1], 'token') == ARGV[1] then
    redis.call('HSET', KEYS[1], 'spool', ARGV[2], 'instruments', ARGV[3])
end
"""
_RELEASE = """
if redis.call('GET', KEYS[2]) == ARGV[1] then redis.call('DEL', KEYS[2]) end
"""


class Lease:
    """The right to publish for `shard`. `before` is what its last holder left: `spool`, `instruments`; or nothing."""

    def __init__(self, url: str, shard: Shard) -> None:
        self._client = redis.Redis.from_url(
            url, socket_timeout=2, socket_connect_timeout=2, decode_responses=True, retry=Retry(NoBackoff(), 1)
        )
        self.shard = shard
        self.before: Mapping[str, str] = {}
        self._token = f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4()}"
        self._answered = float("-inf")

    @property
    def _keys(self) -> tuple[str, str]:
        return self.fence.key, f"{self.fence.key}:alive"

    async def take(self) -> bool:
        """Whether the shard was free and is ours now."""
        before = await self._run(_TAKE, self._token, _LEASE_MS)
        if before is None:
            return False
        self.before = dict(zip(before[::2], before[1::2], strict=True))
        self._answered = _clock()
        log.info("serving", shard=str(self.shard), after=self.before.get("token"))
        return True

    async def describe(self, spool: str, instruments: Sequence[str]) -> None:
        """Leave for the next holder what this one serves and from which spool it publishes."""
        await self._run(_DESCRIBE, self._token, spool, ",".join(instruments))

    async def keep(self) -> None:
        """Renew until cancelled; LeaseLost where another process has the shard."""
        while True:
            await self._renew()
            await asyncio.sleep(RENEW_EVERY_S)

    async def admit(self) -> None:
        """Before anything is spooled: after a sleep, ask first; LeaseLost where another process has the shard.

        While Redis is away the answer is to go on: the database takes what both have once.
        """
        if _clock() - self._answered > LEASE_S:
            await self._renew()

    @property
    def fence(self) -> Fence:
        """What publishing asks for in Redis itself."""
        return Fence(str(self.shard), self._token)

    async def release(self) -> None:
        """Leave the shard to whoever waits for it."""
        try:
            await self._run(_RELEASE, self._token)
        except _AWAY as error:
            log.warning("lease not released", reason=str(error))
        await self._client.aclose()

    async def _renew(self) -> None:
        try:
            is_ours = await self._run(_RENEW, self._token, _LEASE_MS)
        except _AWAY as error:
            log.warning("lease not renewed", shard=str(self.shard), reason=str(error))
            is_ours = True
        if not is_ours:
            raise self.fence.lost()
        self._answered = _clock()

    async def _run(self, script: str, *values: str | int) -> Any:  # noqa: ANN401 - what the script returns
        return await self._client.eval(script, 2, *self._keys, *map(str, values))


async def first_free(leases: Sequence[Lease], patience_s: float) -> Lease:
    """The first of `leases` that is free; not before `patience_s`, so that its usual holder comes first."""
    await asyncio.sleep(patience_s)
    is_said = False
    while True:
        try:
            for lease in leases:
                if await lease.take():
                    return lease
        except _AWAY as error:
            log.warning("redis is away", reason=str(error))
        if not is_said:
            log.info("standing by", shards=[str(lease.shard) for lease in leases])
            is_said = True
        await asyncio.sleep(_ASK_EVERY_S)


@contextmanager
def claimed(folder: Path) -> Iterator[Path]:
    """`folder` for this process alone until the block ends; `folder`-2, ... where a process that lives has it.

    A killed process holds nothing: its spool goes on. One that is stopped holds its own, and nobody mixes with it.
    """
    for number in range(1, 1_000):
        path = folder if number == 1 else folder.with_name(f"{folder.name}-{number}")
        path.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            yield path
            return
        finally:
            os.close(descriptor)
    raise StorageError(f"every spool beside {folder} is in use: end the processes that hold them")


def _clock() -> float:
    """Seconds that pass while the machine sleeps, too, where the system has such a clock."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))
