"""Books that must be asked over REST: instruments in, whole books out, one request at a time per instrument."""

import asyncio
import time
from collections.abc import Callable
from urllib.parse import urlencode

import structlog

from md_platform.domain.events import BookUpdate
from md_platform.domain.instruments import Instrument
from md_platform.errors import MdpError
from md_platform.sources.fetch import Fetcher, Meter
from md_platform.venues.feeds import Feed
from streaming.link import Link
from streaming.recording import Recorder

log = structlog.get_logger(__name__)

_RETRY_S = 2.0


class Snapshots:
    """Asks for books that went wrong: over REST where the feed has a request for it, else by a new link."""

    def __init__(self, give: Callable[[Link, BookUpdate], None], recorder: Recorder | None = None) -> None:
        self._fetchers: dict[str, Fetcher] = {}
        self._give = give
        self._recorder = recorder
        self._asked: dict[tuple[Link, str], asyncio.Task[None]] = {}

    def add(self, feed: Feed, fetcher: Fetcher) -> None:
        """Ask books of `feed` by `fetcher`."""
        self._fetchers[feed.name] = fetcher

    def put(self, link: Link, instrument_id: str) -> None:
        """Ask for the book of an instrument, unless that is under way."""
        connection = link.connection
        if connection.feed.snapshot_request is None:
            link.renew()
            return
        key = link, instrument_id
        if key in self._asked:
            return
        instrument = next(s.instrument for s in connection.subscriptions if s.instrument.id == instrument_id)
        task = asyncio.get_running_loop().create_task(self._ask(link, instrument))
        self._asked[key] = task
        task.add_done_callback(lambda _: self._asked.pop(key, None))

    async def _ask(self, link: Link, instrument: Instrument) -> None:
        try:
            update = await asyncio.to_thread(self._fetched, link.connection.feed, instrument)
        except (MdpError, ValueError) as error:
            log.warning("no book over REST", instrument=instrument.id, reason=str(error))
            await asyncio.sleep(_RETRY_S)
        else:
            if update is not None:
                self._give(link, update)

    def _fetched(self, feed: Feed, instrument: Instrument) -> BookUpdate | None:
        if feed.snapshot_request is None or feed.parse_snapshot is None:
            return None
        request = feed.snapshot_request(instrument)
        payload = self._fetchers[feed.name].get(request, bytes, Meter())
        received_ns = time.time_ns()
        if self._recorder is not None:
            self._recorder.answered(f"{request.path}?{urlencode(dict(request.params))}", payload, received_ns)
        return feed.parse_snapshot(payload, instrument, received_ns)
