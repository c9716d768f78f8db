"""Principals: who asks, with the role, scopes and tier that were given to them."""

import datetime as dt
from dataclasses import dataclass
from typing import Literal, get_args

from md_platform.errors import Forbidden

Role = Literal["reader", "trader", "admin"]
ROLES: tuple[Role, ...] = get_args(Role)
"""From least to most: each may do what those before it may."""


@dataclass(frozen=True, slots=True)
class Tier:
    """What one principal may have. None is without limit.

    `messages_per_s` and `symbols` hold for one live connection, `requests_per_minute` for all requests together.
    """

    name: str
    messages_per_s: int | None
    symbols: int | None
    requests_per_minute: int | None


FREE = Tier("free", messages_per_s=100, symbols=10, requests_per_minute=60)
PREMIUM = Tier("premium", messages_per_s=1_000, symbols=100, requests_per_minute=600)
UNLIMITED = Tier("unlimited", messages_per_s=None, symbols=None, requests_per_minute=None)
"""Of the one who runs the platform on loopback: not to be given to a key."""
TIERS = ("free", "premium", "enterprise")
"""Names that keys and tokens may bear; what enterprise means is a setting."""


@dataclass(frozen=True, slots=True)
class Principal:
    """Someone who is known by `name`. Empty `scopes` do not narrow what `role` allows.

    `key_id` is the API key that was shown, None: it was a token. What was shown is valid until `expires_at`.
    """

    name: str
    role: Role
    scopes: frozenset[str]
    tier: Tier
    key_id: str | None = None
    expires_at: dt.datetime | None = None

    def require(self, role: Role, scope: str | None = None) -> None:
        """Raise Forbidden unless this one has `role`, or a higher one, and `scope`."""
        if ROLES.index(self.role) < ROLES.index(role):
            raise Forbidden(f"this needs the role {role}, {self.name} has {self.role}")
        if scope is not None and self.scopes and scope not in self.scopes:
            raise Forbidden(f"this needs the scope {scope}, {self.name} has {' '.join(sorted(self.scopes))}")


ANONYMOUS = Principal("anonymous", "admin", frozenset(), UNLIMITED)
"""Everybody, on a platform that listens on loopback only and asks for no authentication."""
