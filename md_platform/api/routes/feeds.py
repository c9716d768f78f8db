"""How the live process is: connections, lag, spool. It is asked over HTTP, as it is a process of its own."""

from typing import Any

import httpx
from fastapi import APIRouter
from pydantic import BaseModel, Field

from md_platform.api.dependencies import ConfigOf, reader

router = APIRouter(tags=["quality"], dependencies=[reader()])

_PATIENCE_S = 1.0


class ConnectionInfo(BaseModel):
    """One connection to a venue."""

    name: str = Field(examples=["sandbox-0"])
    is_up: bool
    events: int = Field(description="since the process started")
    reconnects: int
    instruments: int


class LagInfo(BaseModel):
    """From receiving a message to where it goes."""

    target: str = Field(examples=["redis"])
    p50_ms: float | None
    p99_ms: float | None


class FeedsInfo(BaseModel):
    """The live process; `problem` says why nothing is known of it."""

    is_streaming: bool
    problem: str
    uptime_s: float | None = None
    problems: list[str] = []
    connections: list[ConnectionInfo] = []
    skew_ms: dict[str, float] = Field(default={}, description="our clock against each venue's")
    lag: list[LagInfo] = []
    spooled: int = Field(default=0, description="events kept on disk since the process started")
    dropped: dict[str, int] = {}


@router.get("/feeds")
async def feeds(config: ConfigOf) -> FeedsInfo:
    """Connections of the live process on the API's machine, and how far behind it is."""
    try:
        async with httpx.AsyncClient(timeout=_PATIENCE_S) as client:
            answer = await client.get(f"http://127.0.0.1:{config.stream_port}/status")
            told: dict[str, Any] = answer.json()
    except (httpx.HTTPError, ValueError):
        return FeedsInfo(is_streaming=False, problem=f"nothing streams here: port {config.stream_port} does not answer")
    return FeedsInfo(
        is_streaming=True,
        problem="",
        uptime_s=told["uptime_s"],
        problems=[str(each) for each in told["problems"]],
        connections=[
            ConnectionInfo(
                name=name,
                is_up=each["up"],
                events=each["events"],
                reconnects=each["reconnects"],
                instruments=each["instruments"],
            )
            for name, each in sorted(told["connections"].items())
        ],
        skew_ms=told["skew_ms"],
        lag=[
            LagInfo(target=name, p50_ms=each.get("p50"), p99_ms=each.get("p99"))
            for name, each in told["lag_ms"].items()
        ],
        spooled=told["spooled"],
        dropped=told["dropped"],
    )
