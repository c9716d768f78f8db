"""Events of links in; validated, de-duplicated trades, quotes, books, bars and notices out.

The live path is one plain loop over the events of one socket read: no task, callback or log line per message. What
depends on time (bars that close, books that are due, holes that nothing filled) happens in `tick`.
"""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import inf
from typing import Any

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
from md_platform.domain.live_bars import LATENESS_NS, LiveBars
from md_platform.domain.live_periods import MINUTE_NS
from md_platform.domain.rules import TRADE_RULES, broken_rule_of
from md_platform.domain.wire import Published
from md_platform.venues.feeds import Feed
from streaming.indicators import InstrumentIndicators
from streaming.link import Link
from streaming.recording import Recorder
from streaming.trades import MissingIds, TradeIds, TradeTape

_DAY_NS = 86_400 * 1_000_000_000
_LATE_NS = 1_000_000_000
_HOLE_WAITS_NS = 2_000_000_000
_LARGEST = 2**63 - 1
_SMALLEST = -_LARGEST
_BY_TRADES_NS = 3_600 * 1_000_000_000
_RAW_AT_MOST = 4_096
BOOK_LEVELS = 10


@dataclass(frozen=True, slots=True)
class Hole:
    """What of `instrument` in `[start_ns, end_ns]` (the venue's clock) may be missing; history may have it.

    `notice` is what consumers were told; None for the day's past before the first connect. With `by_bars` whole
    minutes are asked as bars, as trades would be too many: the stored day gets its trades by the batch chain. `ids` are
    the consecutive trade ids that are missing, where they are known.
    """

    instrument: Instrument
    start_ns: int
    end_ns: int
    notice: FeedNotice | None = None
    by_bars: bool = False
    ids: range | None = None


@dataclass(frozen=True, slots=True)
class Tail:
    """What is known of an instrument from before this process: its last trades, in any order, and closed 1m bars.

    The trades are complete from `complete_since_ns` on; `bars` are all of `[bars_since_ns, complete_since_ns)`.
    """

    complete_since_ns: int
    trades: Sequence[Trade] = ()
    bars: Sequence[Bar] = ()
    bars_since_ns: int = 0


@dataclass(slots=True)
class Counts:
    """What went through, for health and metrics."""

    received: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    duplicates: int = 0
    too_late: int = 0


@dataclass(slots=True)
class Tracked:
    """One instrument: its trades so far and the bars they make."""

    instrument: Instrument
    feed: str
    tape: TradeTape
    bars: LiveBars
    indicators: InstrumentIndicators | None = None


