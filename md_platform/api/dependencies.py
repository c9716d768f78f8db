"""What routes ask for by their annotations: the stores, the principal (with the role it needs), limits.

    @router.get("/things")
    def things(stores: StoresOf, principal: Annotated[Principal, reader()]) -> Response: ...

Every route names its role, if only by `dependencies=[reader()]`; `create_app` refuses one that does not.
"""

import asyncio
from typing import Annotated, Any

from fastapi import Depends, Request, Security
from fastapi.security import APIKeyHeader, HTTPAuthorizationCredentials, HTTPBearer

from md_platform.access.principal import Principal, Role
from md_platform.api.config import ApiConfig
from md_platform.api.stores import Stores
from md_platform.errors import NotAuthenticated, TooLarge

_BEARER = HTTPBearer(auto_error=False, description="An API key `mdp_...` or a JWT.")
_KEY = APIKeyHeader(name="X-API-Key", auto_error=False, description="An API key, where Authorization is not free.")


async def _stores(request: Request) -> Stores:
    stores: Stores = request.app.state.stores
    return stores


async def _config(request: Request) -> ApiConfig:
    config: ApiConfig = request.app.state.config
    return config


StoresOf = Annotated[Stores, Depends(_stores)]
"""The process's readers and clients."""
ConfigOf = Annotated[ApiConfig, Depends(_config)]
"""How the API answers, its limits among it."""


class Requires:
    """The principal of a request, who has `role` and `scope`; NotAuthenticated, Forbidden, TooManyRequests."""

    def __init__(self, role: Role, scope: str | None) -> None:
        self.role: Role = role
        self.scope = scope

    async def __call__(
        self,
        request: Request,
        bearer: Annotated[HTTPAuthorizationCredentials | None, Security(_BEARER)],
        key: Annotated[str | None, Security(_KEY)],
    ) -> Principal:
        """Also counts the request against the principal's tier, once, though a router and its route both require."""
        principal: Principal | None = getattr(request.state, "principal", None)
        if principal is None:
            stores: Stores = request.app.state.stores
            principal = await _principal(request, stores, bearer.credentials if bearer else key)
            request.state.principal = principal
            request.state.allowance = await stores.rates.take(principal)
        principal.require(self.role, self.scope)
        return principal


async def _principal(request: Request, stores: Stores, credential: str | None) -> Principal:
    """Who comes with `credential`. Wrong ones are counted by address, so that guessing costs us little."""
    authenticator = stores.authenticator
    if (principal := authenticator.remembered(credential)) is not None:
        return principal
    address = request.client.host if request.client else ""
    if credential:
        await stores.rates.require_few_failures(address)
    try:
        return await asyncio.to_thread(authenticator.authenticate, credential)
    except NotAuthenticated:
        if credential:
            await stores.rates.failed(address)
        raise


class Anyone:
    """Marks a route that asks nobody who they are."""

    async def __call__(self) -> None:
        """Nothing to check; async, since FastAPI gives a thread to what is not."""


def reader(scope: str = "market") -> Any:  # noqa: ANN401 - FastAPI's dependencies are untyped
    """The principal, who may read data; keys with scopes need `scope`."""
    return Depends(Requires("reader", scope))


def trader(scope: str) -> Any:  # noqa: ANN401 - as reader
    """The principal, who may bring data, start jobs and set alerts; keys with scopes need `scope`."""
    return Depends(Requires("trader", scope))


def admin(scope: str = "admin") -> Any:  # noqa: ANN401 - as reader
    """The principal, who may change what the platform does; keys with scopes need `scope`."""
    return Depends(Requires("admin", scope))


def anyone() -> Any:  # noqa: ANN401 - as reader
    """Nobody is asked: health, and nothing that tells of data."""
    return Depends(Anyone())


def require_rows(expected: int, config: ApiConfig) -> None:
    """Raise TooLarge before rows are read, where more are `expected` than an answer may have."""
    if expected > config.max_rows:
        raise TooLarge(
            f"the answer would have up to {expected:,} rows, the limit is {config.max_rows:,}:"
            " ask for a shorter range, page with `history`, or export"
        )
