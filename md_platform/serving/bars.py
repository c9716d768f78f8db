"""Bars of one instrument, timeframe and interval out, from wherever they are stored; the rule is that of `seam`.

A bar that runs is among them, `is_closed` false. Longer bars of a day that is open are rolled up from its minutes by
the domain's rule, so all timeframes of a moment tell the same.
"""

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal, cast

import polars as pl

from md_platform.catalog.reading import Reader, Selection
from md_platform.domain.bars import roll_up
from md_platform.domain.corporate_actions import Adjustment
from md_platform.domain.intervals import DAY, UTC, Interval, Timeframe
from md_platform.domain.schemas import CLEANED_BARS, MONTHLY_BARS, RAW_BARS, RESAMPLED_BARS, WEEKLY_BARS, Dataset
from md_platform.serving.cache import Cache
from md_platform.serving.live import Found, Streamed
from md_platform.serving.ranges import within
from md_platform.serving.seam import Plan, Seam, Segment
from md_platform.transforms.adjusted import adjust
from md_platform.transforms.cleaned import clean_bars
from md_platform.transforms.filled import fill_previous

Fill = Literal["none", "previous"]

_PERIODS = {Timeframe.W1: WEEKLY_BARS, Timeframe.MONTH1: MONTHLY_BARS}
_DATASETS = {Timeframe.M1: CLEANED_BARS, **_PERIODS}

_KEPT = {Timeframe.H1: Timeframe.H1, Timeframe.H4: Timeframe.H1, Timeframe.D1: Timeframe.D1}
"""What the database keeps rolled up that a timeframe can be made of."""

_REMEMBERED_S = 86_400.0

_FIRST = dt.datetime(1970, 1, 5, tzinfo=UTC)
"""The Monday from which weeks are counted. Nothing is older."""


@dataclass(frozen=True, slots=True)
class BarQuery:
    """Bars that open in `interval`. `as_of`: as they were known then. `fill`: what stands for bars never observed.

    Those of before an adjustment are changed by it: weeks and months day by day, as it may lie within them.
    """

    instrument: str
    timeframe: Timeframe
    interval: Interval
    as_of: dt.datetime | None = None
    fill: Fill = "none"
    adjustments: tuple[Adjustment, ...] = ()


@dataclass(frozen=True, slots=True)
class BarAnswer:
    """`rows` as BAR_COLUMNS (and `is_filled` where filling was asked for), each open time once, in order.

    `version` is None while something in it may still change without a new partition. `is_degraded`: Redis did not
    answer, so that what was not stored yet is missing.
    """

    rows: pl.DataFrame
    version: str | None
    is_degraded: bool = False


