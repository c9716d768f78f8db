"""Whether the process lives, and whether what it depends on answers: outside of /api/v1, for supervisors and probes."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Response
from pydantic import BaseModel, Field

from md_platform.api.dependencies import StoresOf, anyone
from md_platform.storage.database import connected

router = APIRouter(tags=["health"], dependencies=[anyone()])
_PATIENCE_S = 3.0


class Alive(BaseModel):
    """The process lives."""

    status: str = Field(default="ok", examples=["ok"])


class Dependency(BaseModel):
    """One thing that the API reads from."""

    ok: bool
    ms: Annotated[float, Field(description="until it answered, or was given up", examples=[1.2])]
    problem: Annotated[str, Field(description="kind of error, where there was one", examples=["StorageUnavailable"])]


class Ready(BaseModel):
    """Whether requests can be answered, and by what."""

    ready: Annotated[bool, Field(description="without Redis the API still answers, from the stores on disk")]
    dependencies: dict[str, Dependency]


@router.get("/healthz")
async def healthz() -> Alive:
    """The process lives."""
    return Alive()


@router.get("/readyz", responses={503: {"model": Ready, "description": "The database does not answer"}})
async def readyz(stores: StoresOf, response: Response) -> Ready:
    """Each dependency, with its state and the time it took."""

    async def database() -> None:
        await asyncio.to_thread(_ask, stores.database_url)

    async def redis() -> None:
        await stores.redis.ping()

    async def lake() -> None:
        await asyncio.to_thread(_look_into, stores.lake.root)

    checks = {"database": database, "redis": redis, "lake": lake}
    found = await asyncio.gather(*(_checked(check) for check in checks.values()))
    dependencies = dict(zip(checks, found, strict=True))
    ready = dependencies["database"].ok
    response.status_code = 200 if ready else 503
    return Ready(ready=ready, dependencies=dependencies)


async def _checked(check: Callable[[], Awaitable[None]]) -> Dependency:
    began = time.perf_counter()
    problem = ""
    try:
        await asyncio.wait_for(check(), _PATIENCE_S)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is what we were asked for
        problem = type(error).__name__
    return Dependency(ok=not problem, ms=round((time.perf_counter() - began) * 1000, 2), problem=problem)


def _ask(database_url: str) -> None:
    with connected(database_url, autocommit=True) as connection:
        connection.execute("SELECT 1")


def _look_into(folder: Path) -> None:
    """Raise OSError where `folder` cannot be read; one that is not there yet is an empty lake."""
    if folder.exists():
        next(folder.iterdir(), None)