class Pipeline:
    """One per process.

    put      takes what is to be published
    recorder takes frames as they came
    now_ns   our clock; a replay brings its own

    Who assembles the process sets `repair`, which is told of holes in trades and gives them back through `repaired`,
    and `resync`, which is asked for a whole new book of an instrument and gives it back through `snapshot`.
    """

    def __init__(
        self,
        put: Callable[[Sequence[Published]], None],
        recorder: Recorder | None = None,
        now_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._put = put
        self.repair: Callable[[Hole], None] = lambda _: None
        self.resync: Callable[[Link, str], None] = lambda _link, _instrument: None
        self._recorder = recorder
        self._now_ns = now_ns
        self._tracked: dict[str, Tracked] = {}
        self._books: dict[str, OrderBook] = {}
        self._changed_books: set[str] = set()
        self._quote_sequences: dict[str, int] = {}
        self._last_ns: dict[str, int] = {}
        self._begun: set[str] = set()
        self._silent: set[str] = set()
        self.counts = Counts()
        self.skew_ns: dict[str, float] = {}

    def track(
        self, instrument: Instrument, feed: Feed, tail: Tail, indicators: InstrumentIndicators | None = None
    ) -> None:
        """Begin to follow `instrument`, continuing from what a process before this one published: `tail`."""
        if instrument.id in self._tracked:
            return
        tape = TradeTape(TradeIds(consecutive=feed.numbers_trades))
        bars = LiveBars(instrument.id, complete_since_ns=tail.complete_since_ns)
        for trade in tail.trades:
            if tape.ids.is_new(trade):
                tape.quality(trade, _LATE_NS)
        if tail.trades or tail.bars:
            recent = [trade for trade in tail.trades if trade.ts_event >= tail.complete_since_ns]
            bars.resume(tail.bars, recent, tail.bars_since_ns, tail.complete_since_ns)
            bars.closed()
        self._tracked[instrument.id] = Tracked(instrument, feed.name, tape, bars, indicators)

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
        """Take the events of one read."""
        out: list[Published] = []
        trade = None
        for event in events:
            if type(event) is Trade:
                trade = event
                self._trade(link, event, out)
            elif type(event) is BookUpdate:
                self._book(link, event)
            elif type(event) is Quote or type(event) is Bar:
                if link.is_primary:
                    self._state(link, event, out)
            else:
                self._other(link, event, out)
        self.counts.received[link.connection.name] += len(events)
        if trade is not None and not trade.sent_late:
            self._estimate_skew(link.connection.venue, trade)
        if out:
            self._put(out)

    def _state(self, link: Link, event: Quote | Bar, out: list[Published]) -> None:
        if isinstance(event, Quote):
            self._quote(link, event, out)
        elif event.is_closed:
            out.append(event)

    def _trade(self, link: Link, trade: Trade, out: list[Published]) -> None:
        trade_id = trade.trade_id
        # what passes here keeps TRADE_RULES, which a test proves; what does not is named by them
        if not (
            0.0 < trade.price < inf
            and 0.0 < trade.size < inf
            and 0 < trade.trade_count <= _LARGEST
            and 0 < trade.ts_event < trade.ts_received + _DAY_NS
            and (type(trade_id) is not int or _SMALLEST <= trade_id <= _LARGEST)
        ):
            self._reject(link, trade, _broken_rule(trade), out)
            return
        tracked = self._tracked[trade.instrument]
        tape = tracked.tape
        if not tape.ids.is_new(trade):
            self.counts.duplicates += 1
            return
        trade.quality = tape.quality(trade, _LATE_NS)
        if not tracked.bars.add(trade):
            self.counts.too_late += 1
        out.append(trade)

    def _quote(self, link: Link, quote: Quote, out: list[Published]) -> None:
        if not (0.0 < quote.bid <= quote.ask < inf and 0.0 <= quote.bid_size < inf and 0.0 <= quote.ask_size < inf):
            self._reject(link, quote, "quote_crossed" if quote.bid > quote.ask else "quote_not_positive", out)
            return
        if not 0 < quote.ts_event < quote.ts_received + _DAY_NS or abs(quote.sequence) > _LARGEST:
            self._reject(link, quote, "time_out_of_range", out)
            return
        if quote.sequence:
            if quote.sequence <= self._quote_sequences.get(quote.instrument, 0):
                self.counts.duplicates += 1
                return
            self._quote_sequences[quote.instrument] = quote.sequence
        out.append(quote)

    def _book(self, link: Link, update: BookUpdate) -> None:
        """Each link keeps its own books, as a snapshot may come before the link is primary."""
        book = link.books.get(update.instrument)
        if book is None:
            book = link.books[update.instrument] = OrderBook(link.connection.feed.book)
        outcome = book.apply(update)
        if outcome == "applied":
            if link.is_primary:
                self._books[update.instrument] = book
                self._changed_books.add(update.instrument)
        elif outcome == "waiting":
            if link.connection.feed.snapshot_request is not None:
                self.resync(link, update.instrument)
        elif outcome in ("gap", "checksum"):
            cause = "checksum does not match" if outcome == "checksum" else "sequence jumped"
            self._say(link, "book_resync", cause, channels=["book"], instruments=[update.instrument])
            self.resync(link, update.instrument)

    def book(self, instrument: str) -> OrderBook | None:
        """The book of `instrument` on the link that serves it, right or not."""
        return self._books.get(instrument)

    def snapshot(self, link: Link, update: BookUpdate) -> None:
        """A whole book that was asked over REST for `link`."""
        book = link.books.get(update.instrument)
        if book is not None and not book.is_right:
            self._book(link, update)

    def _other(self, link: Link, event: Event, out: list[Published]) -> None:
        self.counts.kinds[type(event).__name__] += 1
        match event:
            case Malformed(frame, reason):
                out.append(self._quarantined(link, reason, frame))
            case Unknown(frame):
                out.append(self._quarantined(link, "unknown message", frame))
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
            case SequenceGap(expected, got, channel, instrument):
                self._say(
                    link,
                    "gap",
                    "sequence jumped",
                    channels=[channel] if channel else sorted(link.connection.channels),
                    instruments=[instrument] if instrument else [],
                    first_missing=expected,
                    last_missing=got - 1,
                )
                self._lost(link, link.last_ns - _HOLE_WAITS_NS, link.last_ns, "sequence jumped")
                if "book" in link.connection.channels and link.connection.feed.snapshot_request is None:
                    link.connection.renew()

    def notice(self, notice: FeedNotice) -> None:
        """Pass on what happened to a connection."""
        self.counts.kinds[notice.kind] += 1
        self._put([notice])

    def opened(self, link: Link) -> None:
        """A connection serves: what it missed since it last did, or since midnight, is to be filled from history."""
        self._books.update(link.books)
        self._changed_books.update(link.books)
        self._silent.difference_update(instrument.id for instrument in _traded(link))
        last_ns = self._last_ns.pop(link.connection.name, None)
        if last_ns is not None:
            self._lost(link, last_ns, link.connected_ns, "disconnected")
            return
        now_ns = link.connected_ns
        for instrument in _traded(link):
            if instrument.id not in self._begun:
                midnight, minute = now_ns - now_ns % _DAY_NS, now_ns - now_ns % MINUTE_NS + MINUTE_NS
                self._open_hole(Hole(instrument, midnight, minute, by_bars=True))

    def closed(self, link: Link) -> None:
        """A connection is gone: its books are wrong from now on."""
        self._last_ns[link.connection.name] = link.last_ns
        self._silent.update(instrument.id for instrument in _traded(link))
        for instrument, book in link.books.items():
            book.invalidate()
            if self._books.get(instrument) is book:
                del self._books[instrument]

    def _lost(self, link: Link, start_ns: int, end_ns: int, cause: str) -> None:
        """Say that `[start_ns, end_ns]` (our clock) is a hole, and have what traded in it looked for."""
        connection = link.connection
        notice = self._say(link, "gap", cause, start=start_ns, end=end_ns, channels=sorted(connection.channels))
        skew = int(self.skew_ns.get(connection.venue, 0))
        start_ns, end_ns = start_ns - skew, end_ns - skew
        by_bars = end_ns - start_ns > _BY_TRADES_NS
        if by_bars:
            start_ns, end_ns = start_ns - start_ns % MINUTE_NS, end_ns - end_ns % MINUTE_NS + MINUTE_NS
        for instrument in _traded(link):
            self._open_hole(Hole(instrument, start_ns, end_ns, notice, by_bars))

    def _open_hole(self, hole: Hole) -> None:
        self._begun.add(hole.instrument.id)
        self._tracked[hole.instrument.id].bars.gap(hole.start_ns, hole.end_ns)
        self.repair(hole)

    def repaired(self, hole: Hole, found: Sequence[Trade] | Sequence[Bar]) -> None:
        """History gave what it has of `hole`: new trades count, and the bars over the hole are whole."""
        tracked = self._tracked[hole.instrument.id]
        out: list[Published] = []
        if hole.by_bars:
            bars = [each for each in found if isinstance(each, Bar)]
            tracked.bars.advance(hole.end_ns + LATENESS_NS)
            tracked.bars.repair(bars, hole.start_ns, hole.end_ns)
        else:
            for trade in found:
                if isinstance(trade, Trade) and tracked.tape.ids.is_new(trade):
                    trade.quality = tracked.tape.quality(trade, _LATE_NS)
                    tracked.bars.add(trade)
                    out.append(trade)
            tracked.bars.filled(hole.start_ns, hole.end_ns)
        was = hole.notice
        if was is not None:
            what = f"{len(found)} bars" if hole.by_bars else f"{len(out)} trades"
            notice = FeedNotice("repaired", was.venue, was.feed, was.connection, self._now_ns(), f"{what} from history")
            notice.start, notice.end, notice.channels = (
                hole.start_ns,
                hole.end_ns,
                ["bars" if hole.by_bars else "trades"],
            )
            notice.instruments, notice.first_missing, notice.last_missing = (
                [hole.instrument.id],
                was.first_missing,
                was.last_missing,
            )
            out.append(notice)
        if out:
            self._put(out)

    def resumed(self, connection: str, last_ns: int) -> None:
        """`connection` last served at `last_ns`, in a process before this one."""
        self._last_ns[connection] = last_ns

    def tick(self, *, running: bool) -> None:
        """What time brings: closed bars, holes that nothing filled; with `running` also running bars and books."""
        now_ns = self._now_ns()
        out: list[Published] = []
        for tracked in self._tracked.values():
            skew = int(self.skew_ns.get(tracked.instrument.venue, 0))
            if tracked.instrument.id not in self._silent:  # else bars would close over trades that are still to come
                tracked.bars.advance(now_ns - skew)
            if closed := tracked.bars.closed():
                out += closed
                out += tracked.indicators.values(closed) if tracked.indicators else []
            if running:
                out += [bar for bar in tracked.bars.running() if tracked.bars.is_whole(bar)]
            for hole in tracked.tape.ids.open_holes(now_ns - _HOLE_WAITS_NS):
                self._missing(tracked, hole, out)
        if running:
            for instrument in self._changed_books & self._books.keys():
                top = self._books[instrument].top(instrument, BOOK_LEVELS)
                if top is not None:
                    out.append(top)
            self._changed_books.clear()
        if out:
            self._put(out)

    def _missing(self, tracked: Tracked, ids: MissingIds, out: list[Published]) -> None:
        venue = tracked.instrument.venue
        notice = FeedNotice(
            "gap",
            venue,
            tracked.feed,
            "",
            self._now_ns(),
            "trade ids jumped",
            ids.start_ns,
            ids.end_ns,
            ["trades"],
            [tracked.instrument.id],
            ids.first,
            ids.last,
        )
        out.append(notice)
        self._open_hole(Hole(tracked.instrument, ids.start_ns, ids.end_ns, notice, ids=range(ids.first, ids.last + 1)))

    def _say(self, link: Link, kind: NoticeKind, cause: str, **more: Any) -> FeedNotice:  # noqa: ANN401 - its fields
        connection = link.connection
        notice = FeedNotice(
            kind, connection.venue, connection.feed.name, connection.name, self._now_ns(), cause, **more
        )
        self.notice(notice)
        return notice

    def _reject(self, link: Link, event: Trade | Quote, rule: str, out: list[Published]) -> None:
        self.counts.kinds["rejected"] += 1
        out.append(self._quarantined(link, rule, repr(event).encode()))

    def _quarantined(self, link: Link, reason: str, raw: bytes) -> Quarantined:
        connection = link.connection
        return Quarantined(connection.venue, connection.feed.name, link.last_ns, reason, raw[:_RAW_AT_MOST])

    def _estimate_skew(self, venue: str, trade: Trade) -> None:
        """Receive time less event time, its floor: a minimum that rises slowly, as delays only ever add."""
        sample = trade.ts_received - trade.ts_event
        known = self.skew_ns.get(venue)
        self.skew_ns[venue] = sample if known is None or sample < known else known + 0.001 * (sample - known)


def _broken_rule(trade: Trade) -> str:
    """Why a trade was not taken."""
    row = {"price": trade.price, "size": trade.size, "trade_count": float(trade.trade_count > 0)}
    if (rule := broken_rule_of(row, TRADE_RULES)) is not None:
        return rule
    return "number_too_large" if 0 < trade.ts_event < trade.ts_received + _DAY_NS else "time_out_of_range"


def _traded(link: Link) -> list[Instrument]:
    """Instruments whose trades the link carries."""
    return [each.instrument for each in link.connection.subscriptions if each.channel == "trades"]
