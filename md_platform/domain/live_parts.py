"""BAR_RULE for values at hand: trades in, the part of a bar that they make out; parts in, a longer part out.

The twin of `bars`, which applies the same table to columns. Only `part_of` spells the rule out, because it runs for
each trade; a test holds it to the table.
"""

from collections.abc import Callable, Sequence
from operator import attrgetter, itemgetter
from typing import Any

from md_platform.domain.bars import BAR_RULE
from md_platform.domain.events import Bar, Trade

Values = tuple[Any, ...]
"""What BAR_RULE combines, in its order: float, int, or None where unknown."""

Place = tuple[int, bool, int, str]
"""Where a trade stands in time: (ts_event, its id is a number, that number, else the id's text)."""

_LARGEST_ID = 2**63


def place_of(trade: Trade) -> Place:
    """Order of trades as cleaning sorts them: by time, then by id as a number; ids that are none come first, as text.

    Trades of one place keep the order in which they came.
    """
    trade_id = trade.trade_id
    if type(trade_id) is int:
        return (trade.ts_event, True, trade_id, "")
    text = str(trade_id)
    digits = text[1:] if text[:1] in {"-", "+"} else text
    if digits.isascii() and digits.isdigit() and -_LARGEST_ID <= (number := int(text)) < _LARGEST_ID:
        return (trade.ts_event, True, number, text)
    return (trade.ts_event, False, 0, text)


def _precedes(trade: Trade, other: Trade) -> bool:
    """Whether `trade` stands before `other`, which has its time: as their places do, which take longer to make."""
    if type(trade.trade_id) is int and type(other.trade_id) is int:
        return trade.trade_id < other.trade_id
    return place_of(trade) < place_of(other)


class Part:
    """Some trades of one bar: their `values`, and the places of the `first` and the `last` of them."""

    __slots__ = ("first", "last", "values")

    def __init__(self, values: Values, first: Place, last: Place) -> None:
        self.values = values
        self.first = first
        self.last = last


def part_of(trades: Sequence[Trade]) -> Part:
    """One or more trades of one bar, in the order in which they came, as a part: each is a bar of its own, combined."""
    first = last = trades[0]
    first_ts = last_ts = first.ts_event
    last_id = last.trade_id
    high = low = first.price
    volume = quote_volume = bought = quote_bought = 0.0
    count = known_at = 0
    sides_known = True
    for trade in trades:
        price = trade.price
        size = trade.size
        quote = price * size
        volume += size
        quote_volume += quote
        count += trade.trade_count
        if price > high:
            high = price
        elif price < low:
            low = price
        side = trade.taker_side
        if side == "buy":
            bought += size
            quote_bought += quote
        elif side is None:
            sides_known = False
        received = trade.ts_received
        if received > known_at:  # noqa: PLR1730 - max() is a call for each trade
            known_at = received
        ts = trade.ts_event
        trade_id = trade.trade_id
        # of one time: by number, without a call where both are numbers, as nearly all are
        if ts > last_ts or (
            ts == last_ts
            and (trade_id >= last_id if type(trade_id) is int is type(last_id) else not _precedes(trade, last))
        ):
            last = trade
            last_ts = ts
            last_id = trade_id
        elif ts < first_ts or (ts == first_ts and _precedes(trade, first)):
            first = trade
            first_ts = ts
    return Part(
        (
            first.price,
            high,
            low,
            last.price,
            volume,
            quote_volume,
            count,
            bought if sides_known else None,
            quote_bought if sides_known else None,
            0,
            known_at,
        ),
        place := place_of(first),
        place if last is first else place_of(last),
    )


def _sum(values: Sequence[Any]) -> Any:  # noqa: ANN401 - a column's own type
    return None if None in values else sum(values)


_COMBINE: dict[str, Callable[[Sequence[Any]], Any]] = {
    "first": itemgetter(0),
    "last": itemgetter(-1),
    "max": max,
    "min": min,
    "sum": _sum,
}
_HOW = [_COMBINE[how] for how in BAR_RULE.values()]

values_of: Callable[[Bar], Values] = attrgetter(*BAR_RULE)
"""A bar's values in the order of BAR_RULE."""

_REVISION = list(BAR_RULE).index("revision")
_KNOWN_AT = list(BAR_RULE).index("known_at")


def combined(members: Sequence[Values]) -> Values:
    """Values of the longer bar that holds `members`, at least one, in time order."""
    return tuple([how(column) for how, column in zip(_HOW, zip(*members, strict=True), strict=True)])


def joined(parts: Sequence[Part]) -> Part:
    """The part that holds all of `parts`, at least one, in whatever order they come and even where they interleave."""
    if len(parts) == 1:
        return parts[0]
    head = min(parts, key=_FIRST)
    tail = max(parts, key=_LAST)
    between = [part.values for part in parts if part is not head and part is not tail]
    if head is not tail:
        return Part(combined([head.values, *between, tail.values]), head.first, tail.last)
    values = zip(combined([head.values, *between]), head.values, BAR_RULE.values(), strict=True)
    return Part(tuple([own if how == "last" else all_ for all_, own, how in values]), head.first, head.last)


_FIRST = attrgetter("first")
_LAST = attrgetter("last")


def bar_of(
    key: tuple[str, str, int, int], values: Values, *, is_closed: bool, source: str, revision: int | None = None
) -> Bar:
    """The bar of `key` (instrument, timeframe, open and close time); its revision is the values' unless given."""
    said = values[_REVISION] if revision is None else revision
    fields: Values = (*key, *values[:_REVISION], is_closed, source, said, values[_KNOWN_AT])
    return Bar(*fields)


class Traded:
    """A second or minute, built from trades.

    `pending` are trades that wait to be folded into `parts` (a second's: its minute gets the part). `closed` is the bar
    as last reported. `is_sealed`: it came from a store without its trades, so that none can be added.
    """

    __slots__ = ("closed", "is_sealed", "open_time", "parts", "pending")

    def __init__(self, open_time: int) -> None:
        self.open_time = open_time
        self.pending: list[Trade] = []
        self.parts: list[Part] = []
        self.closed: Bar | None = None
        self.is_sealed = False

    def part(self) -> Part:
        """All trades that are folded, at least one."""
        if len(self.parts) > 1:
            self.parts = [joined(self.parts)]
        return self.parts[0]


_SUMS_AGREE = 1e-9
_OF_CONTENT = [
    (n, how == "sum") for n, (name, how) in enumerate(BAR_RULE.items()) if name not in {"revision", "known_at"}
]


def same_content(one: Values, other: Values) -> bool:
    """Whether two bars say the same of the market: prices exactly, sums to 1e-9; not when or how often it was said."""
    for n, is_sum in _OF_CONTENT:
        left, right = one[n], other[n]
        if left != right and not (
            is_sum and None not in {left, right} and abs(left - right) <= _SUMS_AGREE * max(abs(left), abs(right))
        ):
            return False
    return True
