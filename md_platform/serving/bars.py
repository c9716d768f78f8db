"""Bars of one instrument, timeframe and interval out, from wherever they are stored; the rule is that of `seam`.

A bar that runs is among them, `is_closed` false. Longer bars of a day that is open are rolled up from its minutes by
the domain's rule, so all timeframes of a moment tell the same.
"""

import datetime as dt
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import polars as pl
import redis
import structlog

from md_platform.catalog.reading import Chunk, Reader, Selection
from md_platform.domain.bars import roll_up
from md_platform.domain.intervals import UTC, Interval, Timeframe
from md_platform.domain.schemas import CLEANED_BARS, MONTHLY_BARS, RAW_BARS, RESAMPLED_BARS, WEEKLY_BARS, Dataset
from md_platform.serving.pool import Pool
from md_platform.serving.seam import Plan, Seam, Segment
from md_platform.serving.tail import Tail
from md_platform.storage.live_reading import FOREVER, LiveReader
from md_platform.transforms.cleaned import clean_bars
from md_platform.transforms.filled import fill_previous

log = structlog.get_logger(__name__)

Fill = Literal["none", "previous"]
_PERIODS = {Timeframe.W1: WEEKLY_BARS, Timeframe.MONTH1: MONTHLY_BARS}
_KEY = ("instrument", "timeframe", "open_time")
_OURS = "trades"
"""Source of bars aggregated from trades. They are preferred to the venue's own candles, as in running bars."""


@dataclass(frozen=True, slots=True)
class BarQuery:
    """Bars that open in `interval`. `as_of`: as they were known then. `fill`: what stands for bars never observed."""

    instrument: str
    timeframe: Timeframe
    interval: Interval
    as_of: dt.datetime | None = None
    fill: Fill = "none"


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
        live: Pool[LiveReader],
        tail: Tail | None,
        now: Callable[[], dt.datetime] = lambda: dt.datetime.now(UTC),
    ) -> None:
        self._history = history
        self._seam = seam
        self._live = live
        self._tail = tail
        self._now = now

    def plan(self, query: BarQuery) -> Plan:
        """Where the bars are."""
        interval = _whole_bars(query)
        if query.timeframe is Timeframe.S1:
            return Plan((Segment("open", interval, ()),), "0")
        if query.timeframe in _PERIODS:
            dataset = _PERIODS[query.timeframe]
            return self._seam.of_periods(query.instrument, dataset, query.timeframe, interval)
        if query.timeframe is Timeframe.M1 or query.as_of is not None:
            return self._seam.of_rows(query.instrument, CLEANED_BARS, interval)
        return self._seam.of_rolled_bars(query.instrument, interval)

    def read(self, query: BarQuery, plan: Plan | None = None) -> BarAnswer:
        """The bars; StorageError where a store that has them cannot be read."""
        plan = plan or self.plan(query)
        reading = _Reading(self, query)
        parts = [part for segment in plan.segments for part in reading.segment(segment)]
        rows = pl.concat(parts) if parts else pl.DataFrame(schema=CLEANED_BARS.schema)
        rows = rows.filter(pl.col("open_time").is_between(query.interval.start, query.interval.end, closed="left"))
        if query.fill == "previous":
            rows = fill_previous(rows, query.timeframe, min(query.interval.end, self._now()))
        is_final = plan.is_settled and not reading.is_degraded
        return BarAnswer(rows, plan.version if is_final else None, reading.is_degraded)


def _whole_bars(query: BarQuery) -> Interval:
    """What holds all of the bars that are asked for: the last of them may reach beyond the query's end."""
    timeframe, interval = query.timeframe, query.interval
    last = timeframe.open_time(interval.end - dt.timedelta(microseconds=1))
    return Interval(timeframe.open_time(max(interval.start, _FIRST)), timeframe.close_time(max(last, _FIRST)))


_FIRST = dt.datetime(1970, 1, 5, tzinfo=UTC)
"""The Monday from which weeks are counted. Nothing is older."""


