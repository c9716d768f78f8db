"""The files of a lake and the tables of an archive in, what the ledger knows of them out: for readers without a server.

What stands in the lake is taken before the archive, as it is what the archive is made of. Partitions that failed look
like others here: only the database knows.
"""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

from md_platform.catalog.chain import ARCHIVED
from md_platform.catalog.ledger import Made, State
from md_platform.domain.instruments import Instrument
from md_platform.domain.intervals import DAY, UTC, Interval, Timeframe
from md_platform.domain.schemas import CLEANED_BARS, DATASETS, MONTHLY_BARS, WEEKLY_BARS, Dataset
from md_platform.storage.archive import Archive
from md_platform.storage.lake import Lake

_PERIODS = {WEEKLY_BARS.name: Timeframe.W1, MONTHLY_BARS.name: Timeframe.MONTH1}
_IN_ARCHIVE = "archived"


@dataclass(frozen=True, slots=True)
class FileLedger:
    """Partitions by the files that are there; see `ledger.Partitions`."""

    lake: Lake
    archive: Archive

    def usable(self, instrument: str, dataset: str, start: dt.date, end: dt.date) -> dict[dt.date, Made]:
        """Partitions of `dataset` with `start <= date < end`, by date."""
        made = self._made(instrument, DATASETS[dataset], start, end)
        minutes = made if dataset == CLEANED_BARS.name else self._made(instrument, CLEANED_BARS, start, end)
        return {
            date: Made(each.token, each.at, each.at, each.is_archived, _made_of(each, minutes.get(date)))
            for date, each in sorted(made.items())
        }

    def history(
        self, instrument: str, datasets: Sequence[str], start: dt.date, end: dt.date
    ) -> dict[tuple[str, dt.date], State]:
        """States of `instrument` in `datasets` (of the archive: `archive_...`) with `start <= date < end`."""
        states = {}
        for name in datasets:
            of_archive = name.startswith("archive_")
            for date, made in self.usable(instrument, name.removeprefix("archive_"), start, end).items():
                if made.is_archived is of_archive:
                    states[name, date] = State("ok")
        return states

    def instruments(self) -> list[tuple[Instrument, str]]:
        """Every instrument of which there are bars, without its universe."""
        found = {*self.lake.instruments(CLEANED_BARS), *self.archive.instruments(CLEANED_BARS.name)}
        return [(Instrument.parse(id_), "") for id_ in sorted(found)]

    def _made(self, instrument: str, dataset: Dataset, start: dt.date, end: dt.date) -> dict[dt.date, "_File"]:
        """What there is of `dataset`, by date."""
        length = _PERIODS.get(dataset.name, Timeframe.D1)
        found: dict[dt.date, _File] = {}
        if dataset.name in ARCHIVED:
            for date in self.archive.days(dataset.name, instrument, start, end):
                opened = length.open_time(Interval.day(date).start)
                found[opened.date()] = _File(_IN_ARCHIVE, length.close_time(opened), is_archived=True)
        for n in range((end - start).days):
            date = start + n * DAY
            written_ns = self.lake.written_ns(dataset, instrument, date)
            if written_ns is not None:
                at = dt.datetime.fromtimestamp(written_ns / 1e9, UTC)
                found[date] = _File(str(written_ns), at, is_archived=False)
        return found


@dataclass(frozen=True, slots=True)
class _File:
    """One partition: what stands for its content, and since when it is so."""

    token: str
    at: dt.datetime
    is_archived: bool


def _made_of(each: _File, minutes: _File | None) -> dict[str, str | None]:
    """What a partition was made from: the minutes that stand, unless they changed since."""
    if minutes is None or minutes.at > each.at or minutes.is_archived != each.is_archived:
        return {}
    return {CLEANED_BARS.name: minutes.token}
