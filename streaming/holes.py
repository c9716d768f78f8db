"""Disconnects and jumps in numbering in; gaps as notices, and holes for history to fill, out; each hole told once.

A hole is closed by `repaired`, which takes what history has of it. What is asked of whom, and when, is in `repair`.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from md_platform.domain.events import Bar, FeedNotice, Trade
from md_platform.domain.instruments import Instrument
from md_platform.domain.live_bars import LATENESS_NS
from md_platform.domain.live_cascade import DAY_NS
from md_platform.domain.live_periods import MINUTE_NS
from md_platform.domain.wire import Published
from streaming.link import Link
from streaming.tracked import Tracked
from streaming.trades import MissingIds

MARGIN_NS = 1_000_000_000
"""Before and after a hole trades are asked and taken as well: clocks differ, and messages are under way."""

_CLOCKS_NS = 5_000_000_000
"""How far a venue's clock may be ahead of ours before its skew is known."""

_WAITS_NS = 2_000_000_000  # how long ids may come out of order
_BY_TRADES_NS = 60 * MINUTE_NS


@dataclass(frozen=True, slots=True)
class Hole:
    """What of `instrument` in `[start_ns, end_ns]` (the venue's clock) may be missing; history may have it.

    `notice` is what consumers were told; None for the day's past before the first connect. With `by_bars` whole
    minutes are asked as bars, as trades would be too many: the stored day gets its trades by the batch chain. `ids` are
    the consecutive trade ids that are missing, where they are known. With `needs_proof` history must be asked for
    trades from well before the hole until now, and give known ones.
    """

    instrument: Instrument
    start_ns: int
    end_ns: int
    notice: FeedNotice | None = None
    by_bars: bool = False
    ids: range | None = None
    needs_proof: bool = False


