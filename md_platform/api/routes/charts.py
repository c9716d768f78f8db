"""Charts as pictures, for reports: what the page draws, drawn here."""

import hashlib
from typing import Annotated, Literal

import resvg_py
from fastapi import APIRouter, Query
from starlette.responses import Response

from md_platform.api.chart_svg import Drawing, Line, Theme, chart_svg
from md_platform.api.dependencies import ConfigOf, StoresOf, reader
from md_platform.api.routes.asking import InstrumentName, TimeframeText, TimeText, bounded, calendar_of
from md_platform.domain.indicators import parse_spec
from md_platform.domain.intervals import Timeframe
from md_platform.errors import InvalidParameter
from md_platform.serving.bars import BarQuery
from md_platform.serving.ranges import interval
from md_platform.serving.thinning import drawn_timeframe

router = APIRouter(tags=["bars"], dependencies=[reader()])

_DEFAULT_BARS = 200
_MOST_INDICATORS = 5
_TYPES = {"svg": "image/svg+xml", "png": "image/png"}


@router.get(
    "/charts/{instrument:path}.{form}",
    response_class=Response,
    responses={200: {"description": "The picture", "content": {each: {} for each in _TYPES.values()}}},
)
def chart(
    instrument: InstrumentName,
    form: Literal["svg", "png"],
    stores: StoresOf,
    config: ConfigOf,
    timeframe: TimeframeText = "1h",
    start: TimeText = None,
    end: TimeText = None,
    kind: Literal["candles", "line"] = "candles",
    indicators: Annotated[
        str,
        Query(
            max_length=300,
            description="over the price or in panes below, separated by semicolons",
            examples=["ema(20);sma(50)"],
        ),
    ] = "",
    theme: Theme = "light",
    volume: Annotated[bool, Query(description="below the price")] = True,  # noqa: FBT002 - FastAPI passes it by name
    width: Annotated[int, Query(ge=200, le=4_000)] = 1200,
    height: Annotated[int, Query(ge=150, le=4_000)] = 600,
) -> Response:
    """Bars as a picture, 200 of an hour by default; in longer bars where there are more than it has pixels."""
    market, asked = stores.market, Timeframe.parse(timeframe)
    id_ = market.names.resolve(instrument).id
    span = interval(start, end, asked, _DEFAULT_BARS)
    length = drawn_timeframe(asked, span, width)
    query = BarQuery(id_, length, bounded(span, length, config))
    specs = [parse_spec(text) for text in indicators.split(";") if text.strip()]
    if len(specs) > _MOST_INDICATORS:
        raise InvalidParameter(f"indicators are {_MOST_INDICATORS} at most, was {len(specs)}")
    bars = market.bars.read(query).rows
    lines: list[Line] = []
    if specs:
        values = market.indicators.values(query, specs, calendar_of(stores, id_)).rows
        values = bars.select("open_time").join(values, on="open_time", how="left", maintain_order="left")
        panes = {spec: n for n, spec in enumerate((s for s in specs if not s.indicator.overlay), 1)}
        lines = [Line(values[column], panes.get(spec, 0)) for spec in specs for column in spec.columns]
    drawing = Drawing(f"{id_}  {length.value}", kind, theme, width, height, has_volume=volume)
    svg = chart_svg(bars, lines, drawing)
    content = svg.encode() if form == "svg" else bytes(resvg_py.svg_to_bytes(svg_string=svg))
    tag = hashlib.blake2b(content, digest_size=12).hexdigest()
    return Response(
        content, media_type=_TYPES[form], headers={"cache-control": "private, no-cache", "etag": f'"{tag}"'}
    )
