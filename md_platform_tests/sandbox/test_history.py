"""History: bars are made of the trades, pages meet, nothing shows from the future."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from md_platform.domain.intervals import Timeframe
from md_platform.sandbox.history import History, close_of, open_of
from md_platform.sandbox.listings import listings
from md_platform.sandbox.live import running_bar
from md_platform.sandbox.prices import HOUR_US, START_HOUR
from md_platform.sandbox.simulation import Simulation

HISTORY = History(Simulation(1, listings()))
LISTINGS = HISTORY.simulation.listings
NOW_US = (START_HOUR + 80_000) * HOUR_US + 1_234_567_890
names = st.sampled_from(sorted(LISTINGS))
nows = st.integers((START_HOUR + 48) * HOUR_US, (START_HOUR + 200_000) * HOUR_US)
short = st.sampled_from([Timeframe.S1, Timeframe.M1, Timeframe.M5, Timeframe.M15, Timeframe.H1, Timeframe.H4])


def by_hand(listing, trades):
    prices = [listing.price(trade.price_ticks) for trade in trades]
    sizes = [listing.size(trade.lots) for trade in trades]
    bought = [size for trade, size in zip(trades, sizes, strict=True) if trade.is_buy]
    value = sum(price * size for price, size in zip(prices, sizes, strict=True))
    return (prices[0], max(prices), min(prices), prices[-1]), sum(sizes), value, len(trades), sum(bought)


@settings(max_examples=40, deadline=None)
@given(names, nows, short)
def test_a_bar_is_its_trades_running_or_closed(name, now_us, timeframe):
    listing = LISTINGS[name]
    for opens in (open_of(timeframe, open_of(timeframe, now_us - 1) - 1), open_of(timeframe, now_us - 1)):
        closes = close_of(timeframe, opens)
        trades = HISTORY.trades(listing, opens, min(closes, now_us))
        bars = HISTORY.bars(listing, timeframe, opens, closes, now_us)
        assert len(bars) == bool(trades)
        if trades:
            prices, volume, value, count, bought = by_hand(listing, trades)
            bar = bars[0]
            assert (bar.open, bar.high, bar.low, bar.close) == prices
            assert bar.trades == count
            assert bar.volume == pytest.approx(volume, rel=1e-12)
            assert bar.quote_volume == pytest.approx(value, rel=1e-9)
            assert bar.buy_volume == pytest.approx(bought, rel=1e-12, abs=1e-12)


@settings(max_examples=25, deadline=None)
@given(names, nows, short)
def test_the_streamed_bar_is_the_bar_of_history(name, now_us, timeframe):
    listing = LISTINGS[name]
    opens = open_of(timeframe, now_us - 1)
    found = HISTORY.bars(listing, timeframe, opens, close_of(timeframe, opens), now_us)
    running = running_bar(HISTORY, listing, timeframe, now_us)
    assert (running is None) == (not found)
    if running is not None:
        assert running[:6] == found[0][:6]
        assert running == pytest.approx(found[0], rel=1e-12)


@pytest.mark.parametrize("timeframe", [Timeframe.D1, Timeframe.W1, Timeframe.MONTH1])
def test_long_bars_add_up_from_hours(timeframe):
    listing = LISTINGS["binance:LTC-BTC"]
    start_us = open_of(timeframe, NOW_US - 40 * 24 * HOUR_US)
    end_us = close_of(timeframe, start_us)
    hours = HISTORY.bars(listing, Timeframe.H1, start_us, end_us, NOW_US)
    (bar,) = HISTORY.bars(listing, timeframe, start_us, end_us, NOW_US)
    assert (bar.open, bar.close) == (hours[0].open, hours[-1].close)
    assert (bar.high, bar.low) == (max(h.high for h in hours), min(h.low for h in hours))
    assert bar.trades == sum(h.trades for h in hours)
    assert bar.volume == pytest.approx(sum(h.volume for h in hours), rel=1e-12)
    assert running_bar(HISTORY, listing, timeframe, end_us) == pytest.approx(bar, rel=1e-12)


def test_filled_bars_leave_no_gap_and_carry_the_last_price():
    listing = LISTINGS["kraken:LTC-BTC"]
    start_us = NOW_US - 6 * HOUR_US
    bars = HISTORY.filled_bars(listing, Timeframe.M1, start_us, NOW_US, NOW_US)
    assert all(left.close_us == right.open_us for left, right in pairwise(bars))
    empty = [(left, bar) for left, bar in pairwise(bars) if bar.trades == 0]
    assert len(empty) > 50
    assert all(bar[2:6] == (left.close,) * 4 and bar.volume == 0 for left, bar in empty)
    first = HISTORY.last_price(listing, bars[0].open_us)
    assert bars[0].trades or bars[0].open == first


def test_nothing_is_listed_before_2017():
    listing = LISTINGS["coinbase:BTC-USD"]
    assert (
        HISTORY.filled_bars(listing, Timeframe.H1, 0, (START_HOUR + 2) * HOUR_US, NOW_US)[0].open_us
        == START_HOUR * HOUR_US
    )
    assert HISTORY.trades(listing, 0, START_HOUR * HOUR_US) == []
    assert HISTORY.trades_from(listing, 0, 1, NOW_US)[0].time_us >= START_HOUR * HOUR_US


@settings(max_examples=25, deadline=None)
@given(names, nows, st.integers(1, 700))
def test_pages_by_id_and_by_time_meet(name, now_us, limit):
    listing = LISTINGS[name]
    last = HISTORY.last_trades(listing, limit, now_us)
    assert len(last) == limit
    assert [trade.id for trade in last] == list(range(last[0].id, last[0].id + limit))
    assert last[-1].time_us < now_us
    assert HISTORY.trades_from(listing, last[0].id, limit, now_us) == last
    assert HISTORY.trades(listing, last[-1].time_us, now_us)[-1] == last[-1]
    assert HISTORY.id_at(listing, now_us) == last[-1].id + 1


@settings(max_examples=25, deadline=None)
@given(names, nows, st.integers(1, 300))
def test_aggregates_cover_every_trade_once(name, now_us, limit):
    listing = LISTINGS[name]
    rows = HISTORY.last_aggregates(listing, limit, now_us)
    assert len(rows) == limit
    assert [row.id for row in rows] == list(range(rows[0].id, rows[0].id + limit))
    assert all(left.last_id + 1 == right.first_id for left, right in pairwise(rows))
    assert HISTORY.aggregates_from(listing, rows[0].id, limit, now_us) == rows
    fills = HISTORY.trades_from(listing, rows[0].first_id, rows[-1].last_id - rows[0].first_id + 1, now_us)
    assert sum(fill.lots for fill in fills) == sum(row.lots for row in rows)
    assert {fill.aggregate_id for fill in fills} == {row.id for row in rows}


def test_day_statistics_cover_24_hours():
    listing = LISTINGS["binance:ETH-USDT"]
    stats = HISTORY.day_stats(listing, NOW_US)
    assert stats.bar.trades == stats.last_id - stats.first_id + 1
    assert stats.bar.low <= stats.bar.close <= stats.bar.high
