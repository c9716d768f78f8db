"""Bars by range, by page, and as ccxt has them."""

import datetime as dt
import hashlib
from typing import Annotated, Literal

import orjson
import polars as pl
from fastapi import APIRouter, Query
from starlette.responses import Response

from md_platform.api.dependencies import ConfigOf, StoresOf, reader
from md_platform.api.formats import TABLE, TablesOf
from md_platform.api.routes.asking import (
    Adjusted,
    InstrumentName,
    Meta,
    TimeframeText,
    TimeText,
    bounded,
    iso,
    json_of,
    marked,
)
from md_platform.domain.corporate_actions import Adjustment
from md_platform.domain.intervals import UTC, Interval, Timeframe
from md_platform.errors import InvalidParameter
from md_platform.serving.bars import BarAnswer, BarQuery, Fill
from md_platform.serving.charts import ccxt_ohlcv
from md_platform.serving.paging import bar_page, trade_page
from md_platform.serving.ranges import interval, moment, within
from md_platform.serving.thinning import drawn_timeframe

router = APIRouter(tags=["bars"], dependencies=[reader()])

_DEFAULT_BARS = 500
_SETTLED_MAX_AGE_S = 60
Limit = Annotated[int | None, Query(ge=1, le=1_000_000, description="at most so many rows")]
MaxPoints = Annotated[
    int | None, Query(ge=10, le=100_000, description="for charts: in longer bars, if there are more; extremes stay")
]
_MOST_CCXT = 10_000


@router.get("/bars/{instrument:path}", responses=TABLE)
def bars(
    instrument: InstrumentName,
    stores: StoresOf,
    config: ConfigOf,
    tables: TablesOf,
    timeframe: TimeframeText = "1m",
    start: TimeText = None,
    end: TimeText = None,
    limit: Limit = None,
    fill: Annotated[Fill, Query(description="previous: periods without a bar repeat the last close")] = "none",
    as_of: TimeText = None,
    adjusted: Adjusted = False,  # noqa: FBT002 - FastAPI passes it by name
    max_points: MaxPoints = None,
    columns: Annotated[str | None, Query(max_length=400, description="only these, separated by commas")] = None,
) -> Response:
    """Bars that open from `start` to before `end`, the running one among them.

    Without `end` until now. Without `start` the last `limit` (500) before the end; with `start` the first `limit` from
    there. `as_of` answers with what was known then. `max_points` draws a long range in longer bars; `meta.timeframe`
    tells which.
    """
    market, length = stores.market, Timeframe.parse(timeframe)
    id_ = market.names.resolve(instrument).id
    span = interval(start, end, length, limit or _DEFAULT_BARS)
    if max_points is not None:
        length = drawn_timeframe(length, span, max_points)
    known = None if as_of is None else moment(as_of, "as_of", span.end)
    changed_by = market.adjustments.of(id_, known) if adjusted else ()
    query = BarQuery(id_, length, span, known, fill, changed_by)
    if start is not None and limit is not None:
        bounded(within(span, length, limit), length, config)
        answer = market.bars.first(query, limit)
    else:
        bounded(span, length, config)
        plan = market.bars.plan(query)
        if plan.is_settled and (same := tables.unchanged(_tag(plan.version, query), _SETTLED_MAX_AGE_S)):
            return same
        answer = market.bars.read(query, plan)
    rows = answer.rows if limit is None else answer.rows.tail(limit)
    if columns is not None:
        rows = _chosen(rows, columns)
    response = tables.answer(
        rows,
        meta=_meta(query, answer, adjusted=adjusted),
        version=None if answer.version is None else _tag(answer.version, query),
        max_age_s=0 if answer.version is None else _SETTLED_MAX_AGE_S,
    )
    return marked(response, is_degraded=answer.is_degraded)


def _tag(version: str, query: BarQuery) -> str:
    span = query.interval
    tag = f"{version}-{span.start.timestamp()}-{span.end.timestamp()}"
    if not query.adjustments:
        return tag
    return f"{tag}-{hashlib.blake2b(repr(query.adjustments).encode(), digest_size=8).hexdigest()}"


