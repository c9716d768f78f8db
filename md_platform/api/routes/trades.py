"""Trades of an instrument."""

import datetime as dt
from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import Response

from md_platform.api.dependencies import StoresOf, reader
from md_platform.api.formats import TABLE, TablesOf
from md_platform.api.routes.asking import InstrumentName, TimeText, iso, marked
from md_platform.domain.intervals import DAY, UTC, Interval
from md_platform.errors import TooLarge
from md_platform.serving.ranges import moment

router = APIRouter(tags=["trades"], dependencies=[reader()])

_LONGEST = DAY


@router.get("/trades/{instrument:path}", responses=TABLE)
def trades(
    instrument: InstrumentName,
    stores: StoresOf,
    tables: TablesOf,
    start: TimeText = None,
    end: TimeText = None,
    limit: Annotated[int, Query(ge=1, le=100_000, description="at most so many trades")] = 100,
) -> Response:
    """Trades from `start` to before `end`, each once: the first `limit` from the start.

    Without a start the last `limit` before the end, if they lie within a day of it. A day is the longest range:
    `history?kind=trades` pages through more.
    """
    market = stores.market
    id_ = market.names.resolve(instrument).id
    now = dt.datetime.now(UTC)
    until = min(moment(end, "end", now), now)
    if start is None:
        answer = market.trades.newest(id_, limit, until)
        rows = answer.rows
    else:
        span = Interval(moment(start, "start", now), until)
        if span.end - span.start > _LONGEST:
            raise TooLarge(f"trades are given for a day at most, was {span.end - span.start}: use history?kind=trades")
        answer = market.trades.read(id_, span)
        rows = answer.rows.head(limit)
    meta = {"instrument": id_, "end": iso(until), "is_degraded": answer.is_degraded}
    return marked(tables.answer(rows, meta=meta), is_degraded=answer.is_degraded)
