"""Redis in; what a consumer saw out: notices, wrong books, trades that came twice, and how old the newest is."""

import threading
import time
from collections import Counter, defaultdict
from contextlib import suppress

import redis

from md_platform.domain.events import Book, FeedNotice, Trade
from md_platform.domain.wire import EVENTS, decode
from md_platform_tests.faults.market import Market

_FRESH_NS = 2_000_000_000


class Listener:
    """Subscribes to everything of `instruments`, also after Redis was away, until `close`."""

    def __init__(self, url: str, instruments: tuple[str, ...], market: Market) -> None:
        self._url = url
        self._market = market
        self._kinds = {"trades": instruments, "book": instruments}
        self._stopped = threading.Event()
        self._newest_ns: dict[tuple[str, str], int] = defaultdict(int)
        self._seen: set[tuple[str, int | str]] = set()
        self.notices: list[FeedNotice] = []
        self.wrong_books: list[Book] = []
        self.books = 0
        self.published_twice: Counter[str] = Counter()
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop listening."""
        self._stopped.set()
        self._thread.join()

    def is_fresh(self, since_ns: int = 0) -> bool:
        """Whether trade and book of every instrument are less than 2 s old by the venue's clock, and after `since_ns`."""
        since_ns = max(since_ns, time.time_ns() - _FRESH_NS)
        return all(
            self._newest_ns[kind, instrument] > since_ns
            for kind, instruments in self._kinds.items()
            for instrument in instruments
        )

    def _listen(self) -> None:
        while not self._stopped.is_set():
            with (
                suppress(redis.RedisError, OSError),
                redis.Redis.from_url(self._url) as client,
                client.pubsub(ignore_subscribe_messages=True) as subscriber,
            ):
                subscriber.subscribe(EVENTS)
                subscriber.psubscribe("md:trades:*", "md:book:*")
                while not self._stopped.is_set():
                    message = subscriber.get_message(timeout=0.1)
                    if message is not None:
                        self._take(message["data"])
            time.sleep(0.05)

    def _take(self, payload: bytes) -> None:
        for event in decode(payload):
            match event:
                case FeedNotice():
                    self.notices.append(event)
                case Trade():
                    self._heard("trades", event.instrument, event.ts_event)
                    known = event.instrument, event.trade_id
                    self.published_twice[event.instrument] += known in self._seen
                    self._seen.add(known)
                case Book():
                    self._heard("book", event.instrument, event.ts_event)
                    self.books += 1
                    if not self._market.is_right(event):
                        self.wrong_books.append(event)

    def _heard(self, kind: str, instrument: str, at_ns: int) -> None:
        self._newest_ns[kind, instrument] = max(self._newest_ns[kind, instrument], at_ns)
