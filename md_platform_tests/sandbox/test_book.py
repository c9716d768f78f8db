"""The book: a snapshot and the updates after it make any later snapshot."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from md_platform.sandbox.book import DEPTH, Books
from md_platform.sandbox.listings import listings
from md_platform.sandbox.prices import START_HOUR, STEP_US, STEPS_PER_HOUR
from md_platform.sandbox.simulation import Halt, Simulation

SIMULATION = Simulation(1, listings())
BOOKS = Books(SIMULATION)
names = st.sampled_from(sorted(SIMULATION.listings))
steps = st.integers(START_HOUR * STEPS_PER_HOUR + 1, (START_HOUR + 1_000_000) * STEPS_PER_HOUR)


def applied(book, changes):
    kept = book | changes
    return {price: lots for price, lots in kept.items() if lots}


@settings(max_examples=40, deadline=None)
@given(names, steps, st.integers(1, 80))
def test_a_snapshot_and_updates_make_any_later_snapshot(name, first, count):
    listing = SIMULATION.listings[name]
    bids, asks = BOOKS.at(listing, first)
    for step in range(first, first + count):
        changes = BOOKS.changes(listing, step, step + 1)
        bids, asks = applied(bids, changes.bids), applied(asks, changes.asks)
    last = Books(SIMULATION).at(listing, first + count)
    assert (bids, asks) == (last.bids, last.asks)
    jump = BOOKS.changes(listing, first, first + count)
    start = BOOKS.at(listing, first)
    assert (applied(start.bids, jump.bids), applied(start.asks, jump.asks)) == (last.bids, last.asks)


@settings(max_examples=40, deadline=None)
@given(names, steps)
def test_ten_levels_a_side_in_order_never_crossed(name, step):
    bids, asks = BOOKS.at(SIMULATION.listings[name], step)
    assert len(bids) == len(asks) == DEPTH
    assert list(bids) == sorted(bids, reverse=True)
    assert list(asks) == sorted(asks)
    assert max(bids) < min(asks)
    assert min((*bids.values(), *asks.values())) > 0


@settings(max_examples=20, deadline=None)
@given(names, steps)
def test_the_best_levels_are_the_quotes(name, step):
    listing = SIMULATION.listings[name]
    bid, ask = SIMULATION.best_bid_ask(listing, np.array([step]))
    bids, asks = BOOKS.at(listing, step)
    assert (next(iter(bids)), next(iter(asks))) == (bid[0], ask[0])


def test_the_book_stands_still_in_a_halt():
    simulation = Simulation(1, listings())
    books, listing = Books(simulation), simulation.listings["binance:BTC-USDT"]
    first = (START_HOUR + 500) * STEPS_PER_HOUR + 77
    assert books.changes(listing, first, first + 50).bids
    simulation.set_halts((Halt("binance:*", first * STEP_US, (first + 100) * STEP_US),))
    assert books.at(listing, first) == books.at(listing, first + 99)
    assert books.changes(listing, first + 99, first + 100).bids


def test_an_update_lists_removals_first():
    listing = SIMULATION.listings["kraken:BTC-USD"]
    for step in range(10**7 + START_HOUR * STEPS_PER_HOUR, 10**7 + START_HOUR * STEPS_PER_HOUR + 200):
        for side in BOOKS.changes(listing, step, step + 1):
            sizes = [lots > 0 for lots in side.values()]
            assert sizes == sorted(sizes)
