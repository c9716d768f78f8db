"""The simulation: seed and halts in, any hour's trades of any listing out, without the hours before it.

Trade ids are contiguous over the years because the number of trades before an hour has a closed form: a fixed count
for each hour of the week plus a wobble that telescopes. Nothing here knows a protocol, a clock or a socket.
"""

from fnmatch import fnmatchcase
from functools import lru_cache
from typing import NamedTuple

import msgspec
import numpy as np

from md_platform.sandbox.listings import Listing
from md_platform.sandbox.noise import Bools, Ints, key_of, normals_of, uniform, uniforms_of, words, words_of
from md_platform.sandbox.prices import HOUR_US, START_HOUR, STEP_US, PricePaths, spread_ticks

_HOURS_PER_WEEK = 168
_DAY_SHAPE = np.array(
    [0.8, 0.75, 0.7, 0.65, 0.65, 0.7, 0.75, 0.85, 0.95, 1.0, 1.0, 1.0, 1.15, 1.35, 1.5, 1.5, 1.4, 1.25, 1.15, 1.1, 1.1,
     1.0, 0.9, 0.85]
)  # fmt: skip
_WEEK_SHAPE = np.array([0.75, 1.05, 1.1, 1.1, 1.1, 1.1, 0.75])  # START_HOUR is a Sunday
_WOBBLE = 0.4
_AGGREGATES_PER_TRADE = 0.72
_PARENTS = 0.5
_BURSTS_PER_HOUR = 4
_IN_BURST = 0.2
_BURST_US = 15e6
_AT_ONCE, _WITHIN_A_SECOND = 0.2, 0.7
_SOON_US, _LATER_US = 0.4e6, 8e6
_TURNS = 0.12
_SWEEP_LEVELS = 8


class Halt(msgspec.Struct, frozen=True):
    """Trading of the listings whose name fits the pattern `listing` (`*:BTC-USDT`) stops in `[start_us, end_us)`."""

    listing: str
    start_us: int
    end_us: int

    def stops(self, listing: Listing) -> bool:
        """Whether this halt is about `listing`."""
        return fnmatchcase(listing.name, self.listing)


class Fills(NamedTuple):
    """Columns of fills, sorted by time. Fills of one taker order at one price share an aggregate."""

    time_us: Ints
    price: Ints
    size: Ints
    is_buy: Bools
    aggregate: Ints
    """Position of each fill's aggregate, from 0."""

    def part(self, low: int, high: int) -> "Fills":
        """Rows `[low, high)`."""
        return Fills(*(column[low:high] for column in self))  # type: ignore[arg-type]