class HoleBook:
    """Which holes the trades of the instruments in `tracked` have.

    say      takes notices
    put      takes trades that history gave
    skew_ns  our clock less the venue's, by venue
    now_ns   our clock

    Who assembles the process sets `repair`, which is told of holes and gives what it finds to `repaired`.
    """

    def __init__(
        self,
        tracked: Mapping[str, Tracked],
        skew_ns: Mapping[str, float],
        say: Callable[[FeedNotice], None],
        put: Callable[[Sequence[Published]], None],
        now_ns: Callable[[], int],
    ) -> None:
        self._tracked = tracked
        self._skew_ns = skew_ns
        self._say = say
        self._put = put
        self._now_ns = now_ns
        self.repair: Callable[[Hole], None] = lambda _: None
        self._served_ns: dict[str, int] = {}
        self._begun: set[str] = set()
        self._silent: set[str] = set()
        self._told: dict[str, list[Hole]] = {}
        self._proven: set[str] = set()

    def is_silent(self, instrument: str) -> bool:
        """Whether no link serves the trades of `instrument`."""
        return instrument in self._silent

    def resumed(self, connection: str, last_ns: int) -> None:
        """`connection` last served at `last_ns`, in a process before this one."""
        self._served_ns[connection] = last_ns

    def opened(self, link: Link) -> None:
        """A connection serves: what it missed since it last did, or since midnight, is to be filled from history."""
        self._silent.difference_update(instrument.id for instrument in _traded(link))
        served_ns = self._served_ns.pop(link.connection.name, None)
        for instrument in _traded(link):
            tracked = self._tracked[instrument.id]
            unknown = list(tracked.unknown)
            if served_ns is None and instrument.id not in self._begun:
                now_ns = link.last_ns + _CLOCKS_NS
                since_ns = max(tracked.known_since_ns, now_ns - now_ns % DAY_NS)
                unknown.append((since_ns, now_ns - now_ns % MINUTE_NS + MINUTE_NS))
            for start_ns, end_ns in _merged(unknown):
                self._open(Hole(instrument, start_ns, end_ns, by_bars=True))
            tracked.unknown = ()
            self._begun.add(instrument.id)
        if served_ns is not None:
            self._lost(link, served_ns, "disconnected")

    def closed(self, link: Link) -> None:
        """A connection is gone."""
        self._served_ns[link.connection.name] = link.last_ns
        self._silent.update(instrument.id for instrument in _traded(link))

    def jumped(self, link: Link, first: int, last: int) -> None:
        """Messages numbered `first` to `last` of a connection never came."""
        self._lost(link, link.last_ns - _WAITS_NS, "sequence jumped", range(first, last + 1))

    def look(self, tracked: Tracked) -> None:
        """Tell of trade ids that nothing has filled since; those of a hole that was told wait for its repair."""
        ids = tracked.tape.ids
        for missing in ids.open_holes(self._now_ns() - _WAITS_NS):
            if _within(missing, self._told.get(tracked.instrument.id, ())):
                ids.holes.append(missing)
            else:
                self._missing(tracked, missing)

    def repaired(self, hole: Hole, found: Sequence[Trade] | Sequence[Bar]) -> bool:
        """History gave what it has of `hole`: new trades count, and the bars over the hole are whole.

        False where nothing shows yet that its trades have the ids of the feed's: then none is taken.
        """
        tracked = self._tracked[hole.instrument.id]
        if hole.needs_proof and not self._is_proven(tracked, hole, found):
            return False
        told = self._told.get(hole.instrument.id, [])
        if hole.by_bars:
            bars = [each for each in found if isinstance(each, Bar)]
            tracked.bars.advance(hole.end_ns + LATENESS_NS)
            tracked.bars.repair(bars, hole.start_ns, hole.end_ns)
            what = f"{len(bars)} bars"
        else:
            trades = self._new(tracked, found, hole)
            tracked.bars.filled(hole.start_ns, hole.end_ns)
            what = f"{len(trades)} trades"
            if trades:
                self._put(trades)
        if hole.notice is not None:
            if hole.by_bars:  # its trades are for the batch chain to bring
                ids = tracked.tape.ids
                ids.holes = [each for each in ids.holes if not _within(each, [hole])]
            told[:] = [each for each in told if each.notice is not hole.notice]
            self._say_repaired(hole, hole.notice, what)
        return True

    def _is_proven(self, tracked: Tracked, hole: Hole, found: Sequence[Trade] | Sequence[Bar]) -> bool:
        """Whether history has given a trade of the feed's by the same id; or gives nothing that could be taken."""
        trades = [each for each in found if isinstance(each, Trade)]
        if any(map(tracked.tape.ids.knows, trades)):
            self._proven.add(tracked.feed)
        return tracked.feed in self._proven or all(each.ts_event < hole.start_ns - MARGIN_NS for each in trades)

    def _new(self, tracked: Tracked, found: Iterable[Trade | Bar], hole: Hole) -> list[Trade]:
        """Trades around `hole` that are not known yet; of what came later the feed has told, or will."""
        start_ns, end_ns = hole.start_ns - MARGIN_NS, hole.end_ns + MARGIN_NS
        trades = [each for each in found if isinstance(each, Trade) and start_ns <= each.ts_event <= end_ns]
        new = tracked.tape.ids.new_of(trades) if trades else []
        if new:
            tracked.tape.judge(new)
            tracked.bars.add_all(new)
        return new

    def _say_repaired(self, hole: Hole, gap: FeedNotice, what: str) -> None:
        self._say(
            FeedNotice(
                "repaired",
                gap.venue,
                gap.feed,
                gap.connection,
                self._now_ns(),
                f"{what} from history",
                hole.start_ns,
                hole.end_ns,
                ["bars" if hole.by_bars else "trades"],
                [hole.instrument.id],
                gap.first_missing,
                gap.last_missing,
            )
        )

    def _lost(self, link: Link, start_ns: int, cause: str, missing: range = range(0)) -> None:
        """Say that what `link` carries is missing from `start_ns` (our clock) to now, and have its trades looked for.

        `missing` are the connection's own numbers of it, where it numbers what it sends.
        Now is when every subscription is confirmed, not when the socket was there.
        """
        connection, end_ns = link.connection, link.last_ns
        notice = FeedNotice(
            "gap",
            connection.venue,
            connection.feed.name,
            connection.name,
            self._now_ns(),
            cause,
            start_ns,
            end_ns,
            sorted(connection.channels),
            first_missing=missing[0] if missing else None,
            last_missing=missing[-1] if missing else None,
        )
        self._say(notice)
        skew = int(self._skew_ns.get(connection.venue, 0))
        start_ns, end_ns = start_ns - skew, end_ns - skew
        by_bars = end_ns - start_ns > _BY_TRADES_NS
        if by_bars:
            start_ns, end_ns = start_ns - start_ns % MINUTE_NS, end_ns - end_ns % MINUTE_NS + MINUTE_NS
        for instrument in _traded(link):
            tracked = self._tracked[instrument.id]
            needs_proof = tracked.needs_proof and tracked.feed not in self._proven and not by_bars
            self._open(Hole(instrument, start_ns, end_ns, notice, by_bars, needs_proof=needs_proof))

    def _missing(self, tracked: Tracked, ids: MissingIds) -> None:
        instrument = tracked.instrument
        notice = FeedNotice(
            "gap",
            instrument.venue,
            tracked.feed,
            "",
            self._now_ns(),
            "trade ids jumped",
            ids.start_ns,
            ids.end_ns,
            ["trades"],
            [instrument.id],
            ids.first,
            ids.last,
        )
        self._say(notice)
        self._open(Hole(instrument, ids.start_ns, ids.end_ns, notice, ids=range(ids.first, ids.last + 1)))

    def _open(self, hole: Hole) -> None:
        name = hole.instrument.id
        if hole.notice is not None:
            recent = [each for each in self._told.get(name, ()) if each.end_ns > hole.start_ns - DAY_NS]
            self._told[name] = [*recent, hole]
        bars = self._tracked[name].bars
        if hole.by_bars:  # of whole minutes, the last of which may not be over
            bars.gap(hole.start_ns, hole.end_ns, seconds_end_ns=min(hole.end_ns, self._now_ns() + _CLOCKS_NS))
        else:
            bars.gap(hole.start_ns, hole.end_ns)
        self.repair(hole)


def _traded(link: Link) -> list[Instrument]:
    """Instruments whose trades the link carries."""
    return [each.instrument for each in link.connection.subscriptions if each.channel == "trades"]


def _merged(stretches: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """`stretches`, in order, with those that touch made one."""
    merged: list[tuple[int, int]] = []
    for start, end in stretches:
        if merged and merged[-1][1] >= start:
            merged[-1] = merged[-1][0], end
        else:
            merged.append((start, end))
    return merged


def _within(ids: MissingIds, holes: Iterable[Hole]) -> bool:
    """Whether the trades may have been lost in one of `holes`."""
    return any(ids.start_ns <= hole.end_ns and hole.start_ns <= ids.end_ns for hole in holes)
