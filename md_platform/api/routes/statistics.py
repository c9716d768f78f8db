"""What returns tell: risk and reward of an instrument, correlation of several."""

import dataclasses
import datetime as dt
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field
from starlette.responses import Response

from md_platform.api.dependencies import ConfigOf, StoresOf, reader, require_rows
from md_platform.api.formats import TABLE, TablesOf
from md_platform.api.routes.asking import (
    Adjusted,
    InstrumentName,
    Names,
    TimeframeText,
    TimeText,
    bounded,
    calendar_of,
    iso,
    named,
)
from md_platform.domain.intervals import Timeframe
from md_platform.serving.bars import BarQuery
from md_platform.serving.ranges import interval
from md_platform.serving.returns import correlations as correlations_of
from md_platform.serving.returns import figures

router = APIRouter(tags=["statistics"], dependencies=[reader()])

_DEFAULT_BARS = 365


class Drawdown(BaseModel):
    """The deepest fall of the close from a high."""

    depth: float = Field(examples=[-0.2], description="relative: -0.2 is a fifth")
    peak_at: dt.datetime
    trough_at: dt.datetime
    recovered_at: dt.datetime | None = Field(description="when the peak was reached again; null: not in this range")


class Statistics(BaseModel):
    """Figures of returns; null where the bars do not suffice. Definitions and sources: `transforms/statistics.py`."""

    instrument: str
    timeframe: str
    benchmark: str | None
    bars: int
    start: dt.datetime | None = Field(description="open time of the first bar")
    end: dt.datetime | None = Field(description="open time of the last bar")
    total_return: float | None
    mean_return: float | None = Field(description="of one bar")
    volatility: float | None = Field(description="of a year, by log returns")
    beta: float | None = Field(description="to the benchmark")
    var_historical: float | None = Field(description="loss of one bar that is not exceeded with `confidence`")
    var_parametric: float | None = Field(description="the same of a normal distribution")
    sharpe: float | None = Field(description="of a year")
    sortino: float | None = Field(description="of a year")
    max_drawdown: Drawdown | None


@router.get("/stats/{instrument:path}")
def stats(
    instrument: InstrumentName,
    stores: StoresOf,
    config: ConfigOf,
    timeframe: TimeframeText = "1d",
    start: TimeText = None,
    end: TimeText = None,
    benchmark: Annotated[str | None, Query(max_length=100, description="instrument that beta is to")] = None,
    confidence: Annotated[float, Query(gt=0.5, lt=1, description="of value at risk")] = 0.95,
    risk_free: Annotated[float, Query(gt=-1, lt=1, description="rate of a year, for Sharpe and Sortino")] = 0.0,
    adjusted: Adjusted = False,  # noqa: FBT002 - FastAPI passes it by name
) -> Statistics:
    """Return, volatility, value at risk, ratios, drawdown of closed bars, 365 of a day by default."""
    market, length = stores.market, Timeframe.parse(timeframe)
    id_ = market.names.resolve(instrument).id
    span = bounded(interval(start, end, length, _DEFAULT_BARS), length, config)
    other = None if benchmark is None else market.names.resolve(benchmark).id

    def query(instrument: str) -> BarQuery:
        changed_by = market.adjustments.of(instrument) if adjusted else ()
        return BarQuery(instrument, length, span, adjustments=changed_by)

    found, slope = figures(
        market.bars,
        query(id_),
        calendar_of(stores, id_),
        benchmark=None if other is None else query(other),
        confidence=confidence,
        risk_free=risk_free,
    )
    return Statistics(instrument=id_, timeframe=length.value, benchmark=other, beta=slope, **dataclasses.asdict(found))


@router.get("/correlation", responses=TABLE)
def correlations(
    ids: Names,
    stores: StoresOf,
    config: ConfigOf,
    tables: TablesOf,
    timeframe: TimeframeText = "1d",
    start: TimeText = None,
    end: TimeText = None,
) -> Response:
    """Correlation of log returns of each pair of instruments, at the times that both have."""
    market, length = stores.market, Timeframe.parse(timeframe)
    known = list(dict.fromkeys(market.names.resolve(name).id for name in named(ids)))
    span = bounded(interval(start, end, length, _DEFAULT_BARS), length, config)
    most = int((span.end - span.start).total_seconds() // (length.seconds or 28 * 86_400))
    require_rows(min(most, config.max_rows) * len(known), config)
    meta = {"timeframe": length.value, "start": iso(span.start), "end": iso(span.end), "instruments": known}
    return tables.answer(correlations_of(market.bars, known, length, span), meta=meta)
