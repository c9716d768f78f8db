"""Frames of several partitions in, one table that still knows whose rows are whose out. Nothing is judged here.

To ask one table of a month once costs a tenth of asking each of its days.
"""

from collections.abc import Iterator, Sequence
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

PARTITION = "_partition"
"""Name of the column of `Partitions.numbered`."""

UNKNOWN = len(Timeframe)
"""Rank of a timeframe that is none."""

_TIMEFRAME = pl.Enum([timeframe.value for timeframe in Timeframe])


def timeframe_ranks(rows: pl.DataFrame) -> npt.NDArray[np.int64]:
    """The place of each row's `timeframe` among all timeframes; UNKNOWN where it is none of them, or null."""
    ranks = rows["timeframe"].cast(_TIMEFRAME, strict=False).to_physical().cast(pl.Int64)
    return ranks.fill_null(UNKNOWN).to_numpy()


@dataclass(frozen=True)
class Groups:
    """Rows that belong together: `order` lists them group by group, `begins` flags the first of each."""

    order: Indices
    begins: Flags

    def __iter__(self) -> Iterator[Indices]:
        return iter(np.split(self.order, np.flatnonzero(self.begins)[1:]))


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
    def each(self) -> Groups:
        """The rows of each partition."""
        return Groups(np.arange(self.ordinals.size), _differs(self.ordinals))

    @cached_property
    def each_timeframe(self) -> Groups:
        """The rows of each timeframe of each partition; those of an unknown timeframe are in none."""
        group = self.ordinals * UNKNOWN + self.ranks
        order = np.argsort(group, kind="stable")
        order = order[self.ranks[order] != UNKNOWN]
        return Groups(order, _differs(group[order]))

    @cached_property
    def ranks(self) -> npt.NDArray[np.int64]:
        """The `timeframe_ranks` of the rows."""
        return timeframe_ranks(self.rows)

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


def _differs(values: Indices) -> Flags:
    """Whether each value differs from the one before; the first does."""
    differs = np.ones(values.size, np.bool_)
    differs[1:] = values[1:] != values[:-1]
    return differs
