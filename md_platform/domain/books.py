"""Book updates of one instrument in, a book that is right or knows that it is not out."""

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from math import inf
from typing import Literal

from sortedcontainers import SortedDict

from md_platform.domain.events import Book, BookUpdate, Level

Outcome = Literal["applied", "old", "waiting", "gap", "checksum"]
_WAITING_UPDATES = 5_000


@dataclass(frozen=True, slots=True)
class BookRules:
    """How a venue's book is kept right.

    follows   whether an update may be applied to a book that stands at a sequence; None where the venue numbers nothing
    bridges   the same for the first update after a snapshot; None where it is no different
    checksum  of a book's bids and asks from the best on, as many as `checksum_depth`; None where the venue sends none
    depth     levels a side that the venue keeps, None for all: what falls below is cut after each update
    restarts  whether the venue may begin to number anew, so that a lower sequence is judged by `follows`
    snapshot_depth   levels a side that a snapshot holds at most, None for all: nothing is known of what lies beyond its
              last, so the book holds nothing there, and has a gap once fewer than `least_levels` are left of a side

    An update whose sequence the book already holds is old, and passed over, unless the venue restarts its numbers.
    """

    follows: Callable[[int, BookUpdate], bool] | None = None
    bridges: Callable[[int, BookUpdate], bool] | None = None
    checksum: Callable[[Sequence[Level], Sequence[Level]], int | str] | None = None
    checksum_depth: int = 25
    depth: int | None = None
    restarts: bool = False
    snapshot_depth: int | None = None
    least_levels: int = 25


class OrderBook:
    """The book of one instrument. It holds nothing until a snapshot, and nothing after a gap until the next one."""

    def __init__(self, rules: BookRules) -> None:
        self._rules = rules
        self._bids: SortedDict[float, Level] = SortedDict()
        self._asks: SortedDict[float, Level] = SortedDict()
        self._waiting: deque[BookUpdate] = deque(maxlen=_WAITING_UPDATES)
        self._is_fresh = False
        self._lowest_bid, self._highest_ask = -inf, inf
        self.is_right = False
        self.sequence: int | None = None
        self.updated: tuple[int, int] = 0, 0

    def apply(self, update: BookUpdate) -> Outcome:
        """Apply `update`; after "gap" and "checksum" the book is empty and wrong until a snapshot comes.

        Updates that come before the snapshot wait for it ("waiting"), as a snapshot asked over REST is older than they.
        A level that is no finite number is a "gap": what was meant is not known.
        """
        if not update.is_snapshot and not self.is_right:
            self._waiting.append(update)
            return "waiting"
        try:
            return self._restart(update) if update.is_snapshot else self._change(update)
        except ValueError:
            self.invalidate()
            return "gap"

    def _restart(self, snapshot: BookUpdate) -> Outcome:
        self._bids.clear()
        self._asks.clear()
        self.is_right = self._is_fresh = True
        self.sequence = snapshot.sequence
        self._lowest_bid, self._highest_ask = -inf, inf
        self._write(snapshot)
        self._bound()
        outcome: Outcome = self._verified(snapshot)
        waited = list(self._waiting)
        self._waiting.clear()
        for update in waited:
            if self.apply(update) in ("gap", "checksum"):
                outcome = "gap"
        return outcome

    def _bound(self) -> None:
        """Remember how far the snapshot reaches, where it may have been cut."""
        depth = self._rules.snapshot_depth
        if depth is not None and len(self._bids) >= depth:
            self._lowest_bid = self._bids.peekitem(0)[0]
        if depth is not None and len(self._asks) >= depth:
            self._highest_ask = self._asks.peekitem(-1)[0]

    def _change(self, update: BookUpdate) -> Outcome:
        last, sequence = self.sequence, update.sequence
        if last is not None and sequence is not None:
            if sequence <= last and not self._rules.restarts:
                return "old"
            follows = self._rules.bridges if self._is_fresh and self._rules.bridges else self._rules.follows
            if follows is not None and not follows(last, update):
                self.invalidate()
                self._waiting.append(update)
                return "gap"
        self._is_fresh = False
        if sequence is not None:
            self.sequence = sequence
        self._write(update)
        if self._has_run_low():
            self.invalidate()
            return "gap"
        return self._verified(update)

    def _has_run_low(self) -> bool:
        least = self._rules.least_levels
        return (self._lowest_bid > -inf and len(self._bids) < least) or (
            self._highest_ask < inf and len(self._asks) < least
        )

    def _write(self, update: BookUpdate) -> None:
        bids, asks = (self._bids, self._lowest_bid, inf), (self._asks, -inf, self._highest_ask)
        for levels, (side, low, high) in ((update.bids, bids), (update.asks, asks)):
            for level in levels:
                price = float(level[0])
                if not -inf < price < inf:
                    raise ValueError(f"a price must be a finite number, was {level[0]}")
                if float(level[1]) and low <= price <= high:
                    side[price] = level
                else:
                    side.pop(price, None)
        depth = self._rules.depth
        if depth is not None:
            while len(self._bids) > depth:
                self._bids.popitem(0)
            while len(self._asks) > depth:
                self._asks.popitem(-1)
        self.updated = update.ts_event, update.ts_received

    def _verified(self, update: BookUpdate) -> Outcome:
        checksum, depth = self._rules.checksum, self._rules.checksum_depth
        if (
            checksum is None
            or update.checksum is None
            or checksum(self.bids(depth), self.asks(depth)) == update.checksum
        ):
            return "applied"
        self.invalidate()
        return "checksum"

    def invalidate(self) -> None:
        """Forget everything: a disconnect, or a gap in what the connection carried."""
        self._bids.clear()
        self._asks.clear()
        self._waiting.clear()
        self.is_right = False
        self.sequence = None

    @property
    def is_crossed(self) -> bool:
        """Whether the best bid is not below the best ask: a book that nobody should see."""
        return bool(self._bids and self._asks and self._bids.peekitem(-1)[0] >= self._asks.peekitem(0)[0])

    def bids(self, depth: int | None = None) -> list[Level]:
        """Levels from the best bid down, as the venue wrote them."""
        return list(islice(reversed(self._bids.values()), depth))

    def asks(self, depth: int | None = None) -> list[Level]:
        """Levels from the best ask up."""
        return list(islice(self._asks.values(), depth))

    def top(self, instrument: str, depth: int) -> Book | None:
        """The best `depth` levels; None where the book is wrong, empty or crossed."""
        if not self.is_right or self.is_crossed or not (self._bids or self._asks):
            return None
        bids, asks = _numbers(self.bids(depth)), _numbers(self.asks(depth))
        return Book(instrument, *self.updated, bids, asks, self.sequence or 0)


def _numbers(levels: Iterable[Level]) -> list[tuple[float, float]]:
    return [(float(price), float(size)) for price, size in levels]
