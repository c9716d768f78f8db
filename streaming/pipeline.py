"""Events of links in; validated, de-duplicated trades, quotes, books, bars and notices out.

The live path is one plain loop over the events of one socket read: no task, callback or log line per message. What
depends on time (bars that close, books that are due, holes that nothing filled) happens in `tick`.
"""

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from math import inf

from md_platform.domain.books import OrderBook
from md_platform.domain.events import (
    Bar,
    BookUpdate,
    Event,
    FeedNotice,
    Malformed,
    NoticeKind,
    Quarantined,
    Quote,
    Refused,
    SequenceGap,
    Trade,
    TradingStatus,
    Unknown,
)
from md_platform.domain.instruments import Instrument
from md_platform.domain.rules import TRADE_RULES, broken_rule_of
from md_platform.domain.wire import Published
from md_platform.venues.feeds import Feed
from streaming.holes import HoleBook
from streaming.indicators import InstrumentIndicators
from streaming.link import Link
from streaming.recording import Recorder
from streaming.tracked import Tail, Tracked, continued

_DAY_NS = 86_400 * 1_000_000_000
_LARGEST = 2**63 - 1
_SMALLEST = -_LARGEST
_LAGGING_NS = _LAGGING_FOR_NS = 2_000_000_000
_SNAPSHOT_WITHIN_NS = 10_000_000_000  # of the connect, where a venue sends the whole book by itself
_NEWS_NS = 1_000_000_000
_RAW_AT_MOST = 4_096


@dataclass(slots=True)
class Counts:
    """What went through, for health and metrics."""

    received: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    duplicates: int = 0
    too_late: int = 0


