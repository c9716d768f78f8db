"""`tickets`: a credential in, a ticket for the gateway's address out."""

from typing import Annotated

from fastapi import APIRouter
from pydantic import BaseModel, Field

from md_platform.access.principal import Principal
from md_platform.access.tickets import LIFETIME_S
from md_platform.api.dependencies import StoresOf, reader

router = APIRouter(tags=["access"])


class Ticket(BaseModel):
    """Stands for its principal once."""

    ticket: str = Field(examples=["mdt_5f0c9a7e1d2b4c6f8091a2b3c4d5e6f70819a2b3c4d5e6f7"])
    expires_in_s: int = Field(examples=[LIFETIME_S])


@router.post("/tickets", status_code=201)
def issue(stores: StoresOf, principal: Annotated[Principal, reader("live")]) -> Ticket:
    """A ticket for one WebSocket: `ws://.../?ticket=`, for browsers, which cannot send headers there."""
    return Ticket(ticket=stores.authenticator.tickets.issue(principal), expires_in_s=LIFETIME_S)