def _chosen(rows: pl.DataFrame, columns: str) -> pl.DataFrame:
    names = list(dict.fromkeys(name.strip() for name in columns.split(",")))
    if unknown := [name for name in names if name not in rows.columns]:
        raise InvalidParameter(f"columns are of {' '.join(rows.columns)}, was {unknown[0]!r}")
    return rows.select(names)


def _meta(query: BarQuery, answer: BarAnswer, *, adjusted: bool) -> Meta:
    """What the rows are, and by which corporate actions they were changed."""
    return {
        "instrument": query.instrument,
        "timeframe": query.timeframe.value,
        "start": iso(query.interval.start),
        "end": iso(query.interval.end),
        "as_of": iso(query.as_of),
        "fill": query.fill,
        "adjusted": adjusted,
        "adjustments": [_adjustment(each) for each in query.adjustments],
        "is_settled": answer.version is not None,
        "is_degraded": answer.is_degraded,
    }


def _adjustment(each: Adjustment) -> Meta:
    action = each.action
    factors = {"price_factor": each.price, "volume_factor": each.volume}
    return {"ex_date": action.ex_date.isoformat(), "kind": action.kind, "value": action.value, **factors}


@router.get("/history/{instrument:path}", responses=TABLE)
def history(
    instrument: InstrumentName,
    stores: StoresOf,
    tables: TablesOf,
    start: TimeText = None,
    end: TimeText = None,
    kind: Literal["bars", "trades"] = "bars",
    timeframe: TimeframeText = "1m",
    limit: Annotated[int, Query(ge=1, le=100_000, description="rows of a page, at most")] = 10_000,
    cursor: Annotated[str | None, Query(max_length=500, description="of the page before: `meta.next_cursor`")] = None,
) -> Response:
    """Any range, a page at a time: ask again with `meta.next_cursor` (header `x-next-cursor`) until it is null.

    A page may have fewer rows than `limit` before the last one. A cursor is good for the same instrument and kind, and
    carries the range.
    """
    market, length = stores.market, Timeframe.parse(timeframe)
    id_ = market.names.resolve(instrument).id
    now = dt.datetime.now(UTC)
    until = min(moment(end, "end", now), now) if cursor is None and end is not None else now
    span = Interval(moment(start, "start", until - dt.timedelta(days=1)), until) if cursor is None else None
    if kind == "bars":
        page = bar_page(market.bars, id_, length, span, limit, cursor)
    else:
        page = trade_page(market.trades, id_, span, limit, cursor)
    meta = {"instrument": id_, "kind": kind, "next_cursor": page.next_cursor, "is_degraded": page.is_degraded}
    response = tables.answer(page.rows, meta=meta)
    if page.next_cursor is not None:
        response.headers["x-next-cursor"] = page.next_cursor
    return marked(response, is_degraded=page.is_degraded)


@router.get(
    "/ohlcv/{instrument:path}",
    responses=json_of("array"),
    response_class=Response,
)
def ohlcv(
    instrument: InstrumentName,
    stores: StoresOf,
    timeframe: TimeframeText = "1m",
    since: Annotated[str | None, Query(max_length=40, description="the first bar wanted: ms since the epoch")] = None,
    limit: Annotated[int, Query(ge=1, le=_MOST_CCXT)] = _DEFAULT_BARS,
) -> Response:
    """Bars as ccxt's fetch_ohlcv gives them: `[[ms, open, high, low, close, volume], ...]`, oldest first."""
    market, length = stores.market, Timeframe.parse(timeframe)
    id_ = market.names.resolve(instrument).id
    now = dt.datetime.now(UTC)
    if since is None:
        span = interval(None, None, length, limit, now=now)
        rows = market.bars.read(BarQuery(id_, length, span)).rows.tail(limit)
    else:
        page = bar_page(market.bars, id_, length, Interval(moment(since, "since", now), now), limit, None)
        rows = page.rows
    return Response(orjson.dumps(ccxt_ohlcv(rows)), media_type="application/json")
