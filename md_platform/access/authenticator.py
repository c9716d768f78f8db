"""Credentials in, principals out: API keys, tokens and tickets. Sync and fast, for many threads at once.

A credential that was checked is remembered for a minute by a keyed hash. A revoked key is forgotten as soon as Redis
says so; while Redis is away, nothing is remembered for longer than five seconds.
"""

import datetime as dt
import hashlib
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Self

import redis

from md_platform.access.config import AccessConfig
from md_platform.access.keys import Keys
from md_platform.access.principal import ANONYMOUS, Principal
from md_platform.access.revocations import Revocations
from md_platform.access.tickets import PREFIX as TICKET
from md_platform.access.tickets import Tickets
from md_platform.access.tokens import Tokens
from md_platform.errors import NotAuthenticated

KEPT_S = 60.0
KEPT_WITHOUT_REDIS_S = 5.0
_MOST_KEPT = 10_000
_REDIS_TIMEOUT_S = 2.0


@dataclass(frozen=True, slots=True)
class _Known:
    principal: Principal
    since: float


class Authenticator:
    """Knows who a credential belongs to. `is_open`: nobody is asked, everybody is ANONYMOUS."""

    def __init__(self, config: AccessConfig, database_url: str, redis_url: str) -> None:
        self.is_open = config.is_open
        self._tiers = config.tiers
        self._keys = Keys(database_url)
        self._tokens = Tokens(config.jwt) if config.jwt else None
        self._redis = redis.Redis.from_url(
            redis_url, socket_timeout=_REDIS_TIMEOUT_S, socket_connect_timeout=_REDIS_TIMEOUT_S
        )
        self.tickets = Tickets(self._redis)
        self._known: OrderedDict[bytes, _Known] = OrderedDict()
        self._lock = threading.Lock()
        self._forgotten = 0  # how often: what was checked before and comes after is not remembered
        self._pepper = secrets.token_bytes(32)
        self._listeners: list[Callable[[str | None], None]] = []
        self._revocations = None if self.is_open else Revocations(self._redis, self._forget)

    def close(self) -> None:
        """End the thread and the connections."""
        if self._revocations is not None:
            self._revocations.close()
        self._redis.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def listen(self, told: Callable[[str | None], None]) -> Callable[[], None]:
        """Have `told` called with each key that is revoked, and with None when some may have been missed.

        Another thread calls it. What is returned ends it.
        """
        self._listeners.append(told)
        return lambda: self._listeners.remove(told)

    def ended(self, key_ids: Collection[str]) -> set[str]:
        """Those of these keys that are not valid any more; StorageUnavailable."""
        return self._keys.ended(key_ids)

    def remembered(self, credential: str | None) -> Principal | None:
        """The principal of `credential` where that needs no store: what `authenticate` would answer, or None."""
        if self.is_open and not (credential or "").startswith(TICKET):
            return ANONYMOUS
        if credential is None or not credential.isascii():
            return None
        known = self._known.get(self._digest(credential))
        if known is None or not self._still(known):
            return None
        return known.principal

    def authenticate(self, credential: str | None) -> Principal:
        """The principal of `credential`; NotAuthenticated where there is none, or where it is not valid (any more)."""
        if (principal := self.remembered(credential)) is not None:
            return principal
        if not credential or not credential.isascii():
            raise NotAuthenticated("an API key or a token is needed: send it as `Authorization: Bearer ...`")
        if credential.startswith(TICKET):
            if (bearer := self.tickets.redeem(credential)) is None:
                raise NotAuthenticated("the ticket was used before, or is older than 30 s")
            return bearer
        forgotten = self._forgotten
        known = self._checked(credential)
        with self._lock:
            if forgotten == self._forgotten:
                self._known[self._digest(credential)] = known
            if len(self._known) > _MOST_KEPT:
                self._known.popitem(last=False)
        return known.principal

    def _checked(self, credential: str) -> _Known:
        since = time.monotonic()
        if credential.startswith("mdp_"):
            key = self._keys.verify(credential)
            if key is None or not key.is_valid(dt.datetime.now(dt.UTC)):
                raise NotAuthenticated("the API key is not valid: unknown, expired or revoked")
            tier, scopes = self._tiers[key.tier], frozenset(key.scopes)
            return _Known(Principal(key.name, key.role, scopes, tier, key.id, key.expires_at), since)
        if self._tokens is None:
            raise NotAuthenticated("this is no API key, and tokens are not set up here")
        claims = self._tokens.verify(credential)
        tier = self._tiers[claims.tier]
        return _Known(Principal(claims.name, claims.role, claims.scopes, tier, None, claims.expires_at), since)

    def _still(self, known: _Known) -> bool:
        is_told = self._revocations is not None and self._revocations.is_connected
        is_young = time.monotonic() - known.since < (KEPT_S if is_told else KEPT_WITHOUT_REDIS_S)
        expires_at = known.principal.expires_at
        return is_young and (expires_at is None or dt.datetime.now(dt.UTC) < expires_at)

    def _forget(self, key_id: str | None) -> None:
        """Forget who used the key `key_id`; None: everybody."""
        with self._lock:
            self._forgotten += 1
            for digest in [each for each, known in self._known.items() if key_id in (None, known.principal.key_id)]:
                del self._known[digest]
        for told in list(self._listeners):
            told(key_id)

    def _digest(self, credential: str) -> bytes:
        return hashlib.blake2b(credential.encode(), key=self._pepper, digest_size=16).digest()
