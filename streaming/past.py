"""The lake and the live store in; the bars that an instrument goes on from at start out, and what nobody knows."""

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass, field

import polars as pl
import structlog
from psycopg.conninfo import make_conninfo

from md_platform.domain.events import Bar
from md_platform.domain.intervals import INTRADAY_ROLL_UPS, UTC, Interval, Timeframe
from md_platform.domain.live_cascade import DAY_NS
from md_platform.domain.schemas import CLEANED_BARS, RESAMPLED_BARS, Dataset
from md_platform.errors import StorageError
from md_platform.storage.lake import Lake
from md_platform.storage.live_reading import LiveReader

log = structlog.get_logger(__name__)

_CONNECT_S = 3  # a database that is away does not keep feeds waiting


@dataclass(frozen=True, slots=True)
class Past:
    """Closed bars of before `until_ns`, a whole minute.

    `minutes` are the 1m bars of the 24 hours before it; those of `unknown`, half-open stretches, may be missing. `days`
    are the 1d bars of days before its own, in the week and month of yesterday and of today, as far as they are known.
    """

    until_ns: int
    minutes: list[Bar] = field(default_factory=list)
    unknown: list[tuple[int, int]] = field(default_factory=list)
    days: list[Bar] = field(default_factory=list)


class PastReader:
    """Reads the past of instruments; not for several threads at once."""

    def __init__(self, lake: Lake | None, database_url: str | None) -> None:
        self._lake = lake
        address = make_conninfo(database_url, connect_timeout=_CONNECT_S) if database_url is not None else None
        self._store = LiveReader(address) if address is not None else None

    def close(self) -> None:
        """Let go of the database."""
        if self._store is not None:
            self._store.close()

    def read(self, instrument: str, until_ns: int) -> Past:
        """What is stored of `instrument` before `until_ns`, a whole minute."""
        start_ns, midnight_ns = until_ns - DAY_NS, until_ns - until_ns % DAY_NS
        yesterday = self._cleaned(CLEANED_BARS, instrument, Timeframe.M1, [midnight_ns - DAY_NS])
        stored = [
            bar
            for timeframe in (Timeframe.M1, *INTRADAY_ROLL_UPS)
            for bar in self._stored(instrument, timeframe, midnight_ns - DAY_NS, until_ns)
        ]
        known = [(bar.open_time, bar.close_time) for bar in stored]
        known += [(midnight_ns - DAY_NS, midnight_ns)] if yesterday else []
        minutes = {bar.open_time: bar for bar in [*yesterday, *stored] if bar.timeframe == Timeframe.M1}
        return Past(
            until_ns,
            [minutes[at] for at in sorted(minutes) if start_ns <= at < until_ns],
            _between(known, start_ns, until_ns),
            self._days(instrument, midnight_ns),
        )

    def _days(self, instrument: str, midnight_ns: int) -> list[Bar]:
        yesterday = _instant(midnight_ns - DAY_NS)
        first_ns = min(_ns(each.open_time(yesterday)) for each in (Timeframe.W1, Timeframe.MONTH1))
        opened = list(range(first_ns, midnight_ns, DAY_NS))
        stored = self._stored(instrument, Timeframe.D1, first_ns, midnight_ns)
        built = self._cleaned(RESAMPLED_BARS, instrument, Timeframe.D1, opened)
        days = {bar.open_time: bar for bar in [*stored, *built]}  # batch has the last word
        return [days[at] for at in sorted(days)]

    def _stored(self, instrument: str, timeframe: Timeframe, start_ns: int, end_ns: int) -> list[Bar]:
        """Closed bars of the live store, the last revision of each."""
        if self._store is None or start_ns >= end_ns:
            return []
        try:
            frame = self._store.bars(instrument, timeframe, Interval(_instant(start_ns), _instant(end_ns)))
        except StorageError as error:  # history is asked instead
            log.warning("no stored bars", instrument=instrument, reason=str(error))
            self._store = None
            return []
        return list({bar.open_time: bar for bar in bars_of(frame.sort("revision", "known_at"))}.values())

    def _cleaned(self, dataset: Dataset, instrument: str, timeframe: Timeframe, days: Iterable[int]) -> list[Bar]:
        """Closed bars of the lake of the days that open at `days`."""
        if self._lake is None:
            return []
        try:
            found = self._lake.read(self._lake.path(dataset, instrument, _instant(at).date()) for at in days)
        except StorageError:  # batch will say so
            found = None
        return [] if found is None else bars_of(found.filter(pl.col("timeframe") == timeframe.value))


def bars_of(frame: pl.DataFrame) -> list[Bar]:
    """Closed bars of BAR_COLUMNS as events, in the order of the rows; ours are `trades` in the live store, too."""
    rows = frame.filter("is_closed").with_columns(pl.col("open_time", "close_time", "known_at").dt.epoch("ns"))
    return [
        Bar(
            **{name: row[name] for name in Bar.__struct_fields__ if name != "source"},
            source="trades" if row["source"].startswith("trades") else "venue",
        )
        for row in rows.iter_rows(named=True)
    ]


def _between(known: Iterable[tuple[int, int]], start_ns: int, end_ns: int) -> list[tuple[int, int]]:
    """What of `[start_ns, end_ns)` is in none of `known`."""
    found, at = [], start_ns
    for start, end in sorted(known):
        if start > at:
            found.append((at, min(start, end_ns)))
        at = max(at, end)
    if at < end_ns:
        found.append((at, end_ns))
    return found


def _instant(ns: int) -> dt.datetime:
    return dt.datetime.fromtimestamp(ns // 1_000_000_000, UTC)


def _ns(instant: dt.datetime) -> int:
    return int(instant.timestamp()) * 1_000_000_000