class Bars:
    """Reads bars. For any number of threads."""

    def __init__(
        self,
        history: Reader,
        seam: Seam,
        live: Streamed,
        cache: Cache,
        now: Callable[[], dt.datetime] = lambda: dt.datetime.now(UTC),
    ) -> None:
        self._history = history
        self._seam = seam
        self._live = live
        self._cache = cache
        self._now = now

    def plan(self, query: BarQuery) -> Plan:
        """Where the bars are."""
        interval, timeframe = _whole_bars(query), query.timeframe
        if timeframe is Timeframe.S1:
            return Plan((Segment("open", interval, ()),), "0")
        if timeframe in _PERIODS:
            return self._seam.of_periods(query.instrument, _PERIODS[timeframe], timeframe, interval)
        if timeframe is Timeframe.M1 or query.as_of is not None:
            return self._seam.of_rows(query.instrument, CLEANED_BARS, interval)
        return self._seam.of_rolled_bars(query.instrument, interval)

    def read(self, query: BarQuery, plan: Plan | None = None) -> BarAnswer:
        """The bars; StorageError where a store that has them cannot be read. Settled ones are remembered in Redis."""
        plan = plan or self.plan(query)
        if plan.is_settled and query.as_of is None:
            key = f"{query} {plan.version}"
            rows = self._cache.frame("bars", key, _REMEMBERED_S, lambda: self._read(query, plan).rows)
            return BarAnswer(rows, plan.version)
        return self._read(query, plan)

    def first(self, query: BarQuery, limit: int) -> BarAnswer:
        """The first `limit` bars of the query, without reading much beyond them."""
        whole, bars = query.interval, limit
        while True:
            answer = self.read(replace(query, interval=within(whole, query.timeframe, bars)))
            if answer.rows.height >= limit or within(whole, query.timeframe, bars) == whole:
                return replace(answer, rows=answer.rows.head(limit))
            bars *= 4

    def _read(self, query: BarQuery, plan: Plan) -> BarAnswer:
        found = [self._segment(query, segment) for segment in plan.segments]
        rows = pl.concat(part.rows for part in found) if found else pl.DataFrame(schema=CLEANED_BARS.schema)
        start, end = (rows["open_time"].search_sorted(edge) for edge in (query.interval.start, query.interval.end))
        rows = rows.slice(start, end - start)
        if query.timeframe not in _PERIODS:
            rows = adjust(rows, query.adjustments)
        if query.fill == "previous":
            rows = fill_previous(rows, query.timeframe, min(query.interval.end, self._now()))
        is_degraded = any(part.is_degraded for part in found)
        return BarAnswer(rows, plan.version if plan.is_settled and not is_degraded else None, is_degraded)

    def last_before(self, instrument: str, timeframe: Timeframe, moment: dt.datetime) -> dt.datetime | None:
        """Open time of the last bar that opens before `moment`, looked for in ever longer spans, or None."""
        end = timeframe.open_time(min(moment, self._now()))
        for days in (1, 32, 400, 4_000):
            start = max(end - days * DAY, _FIRST)
            if start >= end:
                return None
            found = self.read(BarQuery(instrument, Timeframe.D1, Interval(start, end))).rows
            if not found.is_empty():
                last = found["open_time"][-1]
                inside = Interval(timeframe.open_time(last), end)
                times = self.read(BarQuery(instrument, timeframe, inside)).rows["open_time"]
                return None if times.is_empty() else cast("dt.datetime", times[-1])
        return None

    def _segment(self, query: BarQuery, segment: Segment) -> Found:
        """All bars of the query's timeframe that open in `segment`."""
        timeframe = query.timeframe
        if timeframe is Timeframe.S1:
            return self._live.bars(query.instrument, timeframe, segment.interval, query.as_of)
        is_made_of_days = timeframe in _PERIODS and bool(query.adjustments)
        if segment.kind == "settled" and query.as_of is None and not is_made_of_days:
            return Found(self._stored(query, segment, _DATASETS.get(timeframe, RESAMPLED_BARS), timeframe))
        if timeframe in _PERIODS:
            days = self.read(replace(query, timeframe=Timeframe.D1, interval=segment.interval, fill="none"))
            members = Found(days.rows, days.is_degraded)
        elif ahead := self._rolled_ahead(query, segment):
            return ahead
        else:
            members = self._minutes(query, segment)
        if timeframe is Timeframe.M1:
            return members
        return Found(roll_up(members.rows.lazy(), timeframe, self._now()).collect(), members.is_degraded)

    def _rolled_ahead(self, query: BarQuery, segment: Segment) -> Found | None:
        """Bars of an hour or longer of which the database keeps the older ones; None where it keeps none.

        Those of the last two days are still rolled up from minutes: of them some may not be stored yet.
        """
        kept = _KEPT.get(query.timeframe)
        young = Timeframe.D1.open_time(self._now()) - DAY
        if kept is None or segment.chunks or query.as_of is not None or segment.interval.start >= young:
            return None
        older = Interval(segment.interval.start, min(young, segment.interval.end))
        rolled = self._live.rolled(query.instrument, kept, older)
        if rolled is None:
            return None
        rows = roll_up(rolled.lazy(), query.timeframe, self._now()).collect()
        if segment.interval.end <= young:
            return Found(rows)
        rest = self._minutes(query, Segment("open", Interval(young, segment.interval.end), ()))
        newer = roll_up(rest.rows.lazy(), query.timeframe, self._now()).collect()
        return Found(pl.concat([rows, newer]), rest.is_degraded)

    def _minutes(self, query: BarQuery, segment: Segment) -> Found:
        """Minutes of the segment, each once: of the first that has it."""
        stored = self._stored(query, segment, CLEANED_BARS, Timeframe.M1)
        if query.as_of is None and segment.kind != "open":
            return Found(stored)
        if query.as_of is not None:
            stored = self._as_known(stored, query.instrument, segment.interval, query.as_of)
        live = self._live.bars(query.instrument, Timeframe.M1, segment.interval, query.as_of)
        candidates = [live.rows, stored] if segment.kind == "open" else [stored, live.rows]
        rows = pl.concat(candidates).unique("open_time", keep="first", maintain_order=True).sort("open_time")
        return Found(rows, live.is_degraded)

    def _as_known(self, rows: pl.DataFrame, instrument: str, interval: Interval, as_of: dt.datetime) -> pl.DataFrame:
        """Of the minutes `rows` those known by then; of others the newest revision of the same source that was."""
        selection = Selection(RAW_BARS, instrument, interval)
        raw = pl.concat(self._history.frames(selection, self._history.chunks(selection)))
        sources = rows["source"].unique().to_list()
        known = raw.filter(pl.col("known_at") <= as_of, pl.col("source").is_in(sources))
        earlier = [clean_bars(each).kept for each in known.partition_by("source", maintain_order=True)]
        return pl.concat([rows.filter(pl.col("known_at") <= as_of), *earlier])

    def _stored(self, query: BarQuery, segment: Segment, dataset: Dataset, timeframe: Timeframe) -> pl.DataFrame:
        """Rows of the lake and the archive."""
        selection = Selection(dataset, query.instrument, segment.interval, timeframe)
        return pl.concat(
            [pl.DataFrame(schema=dataset.schema), *self._history.frames(selection, segment.chunks)], rechunk=False
        )


def _whole_bars(query: BarQuery) -> Interval:
    """What holds all of the bars that are asked for: the last of them may reach beyond the query's end."""
    timeframe, interval = query.timeframe, query.interval
    last = timeframe.open_time(max(interval.end - dt.timedelta(microseconds=1), _FIRST))
    return Interval(timeframe.open_time(max(interval.start, _FIRST)), timeframe.close_time(last))
