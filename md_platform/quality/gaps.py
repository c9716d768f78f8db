"""Open times that are there and open times that ought to be in, the ranges that are missing out."""

import datetime as dt
from dataclasses import dataclass

import polars as pl

from md_platform.domain.intervals import Timeframe


@dataclass(frozen=True, slots=True)
class Gap:
    """`bars` consecutive bars are missing in `[start, end)`."""

    start: dt.datetime
    end: dt.datetime
    bars: int

    def evidence(self) -> dict[str, str | int]:
        """The gap as JSON for the partition's evidence."""
        return {"start": self.start.isoformat(), "end": self.end.isoformat(), "bars": self.bars}


def missing_ranges(open_times: pl.Series, expected: pl.Series, timeframe: Timeframe) -> list[Gap]:
    """Ranges of `expected` open times (ascending, UTC) absent from `open_times`, in order.

    A range ends where the calendar closes: what is missing on both sides of a lunch break or a night is two ranges.
    """
    gaps: list[Gap] = []
    for moment in expected.filter(~expected.is_in(open_times.implode())).to_list():
        end = timeframe.close_time(moment)
        if gaps and gaps[-1].end == moment:
            gaps[-1] = Gap(gaps[-1].start, end, gaps[-1].bars + 1)
        else:
            gaps.append(Gap(moment, end, 1))
    return gaps
