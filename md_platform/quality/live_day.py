"""What the live process said of its feeds in, and the ids of a day's trades; what of the day is missing out. Pure."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from md_platform.domain.instruments import Instrument
from md_platform.domain.intervals import Interval

_CLOCKS_AGREE = dt.timedelta(minutes=1)
"""A gap is told by our clock, its repair by the venue's, and in whole minutes where it was long."""


@dataclass(frozen=True, slots=True)
class FeedGap:
    """Trades of `[start, end)` may be missing, because of `cause`."""

    start: dt.datetime
    end: dt.datetime
    cause: str

    def evidence(self) -> dict[str, str]:
        """The gap as JSON for the partition's evidence."""
        return {"start": self.start.isoformat(), "end": self.end.isoformat(), "cause": self.cause}


def open_gaps(notices: pl.DataFrame, instrument: Instrument, day: Interval) -> list[FeedGap]:
    """Gaps in the trades of `instrument` that touch `day` and whose trades history did not bring since.

    `notices` (NOTICE_COLUMNS) are those noticed from the day on. One that names no instruments or channels is about
    all of its connection, which may be more than this instrument was on.
    """
    about = (
        (pl.col("venue") == instrument.venue)
        & (pl.col("instruments").list.contains(instrument.id) | (pl.col("instruments").list.len() == 0))
        & (pl.col("channels").list.contains("trades") | (pl.col("channels").list.len() == 0))
    )
    told = notices.filter(about).with_columns(pl.col("end").fill_null(day.end))
    touching = (pl.col("start") < day.end) & (pl.col("end") >= day.start)
    gaps = told.filter((pl.col("kind") == "gap") & touching).with_row_index()
    repaired = _repaired(gaps, told.filter(pl.col("kind") == "repaired"))
    left = gaps.join(repaired, on="index", how="anti").sort("start")
    return [FeedGap(*row) for row in left.select("start", "end", "cause").iter_rows()]


def with_repairs(notices: pl.DataFrame) -> pl.DataFrame:
    """`notices` (NOTICE_COLUMNS) with `repaired_at`: when history brought what a gap had lost; null: it did not."""
    told = notices.with_row_index()
    repaired = _repaired(told.filter(pl.col("kind") == "gap"), told.filter(pl.col("kind") == "repaired").drop("index"))
    first = repaired.group_by("index").agg(pl.col("at_repair").min().alias("repaired_at"))
    return told.join(first, on="index", how="left", maintain_order="left").drop("index")


def _repaired(gaps: pl.DataFrame, repairs: pl.DataFrame) -> pl.DataFrame:
    """Each of `gaps` (with `index`) beside each repair of it, whose columns end in `_repair`."""
    return gaps.join(repairs, on=["venue", "connection"], suffix="_repair").filter(
        pl.col("at_repair") >= pl.col("at"),
        pl.col("first_missing").eq_missing(pl.col("first_missing_repair")),
        pl.col("start_repair") < pl.col("end") + _CLOCKS_AGREE,
        pl.col("end_repair") > pl.col("start") - _CLOCKS_AGREE,
    )


def missing_ids(ids: pl.Series, before: int | None, after: int | None) -> list[tuple[int, int]]:
    """First and last of each range of consecutive ids that is not among `ids`, at least one.

    `before` and `after` are the ids of the trades next to the day, None where they are unknown.
    """
    edges = [np.array([edge], np.int64) for edge in (before, after) if edge is not None]
    known = np.unique(np.concatenate([ids.to_numpy(), *edges]))
    jumps = np.flatnonzero(np.diff(known) > 1)
    return [(int(known[n]) + 1, int(known[n + 1]) - 1) for n in jumps]


def count_of(ranges: Sequence[tuple[int, int]]) -> int:
    """How many ids `ranges` hold."""
    return sum(last - first + 1 for first, last in ranges)