class _Reading:
    """One request being read."""

    def __init__(self, bars: Bars, query: BarQuery) -> None:
        self._bars = bars
        self._query = query
        self.is_degraded = False

    def segment(self, segment: Segment) -> Iterator[pl.DataFrame]:
        query, now = self._query, self._bars._now()
        timeframe, instrument = query.timeframe, query.instrument
        if timeframe is Timeframe.S1:
            yield self._live(segment.interval, timeframe)
        elif timeframe in _PERIODS:
            if segment.kind == "settled" and query.as_of is None:
                yield self._stored(_PERIODS[timeframe], segment.chunks, timeframe)
            elif segment.interval.start < now:
                days = BarQuery(instrument, Timeframe.D1, segment.interval, query.as_of)
                answer = self._bars.read(days)
                self.is_degraded |= answer.is_degraded
                yield roll_up(answer.rows.lazy(), timeframe, now).collect()
        elif segment.kind == "settled" and query.as_of is None:
            dataset = CLEANED_BARS if timeframe is Timeframe.M1 else RESAMPLED_BARS
            yield self._stored(dataset, segment.chunks, timeframe)
        else:
            minutes = self._minutes(segment)
            yield minutes if timeframe is Timeframe.M1 else roll_up(minutes.lazy(), timeframe, now).collect()

    def _minutes(self, segment: Segment) -> pl.DataFrame:
        """Minutes of the segment, each once: the first of the sources of them that has it."""
        as_of, interval = self._query.as_of, segment.interval
        stored = [self._stored(CLEANED_BARS, segment.chunks, Timeframe.M1)] if segment.chunks else []
        if as_of is not None:
            stored = [self._as_known(rows, segment, as_of) for rows in stored]
        if segment.kind == "derived" or (segment.kind == "settled" and as_of is None):
            return pl.concat(stored)
        live = self._live(interval, Timeframe.M1)
        candidates = [live, *stored] if segment.kind == "open" else [*stored, live]
        return pl.concat(candidates).unique("open_time", keep="first", maintain_order=True).sort("open_time")

    def _as_known(self, rows: pl.DataFrame, segment: Segment, as_of: dt.datetime) -> pl.DataFrame:
        """Of settled minutes those that were known then, else the newest revision of the same source that was."""
        selection = Selection(RAW_BARS, self._query.instrument, segment.interval)
        found = self._bars._history.frames(selection, self._bars._history.chunks(selection))
        sources = rows["source"].unique().to_list()
        known = pl.concat(found).filter(pl.col("known_at") <= as_of, pl.col("source").is_in(sources))
        earlier = [clean_bars(each).kept for each in known.partition_by("source", maintain_order=True)]
        return pl.concat([rows.filter(pl.col("known_at") <= as_of), *earlier])

    def _live(self, interval: Interval, timeframe: Timeframe) -> pl.DataFrame:
        """What the live store and Redis have, each open time once."""
        as_of = self._query.as_of or FOREVER
        with self._bars._live.borrowed() as reader:
            stored = reader.bars(self._query.instrument, timeframe, interval, as_of)
        since = interval.start if stored.is_empty() else stored["close_time"][-1]
        told = self._told(timeframe, since).filter(
            pl.col("open_time").is_between(interval.start, interval.end, closed="left"), pl.col("known_at") <= as_of
        )
        ours = pl.col("source").str.starts_with(_OURS)
        return (
            pl.concat([stored, told])
            .sort("open_time", ours, "is_closed", "revision", descending=[False, True, True, True], maintain_order=True)
            .unique("open_time", keep="first", maintain_order=True)
        )

    def _told(self, timeframe: Timeframe, since: dt.datetime) -> pl.DataFrame:
        nothing = pl.DataFrame(schema=CLEANED_BARS.schema)
        if self._bars._tail is None:
            return nothing
        try:
            return self._bars._tail.bars(self._query.instrument, timeframe, since)
        except redis.RedisError as error:
            log.warning("redis is away: bars not stored yet are missing", reason=str(error))
            self.is_degraded = True
            return nothing

    def _stored(self, dataset: Dataset, chunks: tuple[Chunk, ...], timeframe: Timeframe) -> pl.DataFrame:
        selection = Selection(dataset, self._query.instrument, self._query.interval, timeframe)
        return pl.concat(self._bars._history.frames(selection, chunks))
