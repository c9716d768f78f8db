"""Where data come from, and rows that clients bring themselves."""

import datetime as dt
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import httpx
import polars as pl
from fastapi import APIRouter, Path, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool

from md_platform.api.dependencies import StoresOf, reader, trader
from md_platform.api.routes.asking import InstrumentName
from md_platform.api.stores import Stores
from md_platform.domain.intervals import UTC, parse_time
from md_platform.errors import InvalidFile
from md_platform.loading.pushed import accept

router = APIRouter(tags=["ingest"])

_PATIENCE_S = 2.0
_AT_MOST = 100_000
_Time = Annotated[str, Field(max_length=40, description="ISO 8601, or an epoch", examples=["2026-11-19T00:00:00Z"])]
_REJECTS_SHOWN = 1_000


class PushedBar(BaseModel):
    """A bar of a minute, in the quote and base currency."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        json_schema_extra={
            "examples": [
                {
                    "open_time": "2026-11-19T00:00:00Z",
                    "open": 100.0,
                    "high": 101.5,
                    "low": 99.5,
                    "close": 101.0,
                    "volume": 12.5,
                }
            ]
        },
    )

    open_time: _Time
    open: float
    high: float
    low: float
    close: float
    volume: float
    quote_volume: float | None = None
    trade_count: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = None
    taker_buy_volume: float | None = None
    taker_buy_quote_volume: float | None = None


class PushedTrade(BaseModel):
    """A trade; `trade_id` is unique for its instrument."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        json_schema_extra={
            "examples": [{"ts_event": "2026-11-19T00:00:01.5Z", "trade_id": "1", "price": 100.0, "size": 0.25}]
        },
    )

    ts_event: _Time
    trade_id: Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[^\x00]*$")]
    price: float
    size: float
    taker_side: Literal["buy", "sell"] | None = None


class Rejected(BaseModel):
    """A row that was not accepted."""

    row: int = Field(description="its place in the request, from 0")
    rule: str = Field(examples=["high_below_body", "day_not_over"])


class Pushed(BaseModel):
    """What came of a push: accepted rows are imported in the next minute, as files in the import folder are."""

    instrument: str
    accepted: int
    days: list[dt.date]
    rejected: int
    rejects: list[Rejected] = Field(description=f"the first {_REJECTS_SHOWN}")
    file: str | None = Field(description="evidence names it as the source of its rows")
    is_new: bool = Field(description="false: these rows were pushed before, or none was accepted")


class SourceStatistics(BaseModel):
    """What one source brought into a raw dataset."""

    dataset: str
    source: str
    instruments: int
    partitions: int
    rows: int
    first_day: dt.date | None
    last_day: dt.date | None


class Status(BaseModel):
    """Where data come from. `live` is what the live process says of itself, null where it does not answer."""

    live: dict[str, Any] | None
    newest_days: dict[str, dict[str, dt.date]] = Field(description="by raw dataset and instrument")
    sources: list[SourceStatistics]


_One = Annotated[list[PushedBar], Field(min_length=1, max_length=_AT_MOST)] | PushedBar
_OneTrade = Annotated[list[PushedTrade], Field(min_length=1, max_length=_AT_MOST)] | PushedTrade
_ARROW = "application/vnd.apache.arrow.stream"


@router.get("/ingest", dependencies=[reader()])
def status(stores: StoresOf) -> Status:
    """The live process's connections, the newest day of each instrument, and what each source brought."""
    raw = ("raw_bars", "raw_trades", "live_trades")
    return Status(
        live=_live(stores.operations.stream_url),
        newest_days={dataset: stores.ledger.newest_days(dataset) for dataset in raw},
        sources=[SourceStatistics(**row) for row in stores.ledger.sources(raw).iter_rows(named=True)],
    )


@router.post("/ingest/bars/{instrument:path}", status_code=202, dependencies=[trader("ingest")])
def bars(instrument: InstrumentName, body: _One, stores: StoresOf) -> Pushed:
    """Bring bars of a minute, one or many. They are validated like those of any source."""
    return _push(stores, instrument, "bars", _frame(body if isinstance(body, list) else [body], "open_time"))


@router.post("/ingest/trades/{instrument:path}", status_code=202, dependencies=[trader("ingest")])
def trades(instrument: InstrumentName, body: _OneTrade, stores: StoresOf) -> Pushed:
    """Bring trades, one or many. They are validated like those of any source."""
    return _push(stores, instrument, "trades", _frame(body if isinstance(body, list) else [body], "ts_event"))


@router.post(
    "/ingest/arrow/{kind}/{instrument:path}",
    status_code=202,
    dependencies=[trader("ingest")],
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
        }
    },
)
async def arrow(
    kind: Annotated[Literal["bars", "trades"], Path()], instrument: InstrumentName, request: Request, stores: StoresOf
) -> Pushed:
    """Bring bars or trades as an Arrow IPC stream, whose columns are those of raw bars or trades.

    Any content type will do, application/vnd.apache.arrow.stream is its name.
    """
    content = await request.body()

    def pushed() -> Pushed:
        try:
            rows = pl.read_ipc_stream(content)
        except (pl.exceptions.PolarsError, OSError, ValueError):
            raise InvalidFile(f"the body must be an Arrow IPC stream ({_ARROW})") from None
        return _push(stores, instrument, kind, rows)

    return await run_in_threadpool(pushed)


def _frame(rows: Sequence[BaseModel], time: str) -> pl.DataFrame:
    values = [each.model_dump() for each in rows]
    return pl.DataFrame([{**row, time: parse_time(row[time], name=time)} for row in values], infer_schema_length=None)


def _push(stores: Stores, name: str, kind: Literal["bars", "trades"], rows: pl.DataFrame) -> Pushed:
    instrument = stores.market.names.resolve(name)
    done = accept(rows, kind, instrument, stores.operations.imports, dt.datetime.now(UTC))
    return Pushed(
        instrument=instrument.id,
        accepted=done.rows,
        days=list(done.days),
        rejected=len(done.rejected),
        rejects=[Rejected(row=row, rule=rule) for row, rule in done.rejected[:_REJECTS_SHOWN]],
        file=None if done.file is None else done.file.name,
        is_new=done.is_new,
    )


def _live(url: str | None) -> dict[str, Any] | None:
    if url is None:
        return None
    try:
        answer = httpx.get(f"{url}/status", timeout=_PATIENCE_S)
        told: dict[str, Any] = answer.raise_for_status().json()
    except (httpx.HTTPError, ValueError):
        return None
    return told