class Pipeline:
    """One per process.

    put      takes what is to be published: events of one channel, in order
    recorder takes frames as they came
    now_ns   our clock; a replay brings its own
    book_levels   levels a side of the books that are published; `book` has all

    `holes` knows what of the trades is missing. Who assembles the process sets `resync`, which is asked for a whole new
    book of an instrument and gives it back through `snapshot`.
    """

    def __init__(
        self,
        put: Callable[[Sequence[Published]], None],
        recorder: Recorder | None = None,
        now_ns: Callable[[], int] = time.time_ns,
        book_levels: int = 10,
    ) -> None:
        self._put = put
        self._book_levels = book_levels
        self.resync: Callable[[Link, str], None] = lambda _link, _instrument: None
        self._recorder = recorder
        self._now_ns = now_ns
        self._tracked: dict[str, Tracked] = {}
        self._books: dict[str, OrderBook] = {}
        self._changed_books: set[str] = set()
        self._booked: set[str] = set()
        self._quote_sequences: dict[str, int] = {}
        self._late_since_ns: dict[str, int] = {}
        self._lagging: set[str] = set()
        self._last_late_ns: dict[str, tuple[int, int]] = {}
        self.counts = Counts()
        self.skew_ns: dict[str, float] = {}
        self.holes = HoleBook(self._tracked, self.skew_ns, self.notice, put, now_ns)

    def track(
        self, instrument: Instrument, feed: Feed, tail: Tail, indicators: InstrumentIndicators | None = None
    ) -> None:
        """Begin to follow `instrument`, continuing from what a process before this one published: `tail`."""
        if instrument.id in self._tracked:
            return
        self._tracked[instrument.id], unpublished = continued(instrument, feed, tail, indicators)
        self._put_each(unpublished)

    def tracks(self, instrument: str) -> bool:
        """Whether an instrument is followed already, by another of its feeds."""
        return instrument in self._tracked

    def frames(self, link: Link, frames: Sequence[bytes], received_ns: int) -> None:
        """Record, where that is wanted."""
        if self._recorder is not None:
            self._recorder.frames(link.connection.name, link.url, frames, received_ns)

    def sent(self, link: Link, frame: bytes | str) -> None:
        """Record, where that is wanted."""
        if self._recorder is not None:
            self._recorder.sent(link.connection.name, link.url, frame)

    def events(self, link: Link, events: Sequence[Event]) -> None:
        """Take the events of one read. By instrument: a call for each trade would cost more than it does."""
        trades: defaultdict[str, list[Trade]] = defaultdict(list)
        quotes: defaultdict[str, list[Quote]] = defaultdict(list)
        trade = None
        for event in events:
            if type(event) is Trade:
                trade = event
                trades[event.instrument].append(event)
            elif type(event) is BookUpdate:
                self._book(link, event)
            elif type(event) is Quote:
                if link.is_primary:
                    quotes[event.instrument].append(event)
            elif type(event) is Bar:
                if link.is_primary and event.is_closed:
                    self._put([event])
            else:  # a halt concerns what comes after it
                self._trades(link, trades)
                self._other(link, event)
        self._trades(link, trades)
        for instrument, each in quotes.items():
            self._quotes(link, instrument, each)
        self.counts.received[link.connection.name] += len(events)
        if trade is not None and not trade.sent_late:
            self._estimate_skew(link.connection.venue, trade)
            self._look_at_lag(link, trade)

    def _trades(self, link: Link, by_instrument: dict[str, list[Trade]]) -> None:
        """Take trades; none is left in `by_instrument`."""
        for instrument, trades in by_instrument.items():
            # what passes here keeps TRADE_RULES, which a test proves; what does not is named by them
            good = [
                trade
                for trade in trades
                if 0.0 < trade.price < inf
                and 0.0 < trade.size < inf
                and 0 < trade.trade_count <= _LARGEST
                and 0 < trade.ts_event < trade.ts_received + _DAY_NS
                and (type(trade.trade_id) is not int or _SMALLEST <= trade.trade_id <= _LARGEST)
            ]
            if len(good) < len(trades):
                kept = set(map(id, good))
                for trade in trades:
                    if id(trade) not in kept:
                        self._reject(link, trade, _broken_rule(trade))
            tracked = self._tracked[instrument]
            new = tracked.tape.ids.new_of(good) if good else []
            self.counts.duplicates += len(good) - len(new)
            if new:
                tracked.tape.judge(new)
                self.counts.too_late += len(tracked.bars.add_all(new))
                self._put(new)
        by_instrument.clear()

    def _quotes(self, link: Link, instrument: str, quotes: Sequence[Quote]) -> None:
        last, good = self._quote_sequences.get(instrument, 0), []
        for quote in quotes:
            if not (0.0 < quote.bid <= quote.ask < inf and 0.0 <= quote.bid_size < inf and 0.0 <= quote.ask_size < inf):
                self._reject(link, quote, "quote_crossed" if quote.bid > quote.ask else "quote_not_positive")
            elif not 0 < quote.ts_event < quote.ts_received + _DAY_NS or abs(quote.sequence) > _LARGEST:
                self._reject(link, quote, "time_out_of_range")
            elif quote.sequence and quote.sequence <= last:
                self.counts.duplicates += 1
            else:
                last = quote.sequence or last
                good.append(quote)
        if good:
            self._quote_sequences[instrument] = last
            self._put(good)

    def _book(self, link: Link, update: BookUpdate) -> None:
        """Each link keeps its own books, as a snapshot may come before the link is primary."""
        book = link.books.get(update.instrument)
        if book is None:
            book = link.books[update.instrument] = OrderBook(link.connection.feed.book)
            self._booked.add(update.instrument)
        outcome = book.apply(update)
        if outcome == "applied":
            if link.is_primary:
                self._books[update.instrument] = book
                self._changed_books.add(update.instrument)
        elif outcome == "waiting":
            if link.connection.feed.snapshot_request is not None:
                self.resync(link, update.instrument)
            elif not link.needs_successor and update.ts_received - link.connected_ns > _SNAPSHOT_WITHIN_NS:
                self._say(link, "book_resync", "no snapshot came", channels=["book"], instruments=[update.instrument])
                self.resync(link, update.instrument)
        elif outcome in ("gap", "checksum"):
            cause = "checksum does not match" if outcome == "checksum" else "sequence jumped"
            self._say(link, "book_resync", cause, channels=["book"], instruments=[update.instrument])
            self.resync(link, update.instrument)

    def streams_book(self, instrument: str) -> bool:
        """Whether a link has had the book of `instrument`, be it wrong or gone by now."""
        return instrument in self._booked

    def book(self, instrument: str) -> OrderBook | None:
        """The book of `instrument` on the link that serves it, right or not."""
        return self._books.get(instrument)

    def snapshot(self, link: Link, update: BookUpdate) -> None:
        """A whole book that was asked over REST for `link`."""
        book = link.books.get(update.instrument)
        if book is not None and not book.is_right:
            self._book(link, update)

    def _other(self, link: Link, event: Event) -> None:
        self.counts.kinds[type(event).__name__] += 1
        match event:
            case Malformed(frame, reason):
                self._quarantine(link, reason, frame)
            case Unknown(frame):
                self._quarantine(link, "unknown message", frame)
            case Refused(reason, channel, symbols):
                self._say(link, "refused", reason, channels=[channel] if channel else [], instruments=symbols)
            case TradingStatus(is_halted, instrument, reason):
                changed = []
                for id_, tracked in self._tracked.items():
                    concerned = instrument in (None, id_) and id_.startswith(link.connection.venue + ":")
                    if concerned and tracked.tape.is_halted != is_halted:
                        tracked.tape.is_halted = is_halted
                        changed.append(id_)
                if changed:
                    self._say(link, "halted" if is_halted else "resumed", reason, instruments=changed)
            case SequenceGap(expected, got):
                self.holes.jumped(link, expected, got - 1)
                if "book" in link.connection.channels and link.connection.feed.snapshot_request is None:
                    link.renew()

    def notice(self, notice: FeedNotice) -> None:
        """Pass on what happened to a connection."""
        self.counts.kinds[notice.kind] += 1
        self._put([notice])

    def opened(self, link: Link) -> None:
        """A connection serves, with the books that it has by now."""
        self._books.update(link.books)
        self._changed_books.update(link.books)
        self.holes.opened(link)

    def closed(self, link: Link) -> None:
        """A connection is gone: its books are wrong from now on."""
        self.holes.closed(link)
        for instrument, book in link.books.items():
            book.invalidate()
            if self._books.get(instrument) is book:
                del self._books[instrument]

    def tick(self, *, running: bool, turn: slice = slice(None)) -> None:
        """What time brings: closed bars, holes that nothing filled; with `running` also running bars and books.

        `turn` are the instruments whose turn it is to tell running bars and books: of all at once they take long.
        """
        now_ns = self._now_ns()
        out: list[Published] = []
        told = set(list(self._tracked)[turn]) if running else set()
        for instrument, tracked in self._tracked.items():
            clock_ns = self._clock_ns(tracked.instrument.venue, now_ns)
            # of a silent one bars would close over trades that are still to come
            is_heard = not self.holes.is_silent(instrument)
            if is_heard:
                tracked.bars.advance(clock_ns)
            if closed := tracked.bars.closed():
                out += closed
                out += tracked.indicators.values(closed) if tracked.indicators else []
                tracked.day.put(closed)
            if instrument in told:
                out += [bar for bar in tracked.bars.running() if tracked.bars.is_whole(bar)]
            self.holes.look(tracked)
            if is_heard and (statistics := tracked.day.statistics(clock_ns, tracked.bars)) is not None:
                out.append(statistics)
        for instrument in self._changed_books & self._books.keys() & told:
            top = self._books[instrument].top(instrument, self._book_levels)
            if top is not None:
                out.append(top)
        self._changed_books -= told
        self._put_each(out)

    def _put_each(self, events: Iterable[Published]) -> None:
        for event in events:
            self._put([event])

    def _say(
        self, link: Link, kind: NoticeKind, cause: str, *, channels: Sequence[str] = (), instruments: Sequence[str] = ()
    ) -> None:
        venue, feed, name = link.connection.venue, link.connection.feed.name, link.connection.name
        at = self._now_ns()
        self.notice(
            FeedNotice(kind, venue, feed, name, at, cause, channels=list(channels), instruments=list(instruments))
        )

    def _reject(self, link: Link, event: Trade | Quote, rule: str) -> None:
        self.counts.kinds["rejected"] += 1
        self._quarantine(link, rule, repr(event).encode())

    def _quarantine(self, link: Link, reason: str, raw: bytes) -> None:
        connection = link.connection
        self._put([Quarantined(connection.venue, connection.feed.name, link.last_ns, reason, raw[:_RAW_AT_MOST])])

    def _estimate_skew(self, venue: str, trade: Trade) -> None:
        """Receive time less event time, its floor: a minimum that rises slowly, as delays only ever add."""
        sample = trade.ts_received - trade.ts_event
        known = self.skew_ns.get(venue)
        self.skew_ns[venue] = sample if known is None or sample < known else known + 0.001 * (sample - known)

    def _clock_ns(self, venue: str, now_ns: int) -> int:
        """The venue's clock, up to what has come in by `now_ns`.

        A process that was held up finds its sockets full. By time alone it would close bars over the trades in them,
        and each of these would then cost it revisions of all its bars: it would never catch up.
        """
        received_ns, late_ns = self._last_late_ns.get(venue, (0, 0))
        is_news = now_ns - received_ns < _NEWS_NS
        return now_ns - int(self.skew_ns.get(venue, 0)) - (late_ns if is_news else 0)

    def _look_at_lag(self, link: Link, trade: Trade) -> None:
        """Say when all that a connection brings comes late, and when it no longer does: single trades may."""
        name, venue = link.connection.name, link.connection.venue
        lag_ns = trade.ts_received - trade.ts_event - self.skew_ns[venue]
        self._last_late_ns[venue] = (trade.ts_received, int(lag_ns))
        if lag_ns < _LAGGING_NS:
            self._late_since_ns.pop(name, None)
            if name in self._lagging:
                self._lagging.discard(name)
                self._say(link, "caught_up", f"trades come {lag_ns / 1e9:.1f} s late", channels=["trades"])
            return
        since_ns = self._late_since_ns.setdefault(name, trade.ts_received)
        if name not in self._lagging and trade.ts_received - since_ns > _LAGGING_FOR_NS:
            self._lagging.add(name)
            self._say(link, "lagging", f"trades come {lag_ns / 1e9:.1f} s late", channels=["trades"])


def _broken_rule(trade: Trade) -> str:
    """Why a trade was not taken."""
    row = {"price": trade.price, "size": trade.size, "trade_count": float(trade.trade_count > 0)}
    if (rule := broken_rule_of(row, TRADE_RULES)) is not None:
        return rule
    return "number_too_large" if 0 < trade.ts_event < trade.ts_received + _DAY_NS else "time_out_of_range"
