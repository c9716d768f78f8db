"""History from the first source that delivers: an instrument and an interval in, rows and what was tried out.

Sources of an instrument, in order: the venue's bulk files (closed days, where the user configured them), its REST API,
ccxt. Which one served is stamped on every row.
"""

import datetime as dt
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import polars as pl

from md_platform.domain.instruments import Instrument
from md_platform.domain.intervals import Interval
from md_platform.errors import InvalidFile, RateLimited, SourceError
from md_platform.settings import VenueUrls
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
        self._rest: dict[str, RestSource] = {}

    def instruments(self, venue: str) -> list[Instrument]:
        """Every instrument of `venue`, empty for `file`; UnknownVenue, SourceError."""
        if venue_named(venue).history is None:
            return []
        return self._rest_source(venue_named(venue)).instruments(Meter())

    def bars(self, instrument: Instrument, interval: Interval) -> Fetched:
        """1m bars of `interval`, which may end in a bar that still runs; SourceError when every source failed."""
        return self._first(self._sources(instrument.venue, interval), lambda s, m: s.bars(instrument, interval, m))

    def trades(self, instrument: Instrument, interval: Interval) -> Fetched:
        """Trades of `interval`; SourceError when every source failed."""
        return self._first(self._sources(instrument.venue, interval), lambda s, m: s.trades(instrument, interval, m))

    def _sources(self, venue: str, _interval: Interval) -> list[Source]:
        return [self._rest_source(venue_named(venue))]

    def _rest_source(self, spec: VenueSpec) -> RestSource:
        if spec.id not in self._rest:
            url = self._urls.get(spec.id, VenueUrls()).rest
            fetcher = Fetcher(spec, url, clock=self._clock, retry=self._retry)
            self._rest[spec.id] = RestSource(fetcher, source_name(spec.id, spec, url), self._cache)
        return self._rest[spec.id]

    def _first(self, sources: list[Source], ask: Callable[[Source, Meter], pl.DataFrame]) -> Fetched:
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


def source_name(base: str, spec: VenueSpec, url: str | None) -> str:
    """`base`, or `base@host:port` where `url` replaces the venue's own address: another host is never the venue."""
    if url is None or spec.is_simulated or url.rstrip("/") == spec.rest_url:
        return base
    return f"{base}@{urlsplit(url).netloc}"


def _all_failed(attempts: list[Attempt], last: SourceError | InvalidFile | None) -> SourceError:
    message = "no source delivered: " + "; ".join(f"{a.source}: {a.error}" for a in attempts)
    if isinstance(last, RateLimited):
        return RateLimited(message, last.retry_after_s)
    return type(last)(message) if isinstance(last, SourceError) else SourceError(message)
