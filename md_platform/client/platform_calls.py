"""Calls about the platform itself: what it holds, how good that is, what happened to feeds, loading more of it."""

import datetime as dt
import time
from collections.abc import Sequence
from typing import Any, Literal

import msgspec
import polars as pl

from md_platform.client.asking import Ids, Pause, Request, Steps, When, given, several, time_text
from md_platform.client.jobs import Backfill
from md_platform.client.market_calls import rows
from md_platform.errors import PlatformUnavailable, ServiceError

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
_LOOK_AGAIN_S = 1.0


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


def backfill(
    ids: Ids,
    start: dt.date | str,
    end: dt.date | str,
    *,
    stage: Literal["raw", "cleaned", "resampled", "indicators", "archive"] = "archive",
    trades: bool = False,
    refresh: bool = False,
) -> Steps[Backfill]:
    """Load days of instruments from their venues and take them to `stage`; `wait` for it.

    What is there already is left alone, unless `refresh`. Asked again, it is the same backfill that runs.
    """
    body = {"ids": several(ids), "start": str(start), "end": str(end), "stage": stage}
    (reply,) = yield [Request("backfills", body={**body, "trades": trades, "refresh": refresh}, method="POST")]
    return msgspec.convert(reply.json, Backfill)


def backfills(limit: int = 100) -> Steps[list[Backfill]]:
    """Backfills, newest first."""
    (reply,) = yield [Request("backfills", params={"limit": str(limit)})]
    return msgspec.convert(reply.json, list[Backfill])


def cancel_backfill(started: Backfill) -> Steps[Backfill]:
    """Cancel it and its runs. What they made stays."""
    (reply,) = yield [Request("backfills", started.id or "", method="DELETE")]
    return msgspec.convert(reply.json, Backfill)


def wait_for_backfill(started: Backfill, timeout_s: float = 3_600.0) -> Steps[Backfill]:
    """The same when it is done; ServiceError where it failed, PlatformUnavailable where it takes longer."""
    told, until = started, time.monotonic() + timeout_s
    while not told.is_finished:
        if time.monotonic() > until:
            raise PlatformUnavailable(f"backfill {told.id} is {told.state} after {timeout_s:g} s")
        yield Pause(_LOOK_AGAIN_S)
        (reply,) = yield [Request("backfills", told.id or "")]
        told = msgspec.convert(reply.json, Backfill)
    if told.state != "done":
        raise ServiceError(f"backfill {told.id} is {told.state}: {told.error or told.detail}")
    return told


def _calendar(found: dict[str, Any], period: str, legend: dict[str, str]) -> pl.DataFrame:
    """The letters of an instrument as rows."""
    every = {"1d": "1d", "1w": "1w", "1M": "1mo"}[period]
    first = dt.date.fromisoformat(found["first"])
    statuses = [legend[letter] for letter in found["calendar"]]
    dates = pl.date_range(first, pl.lit(first).dt.offset_by(f"{len(statuses) - 1}{every[1:]}"), every, eager=True)
    return pl.DataFrame({"instrument": [found["instrument"]] * len(dates), "date": dates, "status": statuses})
