"""API keys: an admin makes, sees and ends everybody's, anyone else their own."""

import datetime as dt
from typing import Annotated

from fastapi import APIRouter, Path
from pydantic import BaseModel, ConfigDict, Field

from md_platform.access.keys import Key, Keys
from md_platform.access.principal import TIERS, Principal, Role
from md_platform.access.revocations import announce
from md_platform.api.dependencies import StoresOf, reader
from md_platform.errors import Forbidden, NotFound

router = APIRouter(tags=["access"])

Id = Annotated[str, Path(max_length=12, pattern=r"^[0-9a-f]+$", examples=["5f0c9a7e1d2b"])]
Reads = Annotated[Principal, reader("keys")]


class NewKey(BaseModel):
    """A key to make. Its role and tier are its maker's at most; without a name it bears its maker's."""

    model_config = ConfigDict(extra="forbid")

    name: Annotated[str, Field(max_length=64, pattern=r"^[a-z0-9][a-z0-9._-]*$", examples=["my-bot"])] | None = None
    role: Role = "reader"
    scopes: Annotated[list[Annotated[str, Field(max_length=32, pattern=r"^[a-z0-9_-]+$")]], Field(max_length=20)] = []
    expires_in_days: Annotated[int, Field(ge=1, le=3_650)] | None = None


class KeyInfo(BaseModel):
    """A key without its secret."""

    model_config = ConfigDict(from_attributes=True)

    id: str
    name: str
    role: Role
    scopes: list[str]
    tier: str
    created_at: dt.datetime
    expires_at: dt.datetime | None
    revoked_at: dt.datetime | None


class MadeKey(KeyInfo):
    """A key that was made, with its text: nobody can find it out again."""

    key: str = Field(examples=["mdp_5f0c9a7e1d2b_…"])


@router.post("/keys", status_code=201)
def make(body: NewKey, stores: StoresOf, principal: Reads) -> MadeKey:
    """Make a key."""
    is_admin = principal.role == "admin"
    name = body.name or principal.name
    if not is_admin and name != principal.name:
        raise Forbidden(f"only an admin makes keys for others: the name must be {principal.name}")
    principal.require(body.role)
    if principal.scopes and not set(body.scopes or {""}) <= principal.scopes:
        raise Forbidden(f"a key has the scopes of its maker at most: {' '.join(sorted(principal.scopes))}")
    tier = principal.tier.name if principal.tier.name in TIERS else "enterprise"
    lifetime = None if body.expires_in_days is None else dt.timedelta(days=body.expires_in_days)
    key, text = Keys(stores.database_url).create(
        name, body.role, scopes=tuple(body.scopes), tier=tier, lifetime=lifetime
    )
    return MadeKey(**KeyInfo.model_validate(key).model_dump(), key=text)


@router.get("/keys")
def keys(stores: StoresOf, principal: Reads) -> list[KeyInfo]:
    """Your keys, those that ended among them, newest first; an admin's are everybody's."""
    return [KeyInfo.model_validate(key) for key in reversed(Keys(stores.database_url).list()) if _owns(principal, key)]


@router.delete("/keys/{id}")
def revoke(id: Id, stores: StoresOf, principal: Reads) -> KeyInfo:  # noqa: A002 - its name in the address
    """End a key now."""
    known = Keys(stores.database_url)
    if not any(key.id == id and _owns(principal, key) for key in known.list()):
        raise NotFound(f"you have no key {id}")
    ended = known.revoke(id)
    if stores.market.redis is not None:
        announce(stores.market.redis, ended.id)  # without Redis other processes know within a minute
    return KeyInfo.model_validate(ended)


def _owns(principal: Principal, key: Key) -> bool:
    return principal.role == "admin" or key.name == principal.name
