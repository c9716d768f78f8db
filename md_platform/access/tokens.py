"""JSON Web Tokens in, who they speak for out: signature, algorithm, issuer, audience and times are checked."""

import datetime as dt
from dataclasses import dataclass
from typing import cast

import jwt

from md_platform.access.config import JwtConfig
from md_platform.access.principal import ROLES, TIERS, Role
from md_platform.errors import InvalidSetting, NotAuthenticated, SourceUnavailable

_LEEWAY_S = 10.0
_KEYS_KEPT_S = 300.0
_FETCH_TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True)
class Claims:
    """What a valid token says. `name` bears a prefix, so that a token cannot take the name of an API key."""

    name: str
    role: Role
    scopes: frozenset[str]
    tier: str
    expires_at: dt.datetime


class Tokens:
    """Checks tokens as `config` says; the keys of a URL are fetched when needed and kept for five minutes."""

    def __init__(self, config: JwtConfig) -> None:
        self._config = config
        self._source = (
            jwt.PyJWKClient(config.value, cache_jwk_set=True, lifespan=_KEYS_KEPT_S, timeout=_FETCH_TIMEOUT_S)
            if config.kind == "jwks_url"
            else None
        )

    def verify(self, token: str) -> Claims:
        """What `token` says; NotAuthenticated names what is wrong with it, SourceUnavailable that its keys are away."""
        config = self._config
        try:
            key = self._source.get_signing_key_from_jwt(token).key if self._source else config.value
            claims = jwt.decode(
                token,
                key,
                algorithms=[config.algorithm],
                issuer=config.issuer,
                audience=config.audience,
                leeway=_LEEWAY_S,
                options={"require": ["exp", "iss", "aud", "sub"]},
            )
        except jwt.PyJWKClientConnectionError:
            raise SourceUnavailable("the keys of MDP_JWT_JWKS_URL cannot be fetched") from None
        except jwt.InvalidKeyError:
            raise InvalidSetting("the key in MDP_JWT_PUBLIC_KEY is not a public key in PEM") from None
        except jwt.PyJWTError as error:
            raise NotAuthenticated(f"the token is not valid: {error}") from None
        role, tier, scope = claims.get("role", "reader"), claims.get("tier", "free"), claims.get("scope", "")
        if role not in ROLES or tier not in TIERS or not isinstance(scope, str):
            raise NotAuthenticated(
                f"the token's role must be of {', '.join(ROLES)}, its tier of {', '.join(TIERS)}, its scope a string"
            )
        return Claims(
            f"jwt:{claims['sub']}",
            cast("Role", role),
            frozenset(scope.split()),
            str(tier),
            dt.datetime.fromtimestamp(claims["exp"], dt.UTC),
        )
