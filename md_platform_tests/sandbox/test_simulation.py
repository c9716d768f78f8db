"""The simulation: every hour alone is the hour among its neighbours, ids run on, halts hold."""

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from md_platform.sandbox.listings import listings
from md_platform.sandbox.prices import HOUR_US, START_HOUR, STEP_US
from md_platform.sandbox.simulation import Halt, Simulation

ALL = listings()
NAMES = [listing.name for listing in ALL]
FAR = (2_100 - 1970) * 8_766
MINUTE_US = 60_000_000

hours = st.integers(START_HOUR, FAR)
names = st.sampled_from(NAMES)
SHARED = Simulation(1, ALL)


def fresh():
    return Simulation(1, ALL)


def same(left, right):
    return all(np.array_equal(a, b) for a, b in zip(left, right, strict=True))


@settings(max_examples=25, deadline=None)
@given(names, hours)
def test_an_hour_does_not_depend_on_what_was_asked_before(name, hour):
    alone = fresh()
    listing = alone.listings[name]
    expected = alone.hour(listing, hour)
    for other in (hour - 1, hour + 1):
        SHARED.hour(listing, max(other, START_HOUR))
    found = SHARED.hour(listing, hour)
    assert same(expected.fills, found.fills)
    assert (expected.first_trade_id, expected.first_aggregate_id) == (found.first_trade_id, found.first_aggregate_id)


@settings(max_examples=15, deadline=None)
@given(names, hours, st.integers(2, 30))
def test_many_hours_at_once_are_the_same_as_each_alone(name, first, count):
    listing = SHARED.listings[name]
    together = SHARED.fills(listing, first, count)
    apart = [SHARED.hour(listing, first + n).fills for n in range(count)]
    for column in ("time_us", "price", "size", "is_buy"):
        assert np.array_equal(getattr(together, column), np.concatenate([getattr(part, column) for part in apart]))


@settings(max_examples=25, deadline=None)
@given(names, hours)
def test_ids_run_on_from_hour_to_hour(name, hour):
    listing = SHARED.listings[name]
    here, there = SHARED.hour(listing, hour), SHARED.hour(listing, hour + 1)
    assert here.first_trade_id + len(here.fills.price) == there.first_trade_id
    assert here.first_aggregate_id + int(here.fills.aggregate[-1]) + 1 == there.first_aggregate_id


@settings(max_examples=25, deadline=None)
@given(names, hours)
def test_fills_are_sorted_inside_the_hour_and_on_the_venues_clock(name, hour):
    listing = SHARED.listings[name]
    fills = SHARED.hour(listing, hour).fills
    assert fills.time_us[0] >= hour * HOUR_US
    assert fills.time_us[-1] < (hour + 1) * HOUR_US
    assert (np.diff(fills.time_us) >= 0).all()
    assert (fills.time_us % listing.resolution_us == 0).all()
    assert (fills.price > 0).all()
    assert (fills.size > 0).all()


@settings(max_examples=25, deadline=None)
@given(names, hours)
def test_fills_of_an_aggregate_share_instant_price_and_side(name, hour):
    fills = SHARED.hour(SHARED.listings[name], hour).fills
    starts = np.flatnonzero(np.diff(fills.aggregate, prepend=-1))
    for column in (fills.time_us, fills.price, fills.is_buy):
        assert np.array_equal(column, column[starts][fills.aggregate])


