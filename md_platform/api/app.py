"""Assembly of the REST API: stores and a config in, an ASGI application out. Nothing is opened here."""

import contextlib
import importlib.metadata
from collections.abc import AsyncIterator

from fastapi import FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute, iter_route_contexts

from md_platform.api import health, problems
from md_platform.api.config import ApiConfig
from md_platform.api.dependencies import Anyone, Requires
from md_platform.api.middleware import RequestScope
from md_platform.api.routes import ROUTERS
from md_platform.api.stores import Stores

PREFIX = "/api/v1"


def create_app(stores: Stores, config: ApiConfig) -> FastAPI:
    """The application; it closes `stores` when it is shut down."""

    @contextlib.asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        yield
        await stores.close()

    app = FastAPI(
        title="md-platform",
        summary="Market data, historical and live, with the truth about its quality",
        version=_version(),
        openapi_url=f"{PREFIX}/openapi.json",
        docs_url=None,  # its page comes from a CDN
        redoc_url=None,
        lifespan=lifespan,
        max_body_size=config.max_body_bytes,
        telemetry={"tracing": config.is_traced, "metrics": False, "logs": False},
    )
    app.state.stores = stores
    app.state.config = config
    problems.install(app)
    app.include_router(health.router)
    for router in ROUTERS:
        app.include_router(router, prefix=PREFIX, responses=problems.RESPONSES)
    app.add_middleware(RequestScope)
    roles(app)
    return app


def roles(app: FastAPI) -> dict[tuple[str, str], Requires | Anyone]:
    """Who may use each method and path of `app`; ValueError where a route does not say."""
    found: dict[tuple[str, str], Requires | Anyone] = {}
    for context in iter_route_contexts(app.routes):
        if isinstance(context.original_route, APIRoute):
            needs = [each for each in _calls(context.dependant) if isinstance(each, Requires | Anyone)]
            if not needs:
                raise ValueError(f"{context.path} names no role: give it reader(), trader(), admin() or anyone()")
            for method in context.methods or ():
                found[method, str(context.path)] = needs[-1]
    return found


def _calls(dependant: Dependant) -> list[object]:
    return [call for each in dependant.dependencies for call in (*_calls(each), each.call)]


def _version() -> str:
    try:
        return importlib.metadata.version("md-platform")
    except importlib.metadata.PackageNotFoundError:
        return "0"
