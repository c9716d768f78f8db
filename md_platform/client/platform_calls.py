"""Calls about the platform itself: what it holds, how good that is, what happened to its feeds."""

import datetime as dt
from collections.abc import Sequence
from typing import Any

import polars as pl

from md_platform.client.asking import Ids, Request, Steps, When, given, several, time_text
from md_platform.client.market_calls import rows

_DATE, _TEXT, _COUNT = pl.Date(), pl.String(), pl.Int64()
_TOTALS = {
    **dict.fromkeys(("instruments", "partitions", "ok", "degraded", "failed", "missing", "pending", "closed"), _COUNT),
    **dict.fromkeys(("rows", "bytes"), _COUNT),
    **dict.fromkeys(("first_day", "last_day"), _DATE),
}
_DATASET = {
    **dict.fromkeys(("name", "layer", "meaning", "period"), _TEXT),
    **dict.fromkeys(("timeframes", "upstream", "downstream"), pl.List(pl.String())),
    **_TOTALS,
}
_COLUMN = {**dict.fromkeys(("name", "type", "unit", "meaning"), _TEXT), "nullable": pl.Boolean()}
_COVERAGE = {"instrument": _TEXT, "date": _DATE, "status": _TEXT}
_RUN = {
    **dict.fromkeys(("id", "status", "job"), _TEXT),
    "assets": pl.List(pl.String()),
    **dict.fromkeys(("first", "last"), _DATE),
    "instruments": pl.List(pl.String()),
    "asked_by": _TEXT,
    **dict.fromkeys(("steps_done", "steps"), _COUNT),
    **dict.fromkeys(("created_at", "started_at", "ended_at"), pl.Datetime("us", "UTC")),
    "url": _TEXT,
}


def datasets() -> Steps[pl.DataFrame]:
    """Every dataset with what is recorded of it."""
    (reply,) = yield [Request("datasets")]
    return rows([{**each, **each["totals"]} for each in reply.json], _DATASET)


def columns(dataset: str) -> Steps[pl.DataFrame]:
    """The columns of a dataset: types, units and meanings."""
    (reply,) = yield [Request("datasets", dataset)]
    return rows(reply.json["columns"], _COLUMN)


def coverage(dataset: str, ids: Ids = (), start: When | None = None, end: When | None = None) -> Steps[pl.DataFrame]:
    """The status of each partition (day, week, month) of each instrument, all of them by default.

    Days that were never made are left out.
    """
    asked = given(ids=",".join(several(ids)) or None, start=time_text(start), end=time_text(end))
    found: list[pl.DataFrame] = [pl.DataFrame(schema=_COVERAGE)]
    after: str | None = ""
    while after is not None:
        (reply,) = yield [Request("datasets", dataset, "coverage", params={**asked, "after": after})]
        page = reply.json
        found += [_calendar(each, page["period"], page["legend"]) for each in page["instruments"]]
        after = page["next_after"]
    return pl.concat(found).filter(pl.col("status") != "never made")


def partition(dataset: str, instrument: str, date: dt.date | str) -> Steps[dict[str, Any]]:
    """All that is known of one partition: checks, gaps, rejects, source, run, lineage."""
    (reply,) = yield [Request(f"datasets/{dataset}/days/{date}", instrument)]
    detail: dict[str, Any] = reply.json
    return detail


def quality(
    ids: Ids, dataset: str = "cleaned_bars", start: When | None = None, end: When | None = None
) -> Steps[pl.DataFrame]:
    """Status, score and completeness of each day (week, month) of each instrument."""
    asked = given(dataset=dataset, start=time_text(start), end=time_text(end))
    names = several(ids)
    replies = yield [Request("quality", name, params=asked, is_table=True) for name in names]
    return pl.concat(
        reply.frame.select(pl.lit(name).alias("instrument"), pl.all())
        for name, reply in zip(names, replies, strict=True)
    )


def events(
    instrument: str | None = None,
    *,
    venue: str | None = None,
    kinds: Sequence[str] = (),
    start: When | None = None,
    end: When | None = None,
    limit: int = 1_000,
) -> Steps[pl.DataFrame]:
    """What happened to feeds: gaps, disconnects, stalls, halts; the newest `limit`, of the last day by default."""
    asked = given(
        instrument=instrument,
        venue=venue,
        kind=",".join(kinds) or None,
        start=time_text(start),
        end=time_text(end),
        limit=limit,
    )
    (reply,) = yield [Request("events", params=asked, is_table=True)]
    return reply.frame


def runs(limit: int = 25) -> Steps[pl.DataFrame]:
    """The last runs of Dagster, newest first: what they make, what asked for them, how they ended."""
    (reply,) = yield [Request("runs", params=given(limit=limit))]
    return rows(reply.json, _RUN)


def _calendar(found: dict[str, Any], period: str, legend: dict[str, str]) -> pl.DataFrame:
    """The letters of an instrument as rows."""
    every = {"1d": "1d", "1w": "1w", "1M": "1mo"}[period]
    first = dt.date.fromisoformat(found["first"])
    statuses = [legend[letter] for letter in found["calendar"]]
    dates = pl.date_range(first, pl.lit(first).dt.offset_by(f"{len(statuses) - 1}{every[1:]}"), every, eager=True)
    return pl.DataFrame({"instrument": [found["instrument"]] * len(dates), "date": dates, "status": statuses})
