"""What one process reads from: its readers and clients, opened once and shared by all requests."""

import asyncio
from dataclasses import dataclass

import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from md_platform.access.audit import Audit
from md_platform.access.authenticator import Authenticator
from md_platform.access.rates import Rates
from md_platform.api.operations import Operations
from md_platform.catalog.ledger import Ledger
from md_platform.catalog.reading import Reader
from md_platform.serving.market import Market
from md_platform.settings import Universe
from md_platform.storage.archive import Archive
from md_platform.storage.lake import Lake

_REDIS_TIMEOUT_S = 2.0


@dataclass(frozen=True, slots=True)
class Stores:
    """The process's readers and clients. Those that hold connections make them when first used."""

    database_url: str
    redis: redis.asyncio.Redis
    lake: Lake
    archive: Archive
    ledger: Ledger
    reader: Reader
    universes: tuple[Universe, ...]
    authenticator: Authenticator
    market: Market
    operations: Operations
    rates: Rates
    audit: Audit

    async def close(self) -> None:
        """Write what waits, and close every connection."""
        await asyncio.to_thread(self.operations.close)
        self.market.close()
        await self.redis.aclose()
        await asyncio.to_thread(self.authenticator.close)
        await asyncio.to_thread(self.audit.close)


def redis_client(url: str) -> redis.asyncio.Redis:
    """A client that tries once more at once, since a pooled connection may have died, and then says so."""
    client: redis.asyncio.Redis = redis.asyncio.Redis.from_url(
        url,
        socket_timeout=_REDIS_TIMEOUT_S,
        socket_connect_timeout=_REDIS_TIMEOUT_S,
        retry=Retry(NoBackoff(), 1),
    )
    return client
