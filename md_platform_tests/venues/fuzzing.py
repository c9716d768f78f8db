"""One feed, fed with anything: only events may come out, times are whole numbers, and books never raise either."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import get_args

from md_platform.domain.books import OrderBook
from md_platform.domain.events import (
    Bar,
    BookUpdate,
    Event,
    FeedEvent,
    MarketEvent,
    Quote,
    Refused,
    SequenceGap,
    Subscribed,
    Trade,
)
from md_platform.venues.feeds import Feed, Session
from md_platform_tests.venues.corpus import frames, instruments
from md_platform_tests.venues.replay import subscribed

_EVENTS = (*get_args(MarketEvent), *get_args(FeedEvent))
_SAFE = 50
"""Real frames that a session has seen before the wrong ones: without confirmations, most would be of unknown channels."""


class Fuzzed:
    """A session of one feed and the books that its updates make."""

    def __init__(self, venue: str, feed: Feed) -> None:
        self.frames = frames(feed.name)
        self._feed = feed
        self._subscriptions = subscribed(feed, instruments(venue, feed))
        self.session: Session
        self.restart()

    def restart(self) -> None:
        """As after a reconnect."""
        self.session = self._feed.session(self._subscriptions)
        self.session.opening()
        self._books: dict[str, OrderBook] = {}
        self.session.receive(self.frames[:_SAFE], 1)

    def feed(self, batch: Sequence[bytes]) -> Counter[str]:
        """What came out, by kind; AssertionError where it is not what may."""
        events = self.session.receive(batch, 1_700_000_000_000_000_000)
        check(events)
        outcomes = Counter(type(event).__name__ for event in events)
        for event in events:
            if isinstance(event, BookUpdate):
                outcomes[f"book {self._book(event.instrument).apply(event)}"] += 1
        return outcomes

    def _book(self, instrument: str) -> OrderBook:
        """A book that is right, be it empty, so that changes are applied to it and do not only wait."""
        book = self._books.setdefault(instrument, OrderBook(self._feed.book))
        if not book.is_right:
            book.apply(BookUpdate(instrument, 0, 0, [], [], is_snapshot=True))
        return book


def check(events: Iterable[Event]) -> None:
    """Each is an event whose fields hold what they say."""
    for event in events:
        assert isinstance(event, _EVENTS), event
        match event:
            case Trade(ts_event=ts, ts_received=received, trade_id=trade_id, price=price, size=size, taker_side=side):
                assert type(ts) is int
                assert type(received) is int
                assert type(trade_id) in (int, str)
                assert type(price) is float
                assert type(size) is float
                assert side in ("buy", "sell", None)
            case Quote(ts_event=ts):
                assert type(ts) is int
                assert {type(v) for v in (event.bid, event.bid_size, event.ask, event.ask_size)} == {float}
            case BookUpdate(ts_event=ts, bids=bids, asks=asks):
                assert type(ts) is int
                assert all(type(text) is str for side in (bids, asks) for level in side for text in level)
                assert all(len(level) == 2 for side in (bids, asks) for level in side)
                assert event.sequence is None or type(event.sequence) is int
            case Bar(open_time=opened, close_time=closed):
                assert type(opened) is int
                assert type(closed) is int
                assert {type(v) for v in (event.open, event.high, event.low, event.close, event.volume)} == {float}
            case SequenceGap(expected=expected, got=got):
                assert type(expected) is int
                assert type(got) is int
            case Subscribed(symbols=symbols) | Refused(symbols=symbols):
                assert all(type(symbol) is str for symbol in symbols)
            case _:
                pass
