"""An instrument's trades: which are new, which are late, which never came, and how unusual each one is."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import log

from md_platform.domain.events import Trade

_REMEMBERED = 50_000
"""Ids without consecutive numbers are remembered in two generations of this many."""

LATE_NS = 1_000_000_000
"""A trade this much older than the newest counts as late."""

_MISSING_AT_MOST = 100_000
_WARM = 50
_UNUSUAL_Z = 12.0
"""Robust z of a price change or a size from which a trade is flagged: a dozen scales from the usual."""

_ALPHA = 0.02
_SIGMA = 1.2533
_COUNTS_AT_MOST = 5.0
_CHANGE_FLOOR = 1e-5
_SIZE_FLOOR = 0.1


@dataclass(slots=True)
class MissingIds:
    """Trades `first` to `last` of consecutive ids never came; they happened in `[start_ns, end_ns]`."""

    first: int
    last: int
    start_ns: int
    end_ns: int
    noticed_ns: int


class TradeIds:
    """Which ids of one instrument were seen. With consecutive ids it also knows which are missing."""

    __slots__ = ("_consecutive", "_missing", "_old", "_young", "holes", "last", "last_ns")

    def __init__(self, *, consecutive: bool) -> None:
        self._consecutive = consecutive
        self._young: set[int | str] = set()
        self._old: set[int | str] = set()
        self._missing: set[int] = set()
        self.last: int | None = None
        self.last_ns = 0
        self.holes: list[MissingIds] = []

    def new_of(self, trades: list[Trade]) -> list[Trade]:
        """Those of `trades`, at least one, that come for the first time, in order; they count as seen from now on."""
        if self._consecutive and self.last is not None:
            ids = [trade.trade_id for trade in trades]
            end = self.last + len(ids)
            if ids == list(range(self.last + 1, end + 1)):  # nearly always: no call for each
                self.last, self.last_ns = end, trades[-1].ts_event
                return trades
        return [trade for trade in trades if self.is_new(trade)]

    def is_new(self, trade: Trade) -> bool:
        """Whether the trade comes for the first time; it counts as seen from now on."""
        trade_id = trade.trade_id
        if self._consecutive and type(trade_id) is int:
            last = self.last
            if last is None or trade_id == last + 1:
                self.last, self.last_ns = trade_id, trade.ts_event
                return True
            if trade_id > last:
                if trade_id - last <= _MISSING_AT_MOST:
                    self._missing.update(range(last + 1, trade_id))
                self.holes.append(MissingIds(last + 1, trade_id - 1, self.last_ns, trade.ts_event, trade.ts_received))
                self.last, self.last_ns = trade_id, trade.ts_event
                return True
            if trade_id in self._missing:
                self._missing.discard(trade_id)
                return True
            return False
        if trade_id in self._young or trade_id in self._old:
            return False
        self._young.add(trade_id)
        if len(self._young) >= _REMEMBERED:
            self._old, self._young = self._young, set()
        self.last_ns = max(self.last_ns, trade.ts_event)
        return True

    def knows(self, trade: Trade) -> bool:
        """Whether the trade came before."""
        trade_id = trade.trade_id
        if self._consecutive and type(trade_id) is int:
            return self.last is not None and trade_id <= self.last and trade_id not in self._missing
        return trade_id in self._young or trade_id in self._old

    def open_holes(self, before_ns: int) -> list[MissingIds]:
        """Holes noticed before `before_ns` that nothing has filled since; each is returned once."""
        due = [hole for hole in self.holes if hole.noticed_ns < before_ns]
        self.holes = [hole for hole in self.holes if hole.noticed_ns >= before_ns]
        return [hole for hole in due if self.is_open(hole)]

    def is_open(self, hole: MissingIds) -> bool:
        """Whether any trade of `hole` is still missing; a hole too wide to be remembered one by one stays open."""
        if hole.last - hole.first >= _MISSING_AT_MOST:
            return True
        return not self._missing.isdisjoint(range(hole.first, hole.last + 1))


@dataclass(slots=True)
class Unusual:
    """How far price changes and sizes are from the usual, in robust scales, at a constant cost per trade.

    The scale is an exponentially weighted mean of absolute deviations times 1.2533, which estimates sigma of a normal
    distribution and is moved little by a single outlier, as each deviation counts for at most five scales.
    """

    price: float = 0.0
    change_scale: float = 0.0
    size: float = 0.0
    size_scale: float = 0.0
    seen: int = 0

    def scores(self, trades: Sequence[Trade]) -> list[float]:
        """The larger z of the two for each trade; 0 where both count in full, and while there are too few trades.

        The trades count from now on, but those from before the subscription, which come in any order.
        """
        found: list[float] = []
        last, usual_size, seen = self.price, self.size, self.seen
        change_scale, size_scale = self.change_scale, self.size_scale
        for trade in trades:
            if trade.sent_late:
                found.append(0.0)
                continue
            price, log_size, z = trade.price, log(trade.size), 0.0
            if not seen:
                last, usual_size, seen = price, log_size, 1
                found.append(z)
                continue
            change = abs(price / last - 1.0)
            difference = log_size - usual_size
            deviation = abs(difference)
            if seen < _WARM:
                seen += 1
            else:  # comparisons, as max() and min() are calls for each trade
                if change > _COUNTS_AT_MOST * change_scale and change > _COUNTS_AT_MOST * _CHANGE_FLOOR:
                    z = change / max(_SIGMA * change_scale, _CHANGE_FLOOR)
                    change = _COUNTS_AT_MOST * max(change_scale, _CHANGE_FLOOR)
                if deviation > _COUNTS_AT_MOST * size_scale and deviation > _COUNTS_AT_MOST * _SIZE_FLOOR:
                    z = max(z, deviation / max(_SIGMA * size_scale, _SIZE_FLOOR))
                    deviation = _COUNTS_AT_MOST * max(size_scale, _SIZE_FLOOR)
            last = price
            change_scale += _ALPHA * (change - change_scale)
            size_scale += _ALPHA * (deviation - size_scale)
            usual_size += _ALPHA * difference
            found.append(z)
        self.price, self.size, self.seen = last, usual_size, seen
        self.change_scale, self.size_scale = change_scale, size_scale
        return found


@dataclass(slots=True)
class TradeTape:
    """What is known of one instrument's trades so far."""

    ids: TradeIds
    unusual: Unusual = field(default_factory=Unusual)
    newest_ns: int = 0
    is_halted: bool = False

    def judge(self, trades: Sequence[Trade]) -> None:
        """Give each trade its quality: 1.0 where nothing is to be said about it; less if late, sent late or unusual.

        No trade is called unusual while its instrument is halted, or just after: auctions and re-openings jump.
        """
        newest = self.newest_ns
        for trade, z in zip(trades, self.unusual.scores(trades), strict=True):
            at, quality = trade.ts_event, 1.0
            if at > newest:
                newest = at
            elif newest - at > LATE_NS:
                quality -= 0.2
            if trade.sent_late:
                quality -= 0.1
            elif z > _UNUSUAL_Z and not self.is_halted:
                quality -= 0.5
            trade.quality = quality
        self.newest_ns = newest
