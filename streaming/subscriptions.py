"""Instruments and channels in; what each feed is to carry, by the symbols that the venue itself tells, out."""

import asyncio
import itertools
from collections.abc import Iterable, Mapping, Sequence
from functools import cache

import structlog

from md_platform.domain.events import Channel
from md_platform.domain.instruments import Instrument, SymbolMap
from md_platform.errors import InvalidSetting, SourceError, UnknownInstrument, UnknownVenue
from md_platform.settings import VenueUrls
from md_platform.sources.fetch import Fetcher, Meter
from md_platform.sources.history import HistorySources
from md_platform.venues import venue_named
from md_platform.venues.feeds import Feed, Subscription

log = structlog.get_logger(__name__)

_RETRY_S = 2.0
_RETRY_AT_MOST_S = 60.0


class Ask:
    """What is asked of venues over REST before and beside their feeds."""

    def __init__(self, sources: HistorySources, urls: Mapping[str, VenueUrls]) -> None:
        self._sources = sources
        self._urls = urls

    def fetcher(self, venue: str, feed: Feed) -> Fetcher:
        """What sends the requests of `feed`."""
        spec = venue_named(venue)
        return Fetcher(spec, self._urls.get(venue, VenueUrls()).rest or feed.rest_url or spec.rest_url)

    def symbols(self, venue: str, feed: Feed) -> SymbolMap:
        """Instruments of `feed` with the venue's own symbols; SourceError."""
        parse = feed.parse_instruments
        if parse is None:
            return SymbolMap(self._sources.instruments(venue))
        with self.fetcher(venue, feed) as fetcher:
            answers = [
                fetcher.get(request, lambda payload: parse(payload, venue), Meter())
                for request in feed.instruments_requests
            ]
        return SymbolMap(itertools.chain.from_iterable(answers))

    def address(self, venue: str, feed: Feed, url: str, subscriptions: Sequence[Subscription]) -> str:
        """Where to connect: with the token that the venue gives, where it wants one. SourceError, ValueError."""
        if feed.token_request is None or feed.token_url is None:
            return feed.address(url, subscriptions)
        with self.fetcher(venue, feed) as fetcher:
            return fetcher.get(feed.token_request, feed.token_url, Meter())


def by_venue(names: Iterable[str], channels: Sequence[Channel]) -> dict[str, list[Instrument]]:
    """Instruments by venue; UnknownInstrument, UnknownVenue, and InvalidSetting where no feed carries one."""
    found: dict[str, list[Instrument]] = {}
    for name in names:
        instrument = Instrument.parse(name)
        if not feeds_of(instrument, channels):
            raise InvalidSetting(f"MDP_INSTRUMENTS: {instrument.venue} has no live feed for {instrument.id}")
        found.setdefault(instrument.venue, []).append(instrument)
    return found


def feeds_of(instrument: Instrument, channels: Iterable[Channel]) -> dict[Channel, Feed]:
    """The first feed, of those that the venue speaks today, that carries each channel of `instrument`."""
    accepting = [each for each in _spoken(instrument.venue) if each.accepts(instrument)]
    carrying = {channel: [each for each in accepting if channel in each.channels] for channel in channels}
    return {channel: found[0] for channel, found in carrying.items() if found}


@cache
def _spoken(venue: str) -> Sequence[Feed]:
    """Feeds that the venue speaks today; of a venue that we do not know, what ccxt.pro watches of it."""
    try:
        return [each for each in venue_named(venue).feeds if each.spoken[1] is None]
    except UnknownVenue as error:
        from streaming.ccxt_link import ccxt_feed  # noqa: PLC0415 - ccxt takes long to import, and few need it

        feed = ccxt_feed(venue)
        if feed is None:
            raise UnknownVenue(f"{error}; nor does ccxt.pro watch it") from None
        return [feed]


async def subscriptions(
    venue: str, instruments: Sequence[Instrument], channels: Sequence[Channel], ask: Ask
) -> list[tuple[Feed, list[Subscription]]]:
    """What each feed of `venue` is to carry, asked until it answers; an instrument it does not list is left out."""
    symbols: dict[object, SymbolMap] = {}
    carried: dict[str, tuple[Feed, list[Subscription]]] = {}
    for wanted in instruments:
        for channel, feed in feeds_of(wanted, channels).items():
            listed = feed.rest_url, feed.instruments_requests
            if listed not in symbols:
                symbols[listed] = await _answered(venue, feed, ask)
            try:
                instrument = symbols[listed].resolve(wanted.id)
            except UnknownInstrument as error:
                log.error("left out", instrument=wanted.id, channel=channel, reason=str(error))  # noqa: TRY400 - no bug
                continue
            _, subscribed = carried.setdefault(feed.name, (feed, []))
            subscribed.append(Subscription(channel, instrument))
    return list(carried.values())


async def _answered(venue: str, feed: Feed, ask: Ask) -> SymbolMap:
    wait_s = _RETRY_S
    while True:
        try:
            return await asyncio.to_thread(ask.symbols, venue, feed)
        except SourceError as error:
            log.warning("no symbols yet", venue=venue, reason=str(error), again_after_s=wait_s)
        await asyncio.sleep(wait_s)
        wait_s = min(wait_s * 2, _RETRY_AT_MOST_S)
