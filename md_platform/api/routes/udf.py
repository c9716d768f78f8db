"""TradingView's Universal Data Feed: what its charts ask for, as `serving/charts.py` shapes it."""

import datetime as dt
import time
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Query
from starlette.responses import PlainTextResponse, Response

from md_platform.api.dependencies import ConfigOf, StoresOf, reader
from md_platform.api.routes.asking import bounded, json_of, marked
from md_platform.catalog.instruments import Search
from md_platform.domain.intervals import UTC, Interval
from md_platform.errors import UnknownInstrument, UserError
from md_platform.serving.charts import RESOLUTIONS, Window, found_symbol, resolution, symbol_info, udf_history
from md_platform.serving.ranges import before

router = APIRouter(prefix="/udf", tags=["udf"], dependencies=[reader()])

_Text = Annotated[str, Query(max_length=100, pattern=r"^[^\x00]*$")]
_Symbol = Annotated[str, Query(max_length=100, pattern=r"^[^\x00]*$", examples=["sandbox:BTC-USDT"])]
_Seconds = Annotated[int, Query(alias="from", ge=-62_000_000_000, le=250_000_000_000)]
_MOST_BARS = 20_000


@router.get("/config")
def config(stores: StoresOf) -> dict[str, Any]:
    """What this feed can do."""
    venues = [{"value": id_, "name": id_, "desc": id_} for id_, _ in stores.market.instruments.venues()]
    return {
        "supports_search": True,
        "supports_group_request": False,
        "supports_marks": False,
        "supports_timescale_marks": False,
        "supports_time": True,
        "supported_resolutions": list(RESOLUTIONS),
        "exchanges": [{"value": "", "name": "All", "desc": ""}, *venues],
        "symbols_types": [{"name": "All", "value": ""}]
        + [{"name": each, "value": each} for each in ("crypto", "perpetual", "stock", "forex")],
    }


@router.get("/symbols")
def symbols(symbol: _Symbol, stores: StoresOf) -> dict[str, Any]:
    """One instrument, by its ticker or any other name."""
    try:
        id_ = stores.market.names.resolve(symbol).id
    except UnknownInstrument:
        return {"s": "error", "errmsg": "unknown_symbol"}
    return symbol_info(stores.market.instruments.get(id_))


@router.get("/search")
def search(
    stores: StoresOf,
    query: _Text = "",
    symbol_type: Annotated[str, Query(alias="type", max_length=30, pattern=r"^[^\x00]*$")] = "",
    exchange: _Text = "",
    limit: Annotated[int, Query(ge=1, le=100)] = 30,
) -> list[dict[str, str]]:
    """Instruments that have `query` in their names."""
    wanted = Search(query, exchange, symbol_type, status="active")
    return [found_symbol(each) for each in stores.market.instruments.search(wanted, limit)[0]]


@router.get(
    "/history",
    response_class=Response,
    responses=json_of("object"),
)
def history(
    symbol: _Symbol,
    resolution_text: Annotated[str, Query(alias="resolution", max_length=5, examples=["60"])],
    start: _Seconds,
    end: Annotated[int, Query(alias="to", ge=-62_000_000_000, le=250_000_000_000)],
    stores: StoresOf,
    limits: ConfigOf,
    countback: Annotated[int, Query(ge=0, le=_MOST_BARS)] = 0,
) -> Response:
    """Bars from `from` to before `to` (s), and not fewer than `countback` before `to`."""
    try:
        timeframe = resolution(resolution_text)
        until = _instant(end)
        span = Interval(_instant(start) if start < end else before(until, timeframe, max(countback, 1)), until)
        id_ = stores.market.names.resolve(symbol).id
        window = Window(id_, timeframe, bounded(span, timeframe, limits), countback)
        told, answer = udf_history(stores.market.bars, window)
    except UserError as error:
        return _json({"s": "error", "errmsg": str(error)})
    return marked(_json(told), is_degraded=answer.is_degraded)


@router.get("/time", response_class=PlainTextResponse)
async def server_time() -> str:
    """Seconds since the epoch."""
    return str(int(time.time()))


def _instant(seconds: int) -> dt.datetime:
    return dt.datetime(1970, 1, 1, tzinfo=UTC) + dt.timedelta(seconds=seconds)


def _json(value: dict[str, Any]) -> Response:
    return Response(orjson.dumps(value), media_type="application/json")
