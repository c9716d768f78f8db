"""A day's values are a function of the last K bars and the day: nothing else reaches them."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from md_platform.domain.indicators import (
    MAX_MEMORY_DAYS,
    REGISTRY,
    STANDARD_SET,
    Ohlcv,
    compute,
    compute_day,
    memory_days,
    parse_spec,
)
from md_platform.domain.intervals import Timeframe

EVERY = tuple(entry.bind() for entry in REGISTRY.values())
DAY_US = 86_400_000_000
DAYS = 70


@pytest.fixture(scope="session")
def quarter_hours(make_walk: Callable[..., Ohlcv]) -> Ohlcv:
    return make_walk(96 * DAYS, timeframe=Timeframe.M15)


def without(bars: Ohlcv, gone: np.ndarray) -> Ohlcv:
    kept = ~gone
    columns = {name: getattr(bars, name)[kept] for name in ("open_time", "open", "high", "low", "close", "volume")}
    return replace(bars, **columns)


def assert_same_bits(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> None:
    assert list(one) == list(other)
    for name, column in one.items():
        assert column.tobytes() == other[name].tobytes(), name


@settings(max_examples=40, deadline=None)
@given(
    day=st.integers(1, DAYS - 1),
    history=st.integers(0, DAYS),
    lost=st.sets(st.integers(0, DAYS - 1), max_size=8),
    specs=st.lists(st.sampled_from(EVERY), min_size=1, max_size=6, unique=True),
)
def test_more_history_changes_no_bit(quarter_hours, day, history, lost, specs):
    """Whole days and single bars are missing too: the memory counts bars, and stops at memory_days all the same."""
    start_us = int(quarter_hours.open_time[0]) + day * DAY_US
    gone = np.random.default_rng(day).random(len(quarter_hours)) < 0.1
    for lost_day in lost:
        gone[lost_day * 96 : (lost_day + 1) * 96] = True
    bars = without(quarter_hours, gone)
    needed = memory_days(specs, Timeframe.M15)
    enough = bars.slice(int(np.searchsorted(bars.open_time, start_us - needed * DAY_US)), len(bars))
    more = bars.slice(int(np.searchsorted(bars.open_time, start_us - (needed + history) * DAY_US)), len(bars))
    assert_same_bits(compute_day(specs, enough, start_us), compute_day(specs, more, start_us))


@pytest.mark.parametrize("spec", EVERY, ids=str)
def test_bars_before_the_memory_are_not_read(spec, make_walk):
    bars = make_walk(96 * DAYS, timeframe=Timeframe.M15)
    day = DAYS - 2
    start_us = int(bars.open_time[0]) + day * DAY_US
    expected = compute_day([spec], bars, start_us)
    for array in (bars.open, bars.high, bars.low, bars.close, bars.volume):
        array[: day * 96 - spec.memory] = np.nan
    assert_same_bits(compute_day([spec], bars, start_us), expected)


@settings(max_examples=25, deadline=None)
@given(day=st.integers(1, DAYS - 1), specs=st.lists(st.sampled_from(EVERY), min_size=1, max_size=8, unique=True))
def test_a_column_does_not_depend_on_the_others(quarter_hours, day, specs):
    start_us = int(quarter_hours.open_time[0]) + day * DAY_US
    together = compute_day(specs, quarter_hours, start_us)
    alone = {name: column for spec in specs for name, column in compute_day([spec], quarter_hours, start_us).items()}
    assert_same_bits(together, alone)


@pytest.mark.parametrize("spec", EVERY, ids=str)
def test_a_day_equals_the_whole_series(spec, quarter_hours):
    """To 1e-9 of the value or of the column's spread; cumulative ones by what they gained since midnight."""
    day = DAYS - 3
    start_us = int(quarter_hours.open_time[0]) + day * DAY_US
    rows = slice(day * 96, (day + 1) * 96)
    whole = compute([spec], quarter_hours)
    for name, column in compute_day([spec], quarter_hours, start_us).items():
        assert column.shape == (96,)
        expected, spread = whole[name][rows], np.nanstd(whole[name])
        if spec.indicator.cumulative:
            expected = expected - whole[name][rows.start - 1]
        np.testing.assert_allclose(column, expected, rtol=1e-9, atol=1e-9 * spread)


