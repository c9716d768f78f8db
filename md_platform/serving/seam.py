"""Which days of an instrument are read from where: the ledger in, segments of days out.

The rule, decided once for each request, before anything else is read, from one look at the ledger:

- A day is **settled** when the ledger has a usable partition of it that was made after the day was over. That partition
  is the truth, and nothing else is looked at: it was reconciled with history, and may have taken rows back.
- Any other day is **open**: what the live store has of it, what Redis has that the writer has yet to store, and, in
  minutes that neither has, what a partition says that was made before the day was over.

So a day goes from open to settled at one moment, when its partition enters the ledger. Its file is there by then, and
the live store still has its rows: whoever looked before that moment reads them there.
"""

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Literal

from md_platform.catalog.ledger import Made, Partitions
from md_platform.catalog.reading import Chunk
from md_platform.domain.intervals import DAY, Interval, Timeframe
from md_platform.domain.schemas import CLEANED_BARS, RESAMPLED_BARS, Dataset
from md_platform.serving.pool import once_more

Kind = Literal["settled", "derived", "open"]
"""Settled with the wanted rows stored, settled with rows to derive from its minutes, or open."""


@dataclass(frozen=True, slots=True)
class Segment:
    """Consecutive days of one kind; `interval` is what of them is wanted. `chunks` are what the lake has of them."""

    kind: Kind
    interval: Interval
    chunks: tuple[Chunk, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """Where the rows of an interval are, in order. `version` changes with the content of any settled day in it."""

    segments: tuple[Segment, ...]
    version: str

    @property
    def is_settled(self) -> bool:
        """Whether nothing but a new partition can change what is read."""
        return all(segment.kind != "open" for segment in self.segments)


class Seam:
    """Plans reads by the ledger."""

    def __init__(self, ledger: Partitions) -> None:
        self._ledger = ledger

    def _usable(self, instrument: str, dataset: str, start: dt.date, end: dt.date) -> dict[dt.date, Made]:
        return once_more(lambda: self._ledger.usable(instrument, dataset, start, end))

    def of_rows(self, instrument: str, dataset: Dataset, interval: Interval) -> Plan:
        """For rows of `dataset` itself: 1m bars, trades."""
        days = interval.days()
        made = self._usable(instrument, dataset.name, days[0], days[-1] + DAY)
        kinds = {date: _kind(made.get(date), date) for date in days}
        return _plan(interval, days, kinds, made)

    def of_rolled_bars(self, instrument: str, interval: Interval) -> Plan:
        """For bars of 5m to 1d: stored ones where they were made from the minutes that stand, else the minutes."""
        days = interval.days()
        minutes = self._usable(instrument, CLEANED_BARS.name, days[0], days[-1] + DAY)
        rolled = self._usable(instrument, RESAMPLED_BARS.name, days[0], days[-1] + DAY)
        kinds = {date: _kind(minutes.get(date), date) for date in days}
        made: dict[dt.date, Made] = dict(minutes)
        for date, kind in kinds.items():
            if kind == "settled":
                same = date in rolled and rolled[date].made_of.get(CLEANED_BARS.name) == minutes[date].sha256
                kinds[date] = "settled" if same else "derived"
                made[date] = rolled[date] if same else minutes[date]
        return _plan(interval, days, kinds, made)

    def of_periods(self, instrument: str, dataset: Dataset, timeframe: Timeframe, interval: Interval) -> Plan:
        """For weeks and months that open in `interval`: those stored since they and all their days were over, or open.

        A period is one segment. A day that changed after its period was made leaves the period open, to be derived.
        """
        opens = list(
            dict.fromkeys(
                each for date in interval.days() if (each := timeframe.open_time(Interval.day(date).start)) in interval
            )
        )
        if not opens:
            return Plan((), "")
        last = timeframe.close_time(opens[-1]).date()
        made = self._usable(instrument, dataset.name, opens[0].date(), last)
        days = self._usable(instrument, CLEANED_BARS.name, opens[0].date(), last)
        segments = []
        for open_time in opens:
            whole = Interval(open_time, timeframe.close_time(open_time))
            period = made.get(open_time.date())
            stands = (
                period is not None
                and period.updated_at >= whole.end
                and all(date in days and days[date].changed_at <= period.updated_at for date in whole.days())
            )
            chunks = _chunks([open_time.date()], made, whole) if stands else ()
            segments.append(Segment("settled" if stands else "open", whole, chunks))
        return Plan(tuple(segments), _version(made.values()))


def _kind(made: Made | None, date: dt.date) -> Kind:
    return "settled" if made is not None and made.updated_at >= Interval.day(date).end else "open"


def _plan(
    interval: Interval, days: Sequence[dt.date], kinds: Mapping[dt.date, Kind], made: Mapping[dt.date, Made]
) -> Plan:
    segments = []
    for kind, dates in ((kind, list(group)) for kind, group in groupby(days, kinds.__getitem__)):
        clipped = _clipped(dates, interval)
        segments.append(Segment(kind, clipped, _chunks(dates, made, clipped)))
    return Plan(tuple(segments), _version(made.values()))


def _chunks(dates: Iterable[dt.date], made: Mapping[dt.date, Made], interval: Interval) -> tuple[Chunk, ...]:
    """What the archive has at once, what the lake has at once, in order."""
    present = [date for date in dates if date in made]
    chunks = []
    for is_archived, group in groupby(present, lambda date: made[date].is_archived):
        named = tuple(group)
        within = interval if named == tuple(dates) else _clipped(named, interval)
        chunks.append(Chunk("archive" if is_archived else "lake", named, within))
    return tuple(chunks)


def _clipped(dates: Sequence[dt.date], interval: Interval) -> Interval:
    start, end = Interval.day(dates[0]).start, Interval.day(dates[-1]).end
    return Interval(max(start, interval.start), min(end, interval.end))


def _version(made: Iterable[Made]) -> str:
    """What changes whenever one of the partitions does: how many there are, and when the last of them changed."""
    changes = [each.changed_at for each in made]
    return f"{len(changes)}-{max(changes).timestamp():.6f}" if changes else "0"
