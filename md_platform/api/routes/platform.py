"""What a client must know before it can ask: where the gateway is, whether to sign in, and who one is."""

from typing import Annotated

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

from md_platform.access.principal import Principal
from md_platform.api.dependencies import ConfigOf, anyone, reader
from md_platform.api.page import gateway_url

router = APIRouter(tags=["platform"])


class PlatformInfo(BaseModel):
    """The platform, to anyone."""

    version: str
    is_open: bool = Field(description="nobody needs a credential")
    gateway_url: str | None = Field(description="of live data, by WebSocket", examples=["ws://127.0.0.1:8001"])


class PrincipalInfo(BaseModel):
    """Who asks. Empty scopes: everything that the role may; null: no limit."""

    name: str
    role: str
    scopes: list[str]
    tier: str
    requests_per_minute: int | None
    messages_per_s: int | None
    symbols: int | None


@router.get("/platform", dependencies=[anyone()])
async def platform(request: Request, config: ConfigOf) -> PlatformInfo:
    """Version, gateway, and whether to sign in."""
    return PlatformInfo(version=request.app.version, is_open=config.is_open, gateway_url=gateway_url(request, config))


@router.get("/me")
async def me(principal: Annotated[Principal, reader()]) -> PrincipalInfo:
    """Who the credential belongs to, and what it may."""
    tier = principal.tier
    return PrincipalInfo(
        name=principal.name,
        role=principal.role,
        scopes=sorted(principal.scopes),
        tier=tier.name,
        requests_per_minute=tier.requests_per_minute,
        messages_per_s=tier.messages_per_s,
        symbols=tier.symbols,
    )
