"""Frames of several partitions in, one table that still knows whose rows are whose out. Nothing is judged here.

To ask one table of a month once costs a tenth of asking each of its days.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import polars as pl

from md_platform.domain.intervals import Timeframe

Flags = npt.NDArray[np.bool_]
Indices = npt.NDArray[np.intp]
Scalar = TypeVar("Scalar", bound=np.generic)

PARTITION = "partition"
"""Name of the column of `Partitions.numbered`."""

TIMEFRAMES = len(Timeframe)
"""Rank of a timeframe that is none."""

_TIMEFRAME = pl.Enum([timeframe.value for timeframe in Timeframe])


def timeframe_ranks(rows: pl.DataFrame) -> npt.NDArray[np.int64]:
    """Each row's place of its `timeframe` among all timeframes; TIMEFRAMES where it is unknown or null."""
    ranks = rows["timeframe"].cast(_TIMEFRAME, strict=False).to_physical().cast(pl.Int64)
    return ranks.fill_null(TIMEFRAMES).to_numpy()


@dataclass(frozen=True)
class Partitions:
    """Rows of several partitions, one after another, each in its stored order.

    `heights` says how many of `rows` each has, which may be none.
    """

    rows: pl.DataFrame
    heights: Indices

    @classmethod
    def of(cls, frames: Sequence[pl.DataFrame]) -> "Partitions":
        """Partitions of one schema; at least one."""
        return cls(pl.concat(frames), np.array([frame.height for frame in frames], np.intp))

    @cached_property
    def ordinals(self) -> Indices:
        """Of each row the partition that it is in, from 0."""
        return np.repeat(np.arange(self.heights.size), self.heights)

    @cached_property
    def begins(self) -> Flags:
        """Whether each row is the first of its partition."""
        begins = np.ones(self.ordinals.size, np.bool_)
        begins[1:] = self.ordinals[1:] != self.ordinals[:-1]
        return begins

    @cached_property
    def each(self) -> list[Indices]:
        """The rows of each partition."""
        return self.split(np.arange(self.rows.height))

    @cached_property
    def each_timeframe(self) -> list[Indices]:
        """The rows of each timeframe of each partition; those of an unknown timeframe are in none."""
        ranks = timeframe_ranks(self.rows)
        group = self.ordinals * TIMEFRAMES + ranks
        order = np.argsort(group, kind="stable")
        order = order[ranks[order] != TIMEFRAMES]
        return np.split(order, np.flatnonzero(np.diff(group[order])) + 1)

    def split(self, values: npt.NDArray[Scalar]) -> list[npt.NDArray[Scalar]]:
        """Values of the rows, by partition."""
        return np.split(values, np.cumsum(self.heights)[:-1])

    def count(self, flags: pl.Series) -> list[int]:
        """How many rows of each partition are flagged; null is not."""
        flagged = self.ordinals[flags.fill_null(False).to_numpy()]
        counts: list[int] = np.bincount(flagged, minlength=self.heights.size).tolist()
        return counts

    def numbered(self) -> pl.DataFrame:
        """The rows with their partition as column PARTITION."""
        return self.rows.with_columns(pl.Series(PARTITION, self.ordinals))
