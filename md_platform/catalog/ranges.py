"""Ranges of partitions, as Dagster's run tags name them: neighbouring instruments × consecutive days."""

import datetime as dt
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Self

from md_platform.domain.intervals import DAY

RANGE_START, RANGE_END = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"
PERIODS_FOLLOW = "mdp/periods-follow"
"""Tag of runs whose launcher also runs the weeks and months they touch, so that the sensor leaves them alone."""


@dataclass(frozen=True, slots=True)
class Range:
    """Instruments contiguous in registration order × days (or periods) `first` to `last`, both included."""

    instruments: tuple[str, ...]
    first: dt.date
    last: dt.date

    @property
    def tags(self) -> dict[str, str]:
        """The same as run tags; multi-dimensional keys put `date` before `symbol`."""
        return {
            RANGE_START: f"{self.first}|{self.instruments[0]}",
            RANGE_END: f"{self.last}|{self.instruments[-1]}",
        }

    @classmethod
    def of_run(cls, tags: Mapping[str, str]) -> Self | None:
        """The range that a run's tags name, with the outermost instruments only; None for other runs."""
        start, end = (tags.get(name, tags.get("dagster/partition")) for name in (RANGE_START, RANGE_END))
        if start is None or end is None:
            return None
        try:
            (first, from_instrument), (last, to_instrument) = start.split("|"), end.split("|")
            return cls((from_instrument, to_instrument), dt.date.fromisoformat(first), dt.date.fromisoformat(last))
        except ValueError:  # of an asset that a team added, with partitions of its own
            return None


def neighbours(wanted: Iterable[str], registered: Iterable[str]) -> Iterator[tuple[str, ...]]:
    """`wanted` as the fewest groups of instruments that stand beside each other in `registered`."""
    chosen = set(wanted)
    group: list[str] = []
    for instrument in [*registered, ""]:
        if instrument in chosen:
            group.append(instrument)
        elif group:
            yield tuple(group)
            group = []


def next_day(date: dt.date) -> dt.date:
    """The day after."""
    return date + DAY


def blocks(
    dates: Iterable[dt.date], after: Callable[[dt.date], dt.date] = next_day
) -> Iterator[tuple[dt.date, dt.date]]:
    """The runs of consecutive dates in `dates`, each as its first and last.

    `after` says which date follows another: the next day, or the next week's or month's first day.
    """
    ordered = sorted(set(dates))
    starts = [date for n, date in enumerate(ordered) if n == 0 or after(ordered[n - 1]) != date]
    ends = [date for n, date in enumerate(ordered) if n + 1 == len(ordered) or after(date) != ordered[n + 1]]
    return zip(starts, ends, strict=True)
