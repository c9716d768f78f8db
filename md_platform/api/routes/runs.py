"""Runs of Dagster: what it did lately and does now, whatever asked for it."""

import datetime as dt
from collections.abc import Mapping
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from md_platform.api.dependencies import StoresOf, reader
from md_platform.catalog.ranges import Range
from md_platform.loading.loader import BACKFILL

router = APIRouter(tags=["backfills"])

_ASKED_BY = {
    "dagster/schedule_name": "schedule",
    "dagster/sensor_name": "sensor",
    BACKFILL: "backfill",
    "dagster/backfill": "backfill in Dagster",
}


class RunInfo(BaseModel):
    """A run. `first`, `last` and `instruments` are null and empty where it has no partitions."""

    id: str
    status: str = Field(description="Dagster's", examples=["QUEUED", "STARTED", "SUCCESS", "FAILURE", "CANCELED"])
    job: str | None = Field(description="null where assets were selected one by one")
    assets: list[str]
    first: dt.date | None = Field(description="first day (week, month) that it makes")
    last: dt.date | None
    instruments: list[str] = Field(description="the first and the last of those it makes, in order of registration")
    asked_by: str = Field(examples=["schedule crypto_daily", "backfill 1f0c3a5e", "by hand"])
    steps_done: int
    steps: int
    created_at: dt.datetime | None
    started_at: dt.datetime | None
    ended_at: dt.datetime | None
    url: str = Field(description="its page in Dagster's UI")


@router.get("/runs", dependencies=[reader("backfill")])
def runs(stores: StoresOf, limit: Annotated[int, Query(ge=1, le=200)] = 25) -> list[RunInfo]:
    """Runs of Dagster, newest first."""
    orchestrator = stores.operations.orchestrator
    found = []
    for run in orchestrator.newest(limit):
        made = Range.of_run(run.tags)
        found.append(
            RunInfo(
                id=run.id,
                status=run.status,
                job=run.job,
                assets=list(run.assets),
                first=made.first if made else None,
                last=made.last if made else None,
                instruments=list(dict.fromkeys(made.instruments)) if made else [],
                asked_by=_asked_by(run.tags),
                steps_done=run.steps_done,
                steps=run.steps,
                created_at=run.created_at,
                started_at=run.started_at,
                ended_at=run.ended_at,
                url=orchestrator.run_url(run.id),
            )
        )
    return found


def _asked_by(tags: Mapping[str, str]) -> str:
    return next((f"{name} {tags[tag]}" for tag, name in _ASKED_BY.items() if tag in tags), "by hand")
