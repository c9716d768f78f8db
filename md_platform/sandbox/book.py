"""The order book: listing and 100 ms step in, ten levels a side out; the difference of two steps is the update.

Best levels follow the quotes. Deeper ones rest on a grid whose cells hold one price each, so that levels stay where
they are while the price moves between them. A level's size is redrawn when its own lifetime ends. All of it is a
function of the step: the book after any number of updates is the book computed alone.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from md_platform.sandbox.listings import Listing
from md_platform.sandbox.noise import Ints, key_of, normals_of, words
from md_platform.sandbox.prices import START_HOUR, STEP_US, STEPS_PER_HOUR
from md_platform.sandbox.simulation import Simulation

DEPTH = 10
_BLOCK = 600
_START_STEP = START_HOUR * STEPS_PER_HOUR
_SIZE_PER_TRADE = 6.0

Levels = dict[int, int]


class BookSide(NamedTuple):
    """Prices in ticks to sizes in lots; size 0 removes a level."""

    bids: Levels
    asks: Levels


@dataclass(frozen=True, slots=True)
class _Block:
    """Books of consecutive steps, one row each, best level first."""

    bids: Ints
    bid_lots: Ints
    asks: Ints
    ask_lots: Ints


def step_at(time_us: int) -> int:
    """The step in force at `time_us`."""
    return time_us // STEP_US


def sequence_of(step: int) -> int:
    """The update id that a step carries: one for each 100 ms since the start."""
    return step - _START_STEP


class Books:
    """Books of a simulation, computed a minute at a time."""

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation
        self._block = lru_cache(128)(self._make_block)
        self._book = lru_cache(4_096)(self._make_book)
        self._change = lru_cache(4_096)(self._make_change)
        self._halts = simulation.halts

    def at(self, listing: Listing, step: int) -> BookSide:
        """The whole book at `step`: best levels first, ten a side. Shared: not to be changed."""
        if self._halts is not self._simulation.halts:
            self._halts = self._simulation.halts
            for cached in (self._block, self._book, self._change):
                cached.cache_clear()
        return self._book(listing.name, step)

    def _make_book(self, name: str, step: int) -> BookSide:
        number, row = divmod(step, _BLOCK)
        block = self._block(name, number)
        return BookSide(
            dict(zip(block.bids[row].tolist(), block.bid_lots[row].tolist(), strict=True)),
            dict(zip(block.asks[row].tolist(), block.ask_lots[row].tolist(), strict=True)),
        )

    def changes(self, listing: Listing, before: int, after: int) -> BookSide:
        """Every level touched after step `before` and until `after`, as it is at `after`.

        More than the difference of the two books: a client that begins between them may hold a level that neither has.
        """
        new = self.at(listing, after)
        if after == before + 1:
            return self._change(listing.name, after)
        touched = [self._change(listing.name, step) for step in range(before + 1, after + 1)]
        return BookSide(
            _as_of(new.bids, [side.bids for side in touched]), _as_of(new.asks, [side.asks for side in touched])
        )

    def _make_change(self, name: str, step: int) -> BookSide:
        before, after = self._book(name, step - 1), self._book(name, step)
        return BookSide(_changed(before.bids, after.bids), _changed(before.asks, after.asks))

    def _make_block(self, name: str, number: int) -> _Block:
        listing = self._simulation.listings[name]
        steps = np.arange(number * _BLOCK, (number + 1) * _BLOCK, dtype=np.int64)
        best_bid, best_ask = self._simulation.best_bid_ask(listing, steps)
        steps = self._simulation.unhalted_steps(listing, steps)
        deeper = np.arange(1, DEPTH, dtype=np.int64)
        grid = listing.grid_ticks
        key = key_of(self._simulation.seed, "book", name)
        below = best_bid[:, None] // grid - deeper
        above = best_ask[:, None] // grid + deeper
        bids = np.concatenate((best_bid[:, None], _resting(key, below, grid)), axis=1)
        asks = np.concatenate((best_ask[:, None], _resting(key, above, grid)), axis=1)
        median = listing.median_lots * _SIZE_PER_TRADE
        return _Block(bids, _lots(key + 1, bids, steps, median), asks, _lots(key + 2, asks, steps, median))


def _resting(key: int, cells: Ints, grid: int) -> Ints:
    """The one price that each cell of the grid holds."""
    within = words(key, cells) % np.uint64(grid)
    return np.maximum(1, cells * grid + within.astype(np.int64))


def _lots(key: int, prices: Ints, steps: Ints, median: float) -> Ints:
    """Sizes at `prices`: redrawn every 0.8 to 25 s, at a rhythm that is the price's own; the best level's faster."""
    drawn = words(key, prices)
    lifetime = (drawn % np.uint64(6)).astype(np.int64) + 3
    lifetime[:, 0] = 2
    phase = (drawn >> np.uint64(40)).astype(np.int64) & 0xFF
    epoch = (steps[:, None] + phase) >> lifetime
    noise = normals_of(words(key, drawn ^ (epoch.astype(np.uint64) << np.uint64(20))))
    return np.maximum(1, (median * np.exp(0.9 * noise)).astype(np.int64))


def _changed(old: Levels, new: Levels) -> Levels:
    """Removals first: a client that keeps ten levels must have room for the one that comes in."""
    removed = {price: 0 for price in old if price not in new}
    return removed | {price: lots for price, lots in new.items() if old.get(price) != lots}


def _as_of(new: Levels, touched: list[Levels]) -> Levels:
    prices = {price: None for levels in touched for price in levels}
    removed = {price: 0 for price in prices if price not in new}
    return removed | {price: lots for price, lots in new.items() if price in prices}