@pytest.mark.parametrize("text", ["obv", "ad"])
def test_days_of_a_cumulative_indicator_add_up(text, make_walk):
    bars = make_walk(6 * 24, timeframe=Timeframe.H1)
    spec = parse_spec(text)
    (whole,) = spec.evaluate(bars)
    carried, days = 0.0, []
    for day in range(6):
        (column,) = compute_day([spec], bars, int(bars.open_time[0]) + day * DAY_US).values()
        days.append(carried + column)
        carried += column[-1]
    np.testing.assert_allclose(np.concatenate(days), whole, rtol=1e-9, atol=1e-6)


def test_on_daily_bars_cumulative_indicators_restart_each_year(make_walk):
    bars = make_walk(400, timeframe=Timeframe.D1)  # from 2024-01-01, a leap year
    (whole,) = parse_spec("obv").evaluate(bars)
    for day, expected in ((365, whole[365]), (366, whole[366] - whole[365]), (390, whole[390] - whole[365])):
        (column,) = compute_day([parse_spec("obv")], bars, int(bars.open_time[day])).values()
        np.testing.assert_allclose(column, [expected], rtol=1e-9)


def test_returns_the_rows_of_the_day_only(quarter_hours):
    start_us = int(quarter_hours.open_time[0]) + 20 * DAY_US
    ends_early = quarter_hours.slice(0, 20 * 96 + 40)
    for window, rows in ((quarter_hours, 96), (ends_early, 40), (quarter_hours.slice(0, 20 * 96), 0)):
        values = compute_day(STANDARD_SET, window, start_us)
        assert {column.shape for column in values.values()} == {(rows,)}
        assert len(values) == 25


def test_the_first_day_warms_up(quarter_hours):
    values = compute_day(STANDARD_SET, quarter_hours, int(quarter_hours.open_time[0]))
    for spec in STANDARD_SET:
        for name in spec.columns:
            assert np.isnan(values[name]).sum() == spec.lookback


@pytest.mark.parametrize(
    ("text", "timeframe", "days"),
    [
        ("sma(20)", "1m", 1),
        ("ema(200)", "1m", 2),
        ("vwap", "1m", 0),
        ("obv", "1h", 1),
        ("rsi(14)", "1h", 15),
        ("rsi(14)", "1d", 337),
        ("ema(200)", "1d", MAX_MEMORY_DAYS),
        ("obv", "1d", 367),
        ("mom(10)", "1w", 70),
        ("mom(10)", "1M", 310),
    ],
)
def test_memory_days_cover_the_memory(text, timeframe, days):
    assert memory_days([parse_spec(text)], Timeframe.parse(timeframe)) == days


def test_memory_days_of_a_set_and_of_a_market_that_closes():
    assert memory_days([], Timeframe.M1) == 0
    assert memory_days(STANDARD_SET, Timeframe.M1) == 1
    assert memory_days(STANDARD_SET, Timeframe.D1) == MAX_MEMORY_DAYS
    in_sessions = 252 * 390  # minutes that New York trades in a year
    assert memory_days([parse_spec("rsi(14)")], Timeframe.M1, in_sessions) == 2 + 10
    assert memory_days([parse_spec("vwap")], Timeframe.M1, in_sessions) == 0


def test_memory_stops_at_the_cap(make_walk):
    bars = make_walk(1_000, timeframe=Timeframe.D1)
    spec = parse_spec("ema(200)")
    assert spec.memory > MAX_MEMORY_DAYS
    (column,) = compute_day([spec], bars, int(bars.open_time[900])).values()
    (capped,) = spec.evaluate(bars.slice(900 - MAX_MEMORY_DAYS, 901))
    assert column[0] == capped[-1]
