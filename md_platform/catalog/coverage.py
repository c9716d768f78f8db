"""Partitions in, what a dataset has of its instruments out: a letter a period, lineage by hash. Pure."""

import datetime as dt
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from md_platform.catalog.backfill import next_period, period_start
from md_platform.catalog.chain import INPUTS, PERIOD_ASSETS, outputs_of
from md_platform.catalog.ledger import Status
from md_platform.catalog.ranges import next_day
from md_platform.domain.intervals import Timeframe

LETTERS: Mapping[Status, str] = {
    "ok": "o",
    "degraded": "d",
    "failed": "f",
    "missing": "m",
    "pending": "p",
    "closed": "c",
}
"""How a calendar writes a status; a period without a partition is `-`."""

_PERIODS = {name: Timeframe(length) for length, names in PERIOD_ASSETS.items() for name in names}


@dataclass(frozen=True, slots=True)
class Coverage:
    """What there is of one instrument: letter n of `calendar` is the n-th period from `first` on.

    `score` is the mean of the measured ones, None where none is.
    """

    instrument: str
    first: dt.date
    last: dt.date
    rows: int
    bytes: int
    score: float | None
    statuses: Mapping[str, int]
    calendar: str


@dataclass(frozen=True, slots=True)
class Link:
    """A partition that another was made of, or the other way round: the input's hash when it was used, and now.

    Weeks and months keep no hashes of their days: `sha256_used` is None, as is what follows from it.
    """

    dataset: str
    date: dt.date
    sha256_used: str | None
    sha256: str | None

    @property
    def is_current(self) -> bool | None:
        """Whether the input still is what was used."""
        return None if self.sha256_used is None else self.sha256_used == self.sha256


def period_of(dataset: str) -> Timeframe:
    """Length of the partitions of `dataset`: a day, a week or a month."""
    return _PERIODS.get(dataset, Timeframe.D1)


def coverages(dataset: str, partitions: pl.DataFrame) -> list[Coverage]:
    """Coverage of each instrument in `partitions`: rows of Ledger.scores of one dataset, in order."""
    period = period_of(dataset)
    after = next_day if period is Timeframe.D1 else next_period(period)
    found = []
    for (instrument,), rows in partitions.group_by("instrument", maintain_order=True):
        statuses = dict(rows.select("date", "status").iter_rows())
        date, last = min(statuses), max(statuses)
        letters = []
        while date <= last:
            letters.append(LETTERS[statuses[date]] if date in statuses else "-")
            date = after(date)
        counts = Counter(statuses.values())
        found.append(
            Coverage(
                instrument=str(instrument),
                first=min(statuses),
                last=last,
                rows=int(rows["rows"].sum()),
                bytes=int(rows["bytes"].sum()),
                score=rows.select(pl.col("score").mean()).item(),
                statuses=counts,
                calendar="".join(letters),
            )
        )
    return found


def upstream(dataset: str, date: dt.date, partitions: pl.DataFrame) -> list[Link]:
    """What the partition of `dataset` on `date` was made of, among its instrument's `partitions` of the ledger."""
    known = _by_key(partitions)
    return list(_links(dataset, date, known))


def downstream(dataset: str, date: dt.date, partitions: pl.DataFrame) -> list[Link]:
    """What was made of that partition: each with the hash of it that was used and the one it has."""
    known = _by_key(partitions)
    found = []
    for name in outputs_of(dataset):
        period = period_of(name)
        first = date if period is period_of(dataset) else period_start(period, date)
        if (name, first) in known:
            used = [link for link in _links(name, first, known) if (link.dataset, link.date) == (dataset, date)]
            found.append(Link(name, first, used[0].sha256_used if used else None, _sha256(known, dataset, date)))
    return found


def _links(dataset: str, date: dt.date, known: Mapping[tuple[str, dt.date], dict[str, Any]]) -> list[Link]:
    made = known.get((dataset, date))
    if made is None:
        return []
    if dataset.startswith("archive_"):
        (name,) = INPUTS[dataset]
        return [Link(name, date, made["sha256"], _sha256(known, name, date))]
    if period_of(dataset) is not Timeframe.D1:
        end = next_period(period_of(dataset))(date)
        days = sorted(key for key in known if key[0] in INPUTS[dataset] and date <= key[1] < end)
        return [Link(name, day, None, _sha256(known, name, day)) for name, day in days]
    used: dict[str, str | None] = json.loads(made["evidence"]).get("inputs", {})
    return [Link(name, date, sha256, _sha256(known, name, date)) for name, sha256 in used.items()]


def _sha256(known: Mapping[tuple[str, dt.date], dict[str, Any]], dataset: str, date: dt.date) -> str | None:
    made = known.get((dataset, date))
    return None if made is None else made["sha256"]


def span_of(dataset: str, date: dt.date) -> tuple[dt.date, dt.date]:
    """Days, the last not included, whose partitions may be up- or downstream of the one of `dataset` on `date`."""
    if period_of(dataset) is not Timeframe.D1:
        return date, next_period(period_of(dataset))(date)
    return min(period_start(Timeframe(name), date) for name in PERIOD_ASSETS), next_day(date)


def _by_key(partitions: pl.DataFrame) -> dict[tuple[str, dt.date], dict[str, Any]]:
    return {(row["dataset"], row["date"]): row for row in partitions.iter_rows(named=True)}
