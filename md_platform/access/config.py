"""What an entry point decides about access, as frozen values."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from md_platform.access.principal import FREE, PREMIUM, Tier
from md_platform.errors import InvalidSetting

_SHORTEST_SECRET_BYTES = 32


@dataclass(frozen=True, slots=True)
class JwtConfig:
    """How tokens are checked: with one algorithm only, by a shared secret, a public key (PEM) or the keys at a URL."""

    kind: Literal["secret", "public_key", "jwks_url"]
    value: str
    issuer: str
    audience: str

    def __post_init__(self) -> None:
        if self.kind == "secret" and len(self.value.encode()) < _SHORTEST_SECRET_BYTES:
            raise InvalidSetting(f"MDP_JWT_SECRET must have {_SHORTEST_SECRET_BYTES} bytes or more: make a longer one")

    @property
    def algorithm(self) -> str:
        """The one algorithm, whatever a token's header says."""
        return "HS256" if self.kind == "secret" else "RS256"


@dataclass(frozen=True, slots=True)
class AccessConfig:
    """Who may ask: everybody if `is_open`, else who has an API key or a token. `tiers` by name."""

    is_open: bool
    tiers: Mapping[str, Tier]
    jwt: JwtConfig | None = None


def tiers_with(enterprise: Tier) -> dict[str, Tier]:
    """Every tier that keys and tokens may bear, by name."""
    return {tier.name: tier for tier in (FREE, PREMIUM, enterprise)}
