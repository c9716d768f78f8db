"""Tickets `mdt_...`: a principal in, a word out that stands for it once and for 30 s.

For where a credential would be seen, as in the address of a WebSocket that a browser opens.
"""

import hashlib
import secrets

import msgspec
import redis

from md_platform.access.principal import Principal
from md_platform.errors import StorageUnavailable

PREFIX = "mdt_"
LIFETIME_S = 30


class Tickets:
    """Tickets in Redis, which has their hashes only. StorageUnavailable where it does not answer."""

    def __init__(self, client: redis.Redis) -> None:
        self._redis = client

    def issue(self, principal: Principal) -> str:
        """A ticket for `principal`."""
        ticket = PREFIX + secrets.token_hex(24)
        try:
            self._redis.set(_name(ticket), msgspec.json.encode(principal), ex=LIFETIME_S)
        except redis.RedisError as error:
            raise StorageUnavailable(f"Redis does not answer: {error}") from None
        return ticket

    def redeem(self, ticket: str) -> Principal | None:
        """Who `ticket` stands for; None where it was used before, is too old or was never issued."""
        try:
            found = self._redis.getdel(_name(ticket))
        except redis.RedisError as error:
            raise StorageUnavailable(f"Redis does not answer: {error}") from None
        return None if found is None else msgspec.json.decode(found, type=Principal)


def _name(ticket: str) -> str:
    return f"md:ticket:{hashlib.sha256(ticket.encode()).hexdigest()}"
