"""Assembly of the REST API: stores and a config in, an ASGI application out. Nothing is opened here."""

import asyncio
import contextlib
import importlib.metadata
from collections.abc import AsyncIterator

from fastapi import FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.middleware.cors import CORSMiddleware
from fastapi.routing import APIRoute, iter_route_contexts

from md_platform.access.principal import ROLES
from md_platform.api import health, metrics, page, problems, tracing
from md_platform.api.body_limit import BodyLimit
from md_platform.api.browsers import LocalOnly
from md_platform.api.compression import Compression
from md_platform.api.config import ApiConfig
from md_platform.api.dependencies import Anyone, Requires
from md_platform.api.description import describe
from md_platform.api.middleware import RequestScope
from md_platform.api.routes import ROUTERS
from md_platform.api.stores import Stores

PREFIX = "/api/v1"
_ALLOWED = ["Authorization", "X-API-Key", "Content-Type", "If-None-Match", "Traceparent", "X-Request-Id"]
_EXPOSED = [
    "ETag",
    "RateLimit-Limit",
    "RateLimit-Remaining",
    "RateLimit-Reset",
    "Retry-After",
    "X-Request-Id",
    "X-Trace-Id",
]


def create_app(stores: Stores, config: ApiConfig) -> FastAPI:
    """The application; from its start until it is shut down it works on jobs, then it closes `stores`."""

    @contextlib.asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        stores.operations.worker.start()
        yield
        await stores.close()
        await asyncio.to_thread(tracing.finish)

    app = FastAPI(
        title="md-platform",
        summary="Market data, historical and live, with the truth about its quality",
        version=_version(),
        openapi_url=f"{PREFIX}/openapi.json",
        docs_url=None,  # its page comes from a CDN
        redoc_url=None,
        lifespan=lifespan,
        telemetry={"tracing": config.is_traced, "metrics": False, "logs": False},
    )
    app.state.stores = stores
    app.state.config = config
    problems.install(app)
    app.include_router(health.router)
    app.include_router(page.router)
    app.include_router(metrics.router, responses=problems.RESPONSES)
    for router in ROUTERS:
        app.include_router(router, prefix=PREFIX, responses=problems.RESPONSES)
    app.state.allowed = _allowed(app)
    describe(app)
    roles(app)
    app.add_middleware(BodyLimit, max_bytes=config.max_body_bytes)
    app.add_middleware(Compression)
    if config.is_open:
        app.add_middleware(LocalOnly, cors_origins=config.cors_origins)
    if config.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=config.cors_origins,
            allow_methods=["GET", "POST", "PUT", "PATCH", "DELETE"],
            allow_headers=_ALLOWED,
            expose_headers=_EXPOSED,
            max_age=600,
        )
    app.add_middleware(RequestScope, audit=stores.audit, is_encrypted=config.is_encrypted, templates=templates(app))
    return app


def _allowed(app: FastAPI) -> dict[object, str]:
    """What the path of each endpoint takes, as the header Allow says it."""
    methods: dict[str, set[str]] = {}
    contexts = list(iter_route_contexts(app.routes))
    for context in contexts:
        methods.setdefault(str(context.path_format), set()).update(context.methods or ())
    return {context.endpoint: ", ".join(sorted(methods[str(context.path_format)])) for context in contexts}


def templates(app: FastAPI) -> dict[object, str]:
    """The template of each route of `app`, as /api/v1/bars/{id}, by its endpoint."""
    return {context.endpoint: str(context.path_format) for context in iter_route_contexts(app.routes)}


def roles(app: FastAPI) -> dict[tuple[str, str], Requires | Anyone]:
    """Who may use each method and path of `app`; ValueError where a route does not say."""
    found: dict[tuple[str, str], Requires | Anyone] = {}
    for context in iter_route_contexts(app.routes):
        if isinstance(context.original_route, APIRoute):
            needs = [each for each in _calls(context.dependant) if isinstance(each, Requires | Anyone)]
            if not needs:
                raise ValueError(f"{context.path} names no role: give it reader(), trader(), admin() or anyone()")
            for method in context.methods or ():
                found[method, str(context.path_format)] = max(needs, key=_rank)
    return found


def _rank(needs: Requires | Anyone) -> int:
    return 1 + ROLES.index(needs.role) if isinstance(needs, Requires) else 0


def _calls(dependant: Dependant) -> list[object]:
    return [call for each in dependant.dependencies for call in (*_calls(each), each.call)]


def _version() -> str:
    try:
        return importlib.metadata.version("md-platform")
    except importlib.metadata.PackageNotFoundError:
        return "0"
