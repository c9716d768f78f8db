"""Backfills: started for instruments and days, watched, cancelled. Dagster does the work."""

import datetime as dt
from typing import Annotated, Any, Literal
from urllib.parse import quote

from fastapi import APIRouter, Path, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from md_platform.access.principal import Principal
from md_platform.api.dependencies import StoresOf, reader, trader
from md_platform.api.stores import Stores
from md_platform.domain.intervals import UTC
from md_platform.jobs.queue import Job
from md_platform.loading.backfills import Wish
from md_platform.loading.loader import BACKFILL

router = APIRouter(tags=["backfills"])

_FIRST, _LAST = dt.date(1970, 1, 1), dt.date(2200, 1, 1)
Id = Annotated[str, Path(max_length=32, pattern=r"^[0-9a-f]*$", examples=["1f0c3a5e9b7d4c2f8a6e0d1b3c5f7a9e"])]
_Name = Annotated[str, Field(max_length=100, pattern=r"^[^\x00]+$")]


class NewBackfill(BaseModel):
    """What is to be loaded; what is there already is left alone unless `refresh`."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"ids": ["sandbox:BTC-USDT"], "start": "2026-11-01", "end": "2026-11-08"}]},
    )

    ids: Annotated[list[_Name], Field(min_length=1, max_length=100, description="names of instruments")]
    start: Annotated[dt.date, Field(description="first day, UTC", ge=_FIRST, le=_LAST)]
    end: Annotated[dt.date, Field(description="day after the last, UTC", ge=_FIRST, le=_LAST)]
    stage: Annotated[
        Literal["raw", "cleaned", "resampled", "indicators", "archive"], Field(description="how far it is taken")
    ] = "archive"
    trades: Annotated[bool, Field(description="fetch trades too")] = False
    refresh: Annotated[bool, Field(description="make again what is there")] = False


class BackfillInfo(BaseModel):
    """A backfill as it stands; `detail` tells its runs, and at the end what each instrument has and what failed."""

    id: str | None = Field(description="null: everything is there already, nothing was started")
    state: Literal["queued", "running", "done", "failed", "cancelled", "expired"]
    request: dict[str, Any]
    made: int = Field(description="partitions made so far")
    total: int = Field(description="partitions to make")
    detail: dict[str, Any]
    error: str | None
    runs_url: str | None = Field(description="its runs in Dagster's UI")
    created_at: dt.datetime | None
    started_at: dt.datetime | None
    finished_at: dt.datetime | None


@router.post(
    "/backfills",
    status_code=202,
    responses={200: {"model": BackfillInfo, "description": "Everything is there already, or the same is under way"}},
)
def start(
    body: NewBackfill, stores: StoresOf, principal: Annotated[Principal, trader("backfill")], response: Response
) -> BackfillInfo:
    """Load days of instruments from their venues and take them through the chain."""
    wish = Wish(tuple(body.ids), body.start, body.end, body.stage, body.trades, body.refresh)
    operations = stores.operations
    registered = [instrument for instrument, _ in stores.ledger.instruments()]
    job, is_new = operations.backfills.start(wish, principal.name, registered, dt.datetime.now(UTC).date())
    if is_new:
        operations.worker.wake()
    else:
        response.status_code = 200
    if job is None:
        return BackfillInfo(
            id=None,
            state="done",
            request=body.model_dump(mode="json"),
            made=0,
            total=0,
            detail={"message": "everything is there already"},
            error=None,
            runs_url=None,
            created_at=None,
            started_at=None,
            finished_at=None,
        )
    return _info(stores, job)


@router.get("/backfills", dependencies=[reader("backfill")])
def backfills(stores: StoresOf, limit: Annotated[int, Query(ge=1, le=500)] = 100) -> list[BackfillInfo]:
    """Backfills, newest first, whoever started them."""
    return [_info(stores, job) for job in stores.operations.jobs.of("backfill", limit=limit)]


@router.get("/backfills/{id}", dependencies=[reader("backfill")])
def progress(id: Id, stores: StoresOf) -> BackfillInfo:  # noqa: A002 - its name in the address
    """How far a backfill is."""
    return _info(stores, stores.operations.jobs.get("backfill", id))


@router.delete("/backfills/{id}", dependencies=[trader("backfill")])
def cancel(id: Id, stores: StoresOf) -> BackfillInfo:  # noqa: A002 - its name in the address
    """Cancel a backfill and its runs; what they made stays. A finished one stays as it is."""
    return _info(stores, stores.operations.jobs.cancel("backfill", id))


def _info(stores: Stores, job: Job) -> BackfillInfo:
    runs = quote(f"tag:{BACKFILL}={job.id}", safe="")
    return BackfillInfo(
        id=job.id,
        state=job.state,
        request={name: value for name, value in job.request.items() if name != "natives"},
        made=job.done,
        total=job.total,
        detail=dict(job.detail),
        error=job.error,
        runs_url=f"{stores.operations.orchestrator.url}/runs?q[0]={runs}",
        created_at=job.created_at,
        started_at=job.started_at,
        finished_at=job.finished_at,
    )
