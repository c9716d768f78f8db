"""History from the first source that delivers: an instrument and an interval in, rows and what was tried out.

Sources of an instrument, in order: the venue's bulk files (closed days, where the user configured them), its REST API,
ccxt. Which one served is stamped on every row.
"""

import datetime as dt
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

import polars as pl

from md_platform.domain.instruments import Instrument
from md_platform.domain.intervals import Interval
from md_platform.errors import InvalidFile, RateLimited, SourceError, UnknownInstrument, UnknownVenue
from md_platform.settings import VenueUrls
from md_platform.sources.bulk import BulkSource, folder_of
from md_platform.sources.fetch import Fetcher, Meter, RetryPolicy, utc_now
from md_platform.sources.rest import RestSource, Source
from md_platform.venues import venue_named
from md_platform.venues.spec import VenueSpec


@dataclass(frozen=True, slots=True)
class Attempt:
    """One source that was asked; `error` is why it did not deliver, None where it did."""

    source: str
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Fetched:
    """Rows in the raw schema from `source`, with everything that was tried, and what it cost in all."""

    frame: pl.DataFrame
    source: str
    attempts: tuple[Attempt, ...]
    requests: int
    bytes: int


class HistorySources:
    """Ordered sources per instrument with failover. `urls` are endpoints that settings override, by venue id.

    `cache` keeps downloads under way. Threads may share one object, and then share each venue's rate limit.
    """

    def __init__(
        self,
        urls: Mapping[str, VenueUrls],
        cache: Path,
        clock: Callable[[], dt.datetime] = utc_now,
        retry: RetryPolicy | None = None,
    ) -> None:
        self._urls = urls
        self._cache = cache
        self._clock = clock
        self._retry = retry or RetryPolicy()
        self._lock = threading.Lock()
        self._made_sources: dict[str, Source] = {}

    def instruments(self, venue: str) -> list[Instrument]:
        """Every instrument of `venue` that an id can name, none for `file`; UnknownVenue, SourceError."""
        spec = self._spec(venue)
        if spec is not None and spec.history is None:
            return []
        source = self._ccxt_source(venue) if spec is None else self._rest_source(spec)
        return [instrument for instrument in source.instruments(Meter()) if _has_id(instrument)]

    def bars(self, instrument: Instrument, interval: Interval) -> Fetched:
        """1m bars of `interval`, which may end in a bar that still runs; SourceError when every source failed."""
        sources = self._sources(instrument.venue, interval, "bars")
        return _first(sources, lambda source, meter: source.bars(instrument, interval, meter))

    def trades(self, instrument: Instrument, interval: Interval) -> Fetched:
        """Trades of `interval`; SourceError when every source failed."""
        sources = self._sources(instrument.venue, interval, "trades")
        return _first(sources, lambda source, meter: source.trades(instrument, interval, meter))

    def _sources(self, venue: str, interval: Interval, kind: Literal["bars", "trades"]) -> Iterator[Source]:
        spec, urls = self._spec(venue), self._urls.get(venue, VenueUrls())
        if spec is None:
            yield self._ccxt_source(venue)
            return
        if spec.bulk_url is not None and urls.bulk is not None and interval.end <= self._clock():
            yield self._bulk_source(spec, urls.bulk)
        yield self._rest_source(spec)
        is_complete = kind == "trades" or spec.bars_back is None
        if spec.ccxt is not None and urls.rest is None and is_complete:
            yield self._ccxt_source(spec.ccxt)

    def _spec(self, venue: str) -> VenueSpec | None:
        """The venue in the registry, None where ccxt serves its history; UnknownVenue where neither knows it."""
        try:
            spec = venue_named(venue)
        except UnknownVenue as error:
            from md_platform.sources.ccxt_source import knows  # noqa: PLC0415 - as below

            if knows(venue):
                return None
            raise UnknownVenue(f"{error}; nor does ccxt know it") from None
        return None if spec.history is None and spec.ccxt == venue else spec

    def _rest_source(self, spec: VenueSpec) -> Source:
        def make() -> Source:
            url = self._urls.get(spec.id, VenueUrls()).rest
            fetcher = Fetcher(spec, url, clock=self._clock, retry=self._retry)
            is_own = spec.is_simulated or url is None or url == spec.rest_url
            return RestSource(fetcher, spec.id if url is None or is_own else stamped(spec.id, url), self._cache)

        return self._made(spec.id, make)

    def _bulk_source(self, spec: VenueSpec, url: str) -> Source:
        def make() -> Source:
            name = f"{spec.id}-bulk"
            own = folder_of(url) is not None or url == spec.bulk_url
            name = name if own else stamped(name, url)
            return BulkSource(name, url, self._cache, clock=self._clock, retry=self._retry)

        return self._made(f"{spec.id}-bulk", make)

    def _ccxt_source(self, exchange: str) -> Source:
        url = self._urls.get(exchange, VenueUrls()).rest

        def make() -> Source:
            # ccxt takes as long to import as everything else here together, and most runs never need it
            from md_platform.sources.ccxt_source import CcxtSource  # noqa: PLC0415

            name = f"ccxt-{exchange}"
            name = name if url is None else stamped(name, url)
            return CcxtSource(exchange, name, self._cache, url, clock=self._clock, retry=self._retry)

        return self._made(f"ccxt-{exchange}", make)

    def _made(self, name: str, make: Callable[[], Source]) -> Source:
        """One object a source, so that all callers share its rate limit."""
        with self._lock:
            if name not in self._made_sources:
                self._made_sources[name] = make()
            return self._made_sources[name]


def stamped(name: str, url: str) -> str:
    """`name@host:port`: rows from another address than the venue's own never pass for the venue's."""
    return f"{name}@{urlsplit(url).netloc}"


def _has_id(instrument: Instrument) -> bool:
    try:
        return Instrument.parse(instrument.id, native=instrument.native) == instrument
    except UnknownInstrument:
        return False


def _first(sources: Iterable[Source], ask: Callable[[Source, Meter], pl.DataFrame]) -> Fetched:
    meter = Meter()
    attempts: list[Attempt] = []
    last: SourceError | InvalidFile | None = None
    for source in sources:
        try:
            frame = ask(source, meter)
        except (SourceError, InvalidFile) as error:
            last = error
            attempts.append(Attempt(source.name, str(error)))
            continue
        attempts.append(Attempt(source.name))
        return Fetched(frame, source.name, tuple(attempts), meter.requests, meter.bytes)
    raise _all_failed(attempts, last)


def _all_failed(attempts: list[Attempt], last: SourceError | InvalidFile | None) -> SourceError:
    message = "no source delivered: " + "; ".join(f"{a.source}: {a.error}" for a in attempts)
    if isinstance(last, RateLimited):
        return RateLimited(message, last.retry_after_s)
    return type(last)(message) if isinstance(last, SourceError) else SourceError(message)