def joined(parts: list[Fills]) -> Fills:
    """Fills of consecutive times as one; their aggregates' positions are those of the parts."""
    if not parts:
        none = np.empty(0, np.int64)
        return Fills(none, none, none, np.empty(0, np.bool_), none)
    return Fills(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


class Hour(NamedTuple):
    """One hour's fills and where its ids begin."""

    listing: Listing
    number: int
    first_trade_id: int
    first_aggregate_id: int
    fills: Fills


class _Arrivals(NamedTuple):
    """Taker orders: time, aggressor, number of fills; and the number of fills in each hour."""

    times: Ints
    is_buy: Bools
    fills: Ints
    trades: Ints


class _Counts:
    """How many trades and aggregates came before any hour, in closed form."""

    def __init__(self, seed: int, listing: Listing) -> None:
        shape = (_WEEK_SHAPE[:, None] * _DAY_SHAPE[None, :]).ravel()
        trades = np.maximum(8, np.rint(listing.trades_per_day / 24 * shape)).astype(np.int64)
        aggregates = (trades * _AGGREGATES_PER_TRADE).astype(np.int64)
        self._key = key_of(seed, "counts", listing.name)
        self._trades = np.concatenate(([0], np.cumsum(trades)))
        self._aggregates = np.concatenate(([0], np.cumsum(aggregates)))
        self._wobble = float(trades.min()) * _WOBBLE

    def before(self, hour: int) -> tuple[int, int]:
        """Trades and aggregates before `hour`."""
        weeks, of_week = divmod(hour - START_HOUR, _HOURS_PER_WEEK)
        wobble = uniform(self._key, hour) * self._wobble
        trades = weeks * int(self._trades[-1]) + int(self._trades[of_week]) + int(wobble)
        aggregates = weeks * int(self._aggregates[-1]) + int(self._aggregates[of_week])
        return trades, aggregates + int(int(wobble) * _AGGREGATES_PER_TRADE)


class Simulation:
    """All listings' trades. `halts` may be replaced; what was traded before a new halt's start does not change."""

    def __init__(self, seed: int, listings: tuple[Listing, ...], halts: tuple[Halt, ...] = ()) -> None:
        self.seed = seed
        self.listings = {listing.name: listing for listing in listings}
        self.paths = PricePaths(seed)
        self.halts = halts
        self._counts = {name: _Counts(seed, listing) for name, listing in self.listings.items()}
        self._spread_keys = {name: key_of(seed, "spread", name) for name in self.listings}
        self._hour = lru_cache(1_536)(self._make_hour)
        self._halted_in_hour = lru_cache(1_024)(self._count_dropped)

    def set_halts(self, halts: tuple[Halt, ...]) -> None:
        """Replace the halts and forget the hours computed under the old ones."""
        self.halts = halts
        self._hour.cache_clear()
        self._halted_in_hour.cache_clear()

    def hour(self, listing: Listing, index: int) -> Hour:
        """The trades of hour `index` (hours since the epoch)."""
        return self._hour(listing.name, index)

    def ids_before(self, listing: Listing, hour: int) -> tuple[int, int]:
        """Trades and aggregates before `hour`: the ids of its first ones, as ids count from 0."""
        trades, aggregates = self._counts[listing.name].before(hour)
        for start, end in self.halted(listing):
            lost_trades, lost_aggregates = self._lost(listing.name, start, end, hour)
            trades, aggregates = trades - lost_trades, aggregates - lost_aggregates
        return trades, aggregates

    def halted(self, listing: Listing) -> list[tuple[int, int]]:
        """The listing's halts as `[start_us, end_us)`, merged and in order."""
        merged: list[tuple[int, int]] = []
        for halt in sorted((h for h in self.halts if h.stops(listing)), key=lambda h: h.start_us):
            if merged and halt.start_us <= merged[-1][1]:
                merged[-1] = (merged[-1][0], max(merged[-1][1], halt.end_us))
            else:
                merged.append((halt.start_us, halt.end_us))
        return merged

    def is_halted(self, listing: Listing, now_us: int) -> bool:
        """Whether trading is halted at `now_us`."""
        return any(start <= now_us < end for start, end in self.halted(listing))

    def best_bid_ask(self, listing: Listing, steps: Ints) -> tuple[Ints, Ints]:
        """Best bid and ask in ticks at each 100 ms step since the epoch. A halt freezes them."""
        steps = self.unhalted_steps(listing, steps)
        bids = self.paths.best_bid(listing, steps)
        spread = spread_ticks(self._spread_keys[listing.name], steps, 1 + listing.grid_ticks // 2)
        return bids, bids + spread

    def unhalted_steps(self, listing: Listing, steps: Ints) -> Ints:
        """The steps whose quotes and book are in force: during a halt, the step at which it began."""
        for start, end in self.halted(listing):
            inside = (steps * STEP_US >= start) & (steps * STEP_US < end)
            steps = np.where(inside, start // STEP_US, steps)
        return steps

    def _lost(self, name: str, start: int, end: int, hour: int) -> tuple[int, int]:
        """Trades and aggregates that the halt `[start, end)` removed before `hour`."""
        first, last = start // HOUR_US, min(end // HOUR_US, hour)
        if first >= last:
            return 0, 0
        lost_trades, lost_aggregates = self._halted_in_hour(name, start)
        counts = self._counts[name]
        (t0, a0), (t1, a1) = counts.before(first + 1), counts.before(last)
        return lost_trades + t1 - t0, lost_aggregates + a1 - a0

    def _count_dropped(self, name: str, start: int) -> tuple[int, int]:
        """Trades and aggregates of the hour of `start` that come at or after it, when that hour does not resume."""
        listing, hour = self.listings[name], start // HOUR_US
        earlier = [span for span in self.halted(listing) if span[0] < start and span[1] > hour * HOUR_US]
        arrivals = self._arrivals(listing, hour, 1)
        times = arrivals.times
        for span in earlier:
            times = _squeezed(times, span, hour)
        kept = int(np.searchsorted(times, start))
        return int(arrivals.fills[kept:].sum()), len(times) - kept

    def _arrivals(self, listing: Listing, first: int, count: int) -> _Arrivals:
        """Taker orders of `count` hours from `first`, as if no halt existed.

        Clustered: some orders are parents, the others follow one of them, at once (a sweep through the book), within
        a second or within seconds, mostly on its side. Bursts draw parents together. Each number is addressed by its
        hour and its place in it, so an hour is the same whether made alone or among others.
        """
        hours = first + np.arange(count, dtype=np.int64)
        before = [self._counts[listing.name].before(hour) for hour in range(first, first + count + 1)]
        trades, orders = np.diff(np.array(before, np.int64), axis=0).astype(np.int64).T
        parents = np.maximum(1, (orders * _PARENTS).astype(np.int64))
        hour_keys = words(key_of(self.seed, "arrivals", listing.name), hours)
        row = np.repeat(np.arange(count), orders)
        begin = np.cumsum(orders) - orders
        place = np.arange(len(row)) - begin[row]
        keys, index = hour_keys[row], place.astype(np.uint64)
        when, luck, delay = (uniforms_of(words_of(keys + np.uint64(n), index)) for n in range(3))
        is_parent = place < parents[row]
        centre = uniforms_of(words_of(keys + np.uint64(3), (delay * _BURSTS_PER_HOUR).astype(np.uint64)))
        in_burst = centre * HOUR_US - np.log1p(-when) * _BURST_US
        born = np.where(luck < _IN_BURST, in_burst, when * HOUR_US)
        follows = begin[row] + (when * parents[row]).astype(np.int64)
        later = np.where(luck < _WITHIN_A_SECOND, _SOON_US, _LATER_US)
        behind = np.where(luck < _AT_ONCE, 0.0, later) * -np.log1p(-delay)
        times = np.where(is_parent, born, born[follows] + behind) % HOUR_US
        coins = words_of(keys + np.uint64(4), index)
        heads, turns = coins & np.uint64(1) == 0, uniforms_of(coins) < _TURNS
        is_buy = np.where(is_parent, heads, heads[follows] ^ turns)
        floored = times.astype(np.int64) // listing.resolution_us * listing.resolution_us + hours[row] * HOUR_US
        order = np.argsort(floored, kind="stable")
        extra = trades - orders
        extra_row = np.repeat(np.arange(count), extra)
        extra_place = np.arange(len(extra_row)) - (np.cumsum(extra) - extra)[extra_row]
        lucky = uniforms_of(words_of(hour_keys[extra_row] + np.uint64(5), extra_place.astype(np.uint64)))
        filled = begin[extra_row] + (lucky * orders[extra_row]).astype(np.int64)
        return _Arrivals(floored[order], is_buy[order], 1 + np.bincount(filled, minlength=len(row)), trades)

    def fills(self, listing: Listing, first: int, count: int) -> Fills:
        """The fills of `count` whole hours from `first`: quicker than hour by hour, and the same."""
        start, end = first * HOUR_US, (first + count) * HOUR_US
        if any(span[0] < end and span[1] > start for span in self.halted(listing)):
            return joined([self.hour(listing, hour).fills for hour in range(first, first + count)])
        arrivals = self._arrivals(listing, first, count)
        price = self._trade_prices(listing, arrivals.times, arrivals.is_buy)
        aggregate = np.repeat(np.arange(len(price), dtype=np.int64), arrivals.fills)
        size = self._sizes(listing, first, arrivals.trades)
        return Fills(arrivals.times[aggregate], price[aggregate], size, arrivals.is_buy[aggregate], aggregate)

    def _make_hour(self, name: str, index: int) -> Hour:
        listing = self.listings[name]
        first_trade, first_aggregate = self.ids_before(listing, index)
        halts = [span for span in self.halted(listing) if span[0] < (index + 1) * HOUR_US and span[1] > index * HOUR_US]
        if not halts:
            return Hour(listing, index, first_trade, first_aggregate, self.fills(listing, index, 1))
        arrivals = self._arrivals(listing, index, 1)
        times = arrivals.times
        for span in halts:
            times = _squeezed(times, span, index)
        is_buy, fills = arrivals.is_buy[: len(times)], arrivals.fills[: len(times)]
        price = self._trade_prices(listing, times, is_buy)
        aggregate = np.repeat(np.arange(len(times), dtype=np.int64), fills)
        size = self._sizes(listing, index, np.array([len(aggregate)]))
        rows = Fills(times[aggregate], price[aggregate], size, is_buy[aggregate], aggregate)
        return Hour(listing, index, first_trade, first_aggregate, rows)

    def _trade_prices(self, listing: Listing, times: Ints, is_buy: Bools) -> Ints:
        """Buys lift the best ask, sells hit the best bid; orders of one instant and side walk down the book."""
        if len(times) == 0:
            return times
        bids, asks = self.best_bid_ask(listing, times // STEP_US)
        position = np.arange(len(times), dtype=np.int64)
        fresh = np.ones(len(times), np.bool_)
        fresh[1:] = (times[1:] != times[:-1]) | (is_buy[1:] != is_buy[:-1])
        depth = np.minimum(position - np.maximum.accumulate(np.where(fresh, position, 0)), _SWEEP_LEVELS)
        walked = depth * listing.grid_ticks
        prices: Ints = np.maximum(1, np.where(is_buy, asks + walked, bids - walked))
        return prices

    def _sizes(self, listing: Listing, first: int, counts: Ints) -> Ints:
        """Sizes in lots of that many fills in each hour from `first`: log-normal, larger in busy hours."""
        hours = first + np.arange(len(counts), dtype=np.int64)
        keys = words(key_of(self.seed, "sizes", listing.name), hours)
        row = np.repeat(np.arange(len(counts)), counts)
        place = np.arange(len(row)) - (np.cumsum(counts) - counts)[row]
        spread = np.exp(1.4 * normals_of(words_of(keys[row], place.astype(np.uint64))))
        lots: Ints = (listing.median_lots * self.paths.activity(hours)[row] * spread).astype(np.int64)
        return np.maximum(1, lots)


def _squeezed(times: Ints, span: tuple[int, int], hour: int) -> Ints:
    """The hour's arrivals with none in the halt: later ones move past its end, or vanish if it outlasts the hour."""
    start, end = span
    hour_start, hour_end = hour * HOUR_US, (hour + 1) * HOUR_US
    start = max(start, hour_start)
    late = int(np.searchsorted(times, start))
    if end >= hour_end:
        return times[:late]
    moved: Ints = (end + (times[late:] - start) * ((hour_end - end) / (hour_end - start))).astype(np.int64)
    squeezed: Ints = np.concatenate((times[:late], moved))
    return squeezed
