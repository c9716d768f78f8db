"""API keys `mdp_<id>_<secret>`: made, found and revoked in the database, which has the secret's argon2 hash only."""

import datetime as dt
import re
import secrets
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import argon2

from md_platform.access.principal import ROLES, TIERS, Role
from md_platform.errors import InvalidParameter, NotFound
from md_platform.storage.database import connected, database_errors

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_SCOPE = re.compile(r"[a-z0-9_-]{1,32}")
_KEY = re.compile(r"mdp_(?P<id>[0-9a-f]{12})_(?P<secret>[0-9a-f]{48})")
_HASHER = argon2.PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
"""The least that OWASP advises: the secrets are random and long, so that more would slow down only us."""


@dataclass(frozen=True, slots=True)
class Key:
    """An API key without its secret. Half-open in time: valid until, and not at, `expires_at` and `revoked_at`."""

    id: str
    name: str
    role: Role
    scopes: tuple[str, ...]
    tier: str
    created_at: dt.datetime
    expires_at: dt.datetime | None
    revoked_at: dt.datetime | None

    def is_valid(self, now: dt.datetime) -> bool:
        """Whether it may be used at `now`."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)


class Keys:
    """The keys in the database at `url`. StorageUnavailable where it does not answer."""

    def __init__(self, url: str) -> None:
        self._url = url

    def create(
        self,
        name: str,
        role: Role,
        *,
        scopes: tuple[str, ...] = (),
        tier: str = "free",
        lifetime: dt.timedelta | None = None,
    ) -> tuple[Key, str]:
        """Make a key for `name`; it and its text, which nobody can find out again."""
        _require(_NAME.fullmatch(name), "a name is of a-z, 0-9, '.', '_' and '-', 64 at most", name)
        _require(role in ROLES, f"a role is one of {', '.join(ROLES)}", role)
        _require(tier in TIERS, f"a tier is one of {', '.join(TIERS)}", tier)
        for scope in scopes:
            _require(_SCOPE.fullmatch(scope), "a scope is of a-z, 0-9, '_' and '-', 32 at most", scope)
        id_, secret = secrets.token_hex(6), secrets.token_hex(24)
        with database_errors(), connected(self._url) as connection:
            values = (id_, name, _HASHER.hash(secret), role, list(scopes), tier, lifetime)
            row = connection.execute(_CREATE, values).fetchone()
        if row is None:
            raise AssertionError("an inserted row is returned")
        return _key(row), f"mdp_{id_}_{secret}"

    def revoke(self, id_: str) -> Key:
        """End the key `id_` now; NotFound where there is none. One that was revoked before stays as it was."""
        with database_errors(), connected(self._url) as connection:
            row = connection.execute(_REVOKE, (id_,)).fetchone()
        if row is None:
            raise NotFound(f"no API key {id_}: see `mdp token list`")
        return _key(row)

    def list(self) -> list[Key]:
        """All keys, those that ended among them, oldest first."""
        with database_errors(), connected(self._url) as connection:
            rows = connection.execute(_LIST).fetchall()
        return [_key(row) for row in rows]

    def ended(self, ids: Collection[str]) -> set[str]:
        """Those of the keys `ids` that were revoked or have expired."""
        with database_errors(), connected(self._url) as connection:
            return {id_ for (id_,) in connection.execute(_ENDED, (list(ids),))}

    def verify(self, text: str) -> Key | None:
        """The key whose text this is, valid or not any more; None where it is nobody's."""
        parts = _KEY.fullmatch(text)
        if parts is None:
            return None
        with database_errors(), connected(self._url) as connection:
            row = connection.execute(_FIND, (parts["id"],)).fetchone()
        if row is None:
            return None
        try:
            _HASHER.verify(row[-1], parts["secret"])
        except argon2.exceptions.VerificationError:
            return None
        return _key(row[:-1])


def _key(row: tuple[Any, ...]) -> Key:
    id_, name, role, scopes, *rest = row
    return Key(id_, name, role, tuple(scopes), *rest)


def _require(holds: object, rule: str, value: str) -> None:
    if not holds:
        raise InvalidParameter(f"{rule}, was {value!r}")


_CREATE = """
INSERT INTO md.api_keys (id, name, secret_hash, role, scopes, tier, expires_at)
VALUES (%s, %s, %s, %s, %s, %s, now() + %s)
RETURNING id, name, role, scopes, tier, created_at, expires_at, revoked_at
"""

_REVOKE = """
UPDATE md.api_keys SET revoked_at = coalesce(revoked_at, now()) WHERE id = %s
RETURNING id, name, role, scopes, tier, created_at, expires_at, revoked_at
"""

_LIST = """
SELECT id, name, role, scopes, tier, created_at, expires_at, revoked_at FROM md.api_keys ORDER BY created_at, id
"""

_ENDED = "SELECT id FROM md.api_keys WHERE id = ANY (%s) AND (revoked_at IS NOT NULL OR expires_at <= now())"

_FIND = """
SELECT id, name, role, scopes, tier, created_at, expires_at, revoked_at, secret_hash FROM md.api_keys WHERE id = %s
"""
