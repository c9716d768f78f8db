"""History of one venue over its REST API: an instrument and an interval in, one frame of the raw schema out."""

import datetime as dt
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Protocol

import polars as pl

from md_platform.domain.instruments import Instrument, SymbolMap
from md_platform.domain.intervals import Interval, Timeframe
from md_platform.domain.schemas import RAW_BARS, RAW_TRADES, Dataset
from md_platform.errors import NotServed, SourceRejected
from md_platform.sources.fetch import Fetcher, Meter
from md_platform.sources.spool import PageSpool
from md_platform.venues.spec import Page, Query

_CLOCK_ROOM = dt.timedelta(minutes=1)
_VALUES = (pl.Float64, pl.Int64, pl.String)


class Source(Protocol):
    """Something that delivers history. Frames are of the raw schema; SourceError or InvalidFile where it does not."""

    @property
    def name(self) -> str:
        """What is stamped on the rows."""

    def instruments(self, meter: Meter) -> list[Instrument]:
        """Every instrument it knows."""

    def bars(self, instrument: Instrument, interval: Interval, meter: Meter) -> pl.DataFrame:
        """1m bars of `interval`."""

    def trades(self, instrument: Instrument, interval: Interval, meter: Meter) -> pl.DataFrame:
        """Trades of `interval`."""


class RestSource:
    """A venue over `fetcher`; trades are spooled by day under `cache` until a whole answer stands."""

    def __init__(self, fetcher: Fetcher, name: str, cache: Path) -> None:
        history = fetcher.spec.history
        if history is None:
            raise SourceRejected(f"{fetcher.spec.id} serves nothing over the network: import its data from files")
        self.name = name
        self._history = history
        self._fetcher = fetcher
        self._cache = cache
        self._symbols: SymbolMap | None = None

    def instruments(self, meter: Meter) -> list[Instrument]:
        """Every instrument of the venue, in its own order."""
        history, venue = self._history, self._fetcher.spec.id
        request = history.instruments_request()
        return self._fetcher.get(request, lambda payload: history.parse_instruments(payload, venue), meter)

    def bars(self, instrument: Instrument, interval: Interval, meter: Meter) -> pl.DataFrame:
        """1m bars of `interval`; NotServed where the venue no longer serves them."""
        timeframe = Timeframe.M1
        self._require_recent(interval, timeframe)
        if (until := self._past(interval)) is None:
            return pl.DataFrame(schema=RAW_BARS.schema)
        interval = until
        query = self._query(instrument, interval, timeframe, meter)
        history = self._history
        request = history.bars_request(query.instrument, timeframe, interval)
        pages = self._fetcher.pages(request, history.parse_bars, query, meter)
        return joined((page.frame for page in pages), RAW_BARS, interval)

    def trades(self, instrument: Instrument, interval: Interval, meter: Meter) -> pl.DataFrame:
        """Trades of `interval`; what an interrupted download left in the spool is not asked again."""
        if (until := self._past(interval)) is None:
            return pl.DataFrame(schema=RAW_TRADES.schema)
        interval = until
        instrument = self._query(instrument, interval, Timeframe.M1, meter).instrument

        def day_pages(day: Interval, after: Page | None) -> Iterator[Page]:
            return self._trade_pages(self._query(instrument, day, Timeframe.M1, meter), after, meter)

        root = PageSpool.of(self._cache, self.name, instrument.native).folder
        return spooled_days(root, interval, self._fetcher.clock(), day_pages)

    def _trade_pages(self, query: Query, after: Page | None, meter: Meter) -> Iterator[Page]:
        history = self._history
        first = after.following if after else None
        request = first or history.trades_request(query.instrument, query.interval)
        return self._fetcher.pages(request, history.parse_trades, query, meter)

    def _past(self, interval: Interval) -> Interval | None:
        """The part of `interval` that has begun, with some room for a venue whose clock is ahead; None without any."""
        end = min(interval.end, self._fetcher.clock() + _CLOCK_ROOM)
        return Interval(interval.start, end) if interval.start < end else None

    def _query(self, instrument: Instrument, interval: Interval, timeframe: Timeframe, meter: Meter) -> Query:
        if not instrument.native:
            self._symbols = self._symbols or SymbolMap(self.instruments(meter))
            instrument = self._symbols.resolve(instrument.id)
        return Query(instrument, interval, self.name, self._fetcher.clock(), timeframe)

    def _require_recent(self, interval: Interval, timeframe: Timeframe) -> None:
        spec, seconds = self._fetcher.spec, timeframe.seconds
        if spec.bars_back is None or seconds is None:
            return
        oldest = timeframe.open_time(self._fetcher.clock()) - dt.timedelta(seconds=seconds * (spec.bars_back - 1))
        if interval.start < oldest:
            raise NotServed(
                f"{spec.id} serves only the last {spec.bars_back} {timeframe} bars, {interval.start:%Y-%m-%d} is older"
            )


def spooled_days(
    root: Path, interval: Interval, now: dt.datetime, pages: Callable[[Interval, Page | None], Iterator[Page]]
) -> pl.DataFrame:
    """Trades of `interval` from `pages` of each of its days, after the last page known.

    The pages of days that are over are spooled below `root` until the whole interval is there.
    """
    spools: list[PageSpool] = []
    frames: list[pl.DataFrame] = []
    for day in days_of(interval):
        if day.end <= now:
            spools.append(PageSpool.of(root, _label(day)))
            found = spools[-1].resumed(partial(pages, day))
        else:
            found = pages(day, None)
        frames.append(joined((page.frame for page in found), RAW_TRADES, day))
    for spool in spools:
        spool.remove()
    return pl.concat(frames)


def days_of(interval: Interval) -> list[Interval]:
    """`interval` cut at UTC midnights."""
    days = [Interval.day(date) for date in interval.days()]
    return [Interval(max(day.start, interval.start), min(day.end, interval.end)) for day in days]


def joined(frames: Iterable[pl.DataFrame], dataset: Dataset, interval: Interval) -> pl.DataFrame:
    """Pages as one frame: the rows of `interval`, those that two pages share once, pages in time order.

    Within a page nothing changes: rows that the source gave twice or out of order are there for the rules to find. So
    are rows without a readable time.
    """
    known = [frame.with_columns(_page=n) for n, frame in enumerate(frames) if not frame.is_empty()]
    if not known:
        return pl.DataFrame(schema=dataset.schema)
    known.sort(key=lambda frame: frame[dataset.time].min() or interval.start)
    time, page = pl.col(dataset.time), pl.col("_page")
    values = [name for name, dtype in dataset.schema.items() if name != "known_at" and dtype in _VALUES]
    frame = pl.concat(known).filter(page == page.min().over(dataset.time, *values))
    within = time.is_null() | ((time >= interval.start) & (time < interval.end))
    return frame.filter(within).select(dataset.schema.names())


def _label(interval: Interval) -> str:
    if interval == Interval.day(interval.start.date()):
        return f"{interval.start:%Y-%m-%d}"
    return f"{interval.start:%Y-%m-%dT%H%M%S.%f}_{interval.end:%Y-%m-%dT%H%M%S.%f}"
