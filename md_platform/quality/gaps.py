"""Open times that are there and open times that ought to be in, the ranges that are missing out."""

import datetime as dt
import itertools
from dataclasses import dataclass

import numpy as np
import polars as pl

from md_platform.domain.intervals import Timeframe
from md_platform.quality.expected import is_filled


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
    missing = expected.filter(pl.Series(~is_filled(expected.to_numpy(), open_times.to_numpy())))
    if missing.is_empty():
        return []
    ends = missing.dt.offset_by(timeframe.polars_every)
    begins = np.flatnonzero(missing.to_numpy()[1:] != ends.to_numpy()[:-1]) + 1
    return [
        Gap(missing[first], ends[after - 1], after - first)
        for first, after in itertools.pairwise([0, *begins.tolist(), missing.len()])
    ]