@settings(max_examples=15, deadline=None)
@given(names, hours)
def test_trades_happen_at_the_quotes_or_beyond_them(name, hour):
    listing = SHARED.listings[name]
    fills = SHARED.hour(listing, hour).fills
    bids, asks = SHARED.best_bid_ask(listing, fills.time_us // STEP_US)
    assert (bids < asks).all()
    assert (fills.price[fills.is_buy] >= asks[fills.is_buy]).all()
    assert (fills.price[~fills.is_buy] <= bids[~fills.is_buy]).all()


@pytest.mark.parametrize("name", NAMES)
def test_any_hour_takes_less_than_100_ms(name):
    simulation = fresh()
    listing = simulation.listings[name]
    began = time.thread_time()  # what it costs, whatever else this machine does
    simulation.hour(listing, START_HOUR + 76_543)
    assert time.thread_time() - began < 0.1


def test_a_day_has_a_realistic_number_of_trades_in_clusters():
    day = 20_000 * 24
    major, minor = SHARED.listings["binance:BTC-USDT"], SHARED.listings["kraken:DOT-USD"]
    busy, quiet = SHARED.fills(major, day, 24), SHARED.fills(minor, day, 24)
    assert 10_000 < len(busy.price) < 45_000
    assert 1_500 < len(quiet.price) < 6_000
    minutes = np.bincount((quiet.time_us - day * HOUR_US) // MINUTE_US, minlength=1_440)
    assert 100 < (minutes == 0).sum() < 1_200
    assert minutes.var() > 2 * minutes.mean()  # a Poisson process would have them equal


def test_the_venues_agree_on_prices_within_half_a_percent():
    hour = START_HOUR + 50_000
    found = [
        SHARED.hour(SHARED.listings[name], hour).fills.price[0] * SHARED.listings[name].tick
        for name in ("binance:BTC-USDT", "coinbase:BTC-USD", "kraken:BTC-USD")
    ]
    assert max(found) / min(found) < 1.005


def test_another_seed_is_another_market():
    other = Simulation(2, ALL)
    name, hour = "binance:BTC-USDT", START_HOUR + 1_000
    mine, theirs = SHARED.hour(SHARED.listings[name], hour).fills, other.hour(other.listings[name], hour).fills
    assert not np.array_equal(mine.time_us[:50], theirs.time_us[:50])


def test_the_simulation_has_not_changed_since_it_was_released():
    hour = SHARED.hour(SHARED.listings["binance:BTC-USDT"], 494_000)
    assert (hour.first_trade_id, hour.first_aggregate_id, len(hour.fills.price)) == KNOWN_IDS
    assert [int(column[0]) for column in hour.fills] == KNOWN_FIRST


KNOWN_IDS = (122362015, 88068361, 1090)
KNOWN_FIRST = [1778400029967000, 5048825, 543, 0, 0]

spans = st.lists(st.tuples(st.integers(0, 6 * 3_600), st.integers(1, 3 * 3_600)), min_size=1, max_size=3)


@settings(max_examples=40, deadline=None)
@given(names, spans)
def test_nothing_trades_in_a_halt_and_ids_still_run_on(name, halted):
    base = START_HOUR + 60_000
    simulation = fresh()
    listing = simulation.listings[name]
    halts = tuple(
        Halt("*", base * HOUR_US + start * 1_000_000, base * HOUR_US + (start + length) * 1_000_000)
        for start, length in halted
    )
    before = fresh()
    simulation.set_halts(halts)
    next_id, next_aggregate = simulation.ids_before(listing, base)
    for hour in range(base, base + 11):
        found = simulation.hour(listing, hour)
        assert (found.first_trade_id, found.first_aggregate_id) == (next_id, next_aggregate)
        next_id += len(found.fills.price)
        next_aggregate += int(found.fills.aggregate[-1]) + 1 if len(found.fills.price) else 0
        for halt in halts:
            assert not ((found.fills.time_us >= halt.start_us) & (found.fills.time_us < halt.end_us)).any()
        assert (np.diff(found.fills.time_us) >= 0).all()
    first = min(halt.start_us for halt in halts)
    hour = first // HOUR_US
    kept, was = simulation.hour(listing, hour).fills, before.hour(listing, hour).fills
    earlier = int(np.searchsorted(was.time_us, first))
    assert all(np.array_equal(now[:earlier], then[:earlier]) for now, then in zip(kept, was, strict=True))


def test_whole_hours_in_a_halt_are_made_alike_alone_and_together():
    simulation = fresh()
    listing = simulation.listings["coinbase:ETH-USD"]
    base = START_HOUR + 70_000
    simulation.set_halts((Halt(listing.name, base * HOUR_US + 1_000_000, (base + 2) * HOUR_US + 5_000_000),))
    together = simulation.fills(listing, base, 4)
    apart = [simulation.hour(listing, base + n).fills for n in range(4)]
    assert np.array_equal(together.time_us, np.concatenate([part.time_us for part in apart]))
    assert simulation.is_halted(listing, (base + 1) * HOUR_US)
    assert not simulation.is_halted(simulation.listings["coinbase:BTC-USD"], (base + 1) * HOUR_US)
