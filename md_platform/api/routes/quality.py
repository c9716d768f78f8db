"""How good an instrument's data are by day, and what happened to its feeds."""

import datetime as dt
from typing import Annotated

import polars as pl
from fastapi import APIRouter, Query
from starlette.responses import Response

from md_platform.api.dependencies import StoresOf, reader
from md_platform.api.formats import TABLE, TablesOf
from md_platform.api.routes.asking import InstrumentName, TimeText, iso
from md_platform.catalog.chain import INPUTS
from md_platform.domain.intervals import DAY, UTC, Interval
from md_platform.errors import TooLarge, UnknownDataset
from md_platform.quality.live_day import with_repairs
from md_platform.serving.pool import once_more
from md_platform.serving.ranges import moment

router = APIRouter(tags=["quality"], dependencies=[reader()])

_LONGEST = 366 * DAY
_OLDEST = dt.datetime(1970, 1, 1, tzinfo=UTC)


@router.get("/quality/{instrument:path}", responses=TABLE)
def quality(
    instrument: InstrumentName,
    stores: StoresOf,
    tables: TablesOf,
    dataset: Annotated[str, Query(max_length=50, examples=["cleaned_bars"])] = "cleaned_bars",
    start: TimeText = None,
    end: TimeText = None,
) -> Response:
    """Status, score and completeness of each day (week, month) of a dataset; the whole range beside them in `meta`.

    The score is coverage × validity × consistency, from 0 to 1; completeness is the share of expected rows.
    """
    if dataset not in INPUTS:
        raise UnknownDataset(f"dataset must be one of {' '.join(INPUTS)}, was {dataset!r}")
    id_ = stores.market.names.resolve(instrument).id
    now = dt.datetime.now(UTC)
    first, last = moment(start, "start", _OLDEST), moment(end, "end", now + DAY)
    rows = stores.ledger.scores(dataset, [id_], first.date(), last.date()).drop("instrument")
    rows = rows.with_columns(completeness=_completeness(pl.col("expected"), pl.col("missing")))
    expected, missing = int(rows["expected"].sum()), int(rows["missing"].sum())
    meta = {
        "instrument": id_,
        "dataset": dataset,
        "score": rows["score"].mean(),
        "completeness": 1 - missing / expected if expected else None,
        "expected": expected,
        "missing": missing,
        "quarantined": int(rows["quarantined"].sum()),
        "statuses": dict(rows["status"].value_counts(sort=True).iter_rows()),
    }
    return tables.answer(rows, meta=meta)


@router.get("/events", responses=TABLE)
def events(
    stores: StoresOf,
    tables: TablesOf,
    instrument: Annotated[str, Query(max_length=100, description="of this instrument only")] = "",
    venue: Annotated[str, Query(max_length=50, pattern=r"^[^\x00]*$")] = "",
    kind: Annotated[str, Query(max_length=200, description="kinds, separated by commas", examples=["gap"])] = "",
    start: TimeText = None,
    end: TimeText = None,
    limit: Annotated[int, Query(ge=1, le=100_000, description="the newest so many")] = 1_000,
) -> Response:
    """What happened to feeds, in order: gaps, disconnects, stalls, halts, resyncs; the last day by default.

    `repaired_at` says when history brought what a gap had lost. An event without instruments is about all of its
    connection.
    """
    asked = _span(start, end)
    id_ = stores.market.names.resolve(instrument).id if instrument else ""
    of_venue = venue or id_.partition(":")[0]
    noticed = Interval(asked.start, max(asked.end, dt.datetime.now(UTC)))  # a repair may come after the range

    def stored() -> pl.DataFrame:
        with stores.market.stored.borrowed() as store:
            return store.notices(noticed, of_venue or None)

    rows = with_repairs(once_more(stored)).filter(pl.col("at") < asked.end)
    if id_:
        concerned = pl.col("instruments")
        rows = rows.filter(concerned.list.contains(id_) | (concerned.list.len() == 0))
    if kind:
        rows = rows.filter(pl.col("kind").is_in([name.strip() for name in kind.split(",")]))
    rows = rows.tail(limit)
    if tables.form == "csv":  # which has no lists
        rows = rows.with_columns(pl.col("channels", "instruments").list.join(" "))
    return tables.answer(rows, meta={"start": iso(asked.start), "end": iso(asked.end)})


def _span(start: str | None, end: str | None) -> Interval:
    until = moment(end, "end", dt.datetime.now(UTC))
    span = Interval(moment(start, "start", until - DAY if until > _OLDEST + DAY else _OLDEST), until)
    if span.end - span.start > _LONGEST:
        raise TooLarge(f"events are given for {_LONGEST.days} days at most, was {span.end - span.start}")
    return span


def _completeness(expected: pl.Expr, missing: pl.Expr) -> pl.Expr:
    return pl.when(expected > 0).then(1 - missing / expected)
