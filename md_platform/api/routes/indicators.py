"""The registry of indicators, their values on any range, and custom expressions."""

from typing import Annotated

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, Field
from starlette.responses import Response

from md_platform.api.config import ApiConfig
from md_platform.api.dependencies import ConfigOf, StoresOf, reader
from md_platform.api.formats import TABLE, Tables, TablesOf
from md_platform.api.routes.asking import (
    InstrumentName,
    Meta,
    TimeframeText,
    TimeText,
    bounded,
    calendar_of,
    iso,
    marked,
)
from md_platform.api.stores import Stores
from md_platform.domain.expressions import LONGEST, parse_expression
from md_platform.domain.indicators import REGISTRY, Indicator, parse_spec
from md_platform.domain.intervals import Timeframe
from md_platform.serving.bars import BarQuery
from md_platform.serving.computed import Computed
from md_platform.serving.ranges import interval, moment

router = APIRouter(tags=["indicators"], dependencies=[reader()])

_DEFAULT_BARS = 500
_MOST_INDICATORS = 50


class ParameterInfo(BaseModel):
    """A number that an indicator takes."""

    name: str
    default: float
    low: float
    high: float
    is_whole: bool


class OutputInfo(BaseModel):
    """A column that an indicator gives; its name is followed by the parameters."""

    name: str
    unit: str
    meaning: str


class IndicatorInfo(BaseModel):
    """What an indicator is."""

    name: str = Field(examples=["ema"])
    family: str = Field(examples=["trend"])
    meaning: str
    source: str = Field(description="whose formula it is")
    inputs: list[str]
    parameters: list[ParameterInfo]
    outputs: list[OutputInfo]
    is_cumulative: bool = Field(description="counts from the first bar of the range")
    is_overlay: bool = Field(description="its values are prices, to be drawn over them")


class Asked(BaseModel):
    """Bars on which to compute. Without `end` until now, without `start` the 500 bars before the end."""

    timeframe: str = Field(default="1m", examples=["1h"], max_length=5)
    start: str | None = Field(default=None, max_length=40)
    end: str | None = Field(default=None, max_length=40)
    as_of: str | None = Field(default=None, max_length=40, description="on bars as they were known then")


class BatchRequest(Asked):
    """Several indicators at once."""

    indicators: list[Annotated[str, Field(max_length=100)]] = Field(
        examples=[["ema(20)", "macd(12,26,9)", "rsi"]], min_length=1, max_length=_MOST_INDICATORS
    )


class CustomRequest(Asked):
    """A custom expression."""

    instrument: str = Field(examples=["sandbox:BTC-USDT"], max_length=100)
    expression: str = Field(examples=["(close - sma(20)) / atr(14) > 1"], max_length=LONGEST)


@router.get("/indicators")
def indicators() -> list[IndicatorInfo]:
    """Every indicator with its parameters and outputs."""
    return [_info(each) for each in REGISTRY.values()]


@router.post("/indicators/custom", responses=TABLE)
def custom(body: CustomRequest, stores: StoresOf, config: ConfigOf, tables: TablesOf) -> Response:
    """A formula over columns and indicators at each bar: `value`, 1 or 0 where it compares.

    Columns are open, high, low, close, volume; `ema(20)` and `macd(12,26,9).signal` are indicators; abs log sqrt min
    max and `shift(x, bars)` are functions; + - * / % ** < <= > >= == != and or not.
    """
    expression = parse_expression(body.expression)
    query = _query(body, body.instrument, stores, config)
    found = stores.market.indicators.expression(query, expression, calendar_of(stores, query.instrument))
    return _answer(tables, query, found, {"expression": expression.text})


@router.post("/indicators/{instrument:path}/batch", responses=TABLE)
def batch(
    instrument: InstrumentName, body: BatchRequest, stores: StoresOf, config: ConfigOf, tables: TablesOf
) -> Response:
    """Several indicators at each bar, a column for each output."""
    specs = [parse_spec(text) for text in dict.fromkeys(body.indicators)]
    query = _query(body, instrument, stores, config)
    found = stores.market.indicators.values(query, specs, calendar_of(stores, query.instrument))
    return _answer(tables, query, found, {"indicators": [str(spec) for spec in specs]})


@router.get("/indicators/{instrument:path}/{name}", responses=TABLE)
def values(
    instrument: InstrumentName,
    name: Annotated[str, Path(description="as /indicators has it", examples=["macd"])],
    stores: StoresOf,
    config: ConfigOf,
    tables: TablesOf,
    params: Annotated[str, Query(description="its parameters in order: 12,26,9", max_length=100)] = "",
    timeframe: TimeframeText = "1m",
    start: TimeText = None,
    end: TimeText = None,
) -> Response:
    """One indicator at each bar, equal to what a longer series gives; null while it warms up."""
    spec = parse_spec(f"{name}({params})" if params else name)
    query = _query(Asked(timeframe=timeframe, start=start, end=end), instrument, stores, config)
    found = stores.market.indicators.values(query, [spec], calendar_of(stores, query.instrument))
    return _answer(tables, query, found, {"indicators": [str(spec)]})


def _query(asked: Asked, instrument: str, stores: Stores, config: ApiConfig) -> BarQuery:
    length = Timeframe.parse(asked.timeframe)
    id_ = stores.market.names.resolve(instrument).id
    span = interval(asked.start, asked.end, length, _DEFAULT_BARS)
    known = None if asked.as_of is None else moment(asked.as_of, "as_of", span.end)
    return BarQuery(id_, length, bounded(span, length, config), known)


def _answer(tables: Tables, query: BarQuery, found: Computed, meta: Meta) -> Response:
    span = {"start": iso(query.interval.start), "end": iso(query.interval.end)}
    told = {"instrument": query.instrument, "timeframe": query.timeframe.value, **span, **meta}
    return marked(tables.answer(found.rows, meta=told), is_degraded=found.answer.is_degraded)


def _info(known: Indicator) -> IndicatorInfo:
    parameters = [
        ParameterInfo(
            name=each.name,
            default=each.default,
            low=each.bounds.low,
            high=each.bounds.high,
            is_whole=isinstance(each.default, int),
        )
        for each in known.parameters
    ]
    outputs = [OutputInfo(name=each.name, unit=each.unit, meaning=each.meaning) for each in known.outputs]
    return IndicatorInfo(
        name=known.name,
        family=known.family,
        meaning=known.meaning,
        source=known.source,
        inputs=list(known.inputs),
        parameters=parameters,
        outputs=outputs,
        is_cumulative=known.cumulative,
        is_overlay=known.overlay,
    )
