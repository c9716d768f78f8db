"""Indicator values by day: the same whatever else is computed beside them, and those of the registry."""

import datetime as dt

import numpy as np
import polars as pl
import pytest

from md_platform.domain.indicators import STANDARD_SET, Ohlcv, compute_day, parse_spec
from md_platform.domain.intervals import DAY, UTC, Interval, Timeframe
from md_platform.transforms.indicators import INDICATOR_TIMEFRAMES, indicator_values
from md_platform.transforms.resampled import resample
from md_platform_tests.rows import BTC, day_of_bars

FIRST = dt.date(2024, 2, 26)
DATES = [FIRST + n * DAY for n in range(5)]
WANTED = DATES[2:]
SPECS = [parse_spec(text) for text in ("sma(20)", "ema(20)", "rsi(14)", "obv", "vwap", "macd(12,26,9)")]


@pytest.fixture(scope="module")
def windows():
    """Five days with an outage on the fourth, as the asset reads them."""
    outage = range(300, 900)
    minutes = pl.concat([
        day_of_bars(date, [n for n in range(1_440) if date != DATES[3] or n not in outage]) for date in DATES
    ])  # fmt: skip
    resampled = resample(minutes, dt.datetime(2024, 3, 10, tzinfo=UTC))
    return {
        timeframe: Ohlcv.from_frame(
            minutes if timeframe is Timeframe.M1 else resampled.filter(pl.col("timeframe") == timeframe.value),
            timeframe=timeframe,
        )
        for timeframe in INDICATOR_TIMEFRAMES
    }


def test_a_day_computed_alone_is_bit_for_bit_the_day_computed_among_others(windows):
    together = dict(indicator_values(BTC, windows, SPECS, WANTED))
    assert list(together) == WANTED
    for date in WANTED:
        ((only, alone),) = indicator_values(BTC, windows, SPECS, [date])
        assert only == date
        assert alone.equals(together[date])


def test_history_beyond_the_look_back_changes_nothing(windows):
    enough = {
        timeframe: window.slice(int(np.searchsorted(window.open_time, start_us(DATES[2]))), len(window))
        for timeframe, window in windows.items()
    }
    ((_, more),) = indicator_values(BTC, windows, SPECS, DATES[4:])
    ((_, less),) = indicator_values(BTC, enough, SPECS, DATES[4:])
    minutes = pl.col("timeframe") == "1m"  # two days before hold all that these look back on in minutes
    assert less.filter(minutes).equals(more.filter(minutes))


def test_values_are_those_of_the_registry(windows):
    for date, frame in indicator_values(BTC, windows, STANDARD_SET, WANTED):
        for timeframe, window in windows.items():
            rows = frame.filter(pl.col("timeframe") == timeframe.value)
            for name, column in compute_day(STANDARD_SET, window, start_us(date)).items():
                np.testing.assert_array_equal(rows[name].to_numpy(), column)


def test_every_bar_of_the_day_has_its_row_and_no_other(windows):
    for date, frame in indicator_values(BTC, windows, SPECS, WANTED):
        assert set(frame["instrument"]) == {BTC}
        assert frame["timeframe"].unique(maintain_order=True).to_list() == [tf.value for tf in INDICATOR_TIMEFRAMES]
        for timeframe, window in windows.items():
            times = frame.filter(pl.col("timeframe") == timeframe.value)["open_time"]
            inside = [moment for moment in bar_times(window) if moment in Interval.day(date)]
            assert times.to_list() == inside
    sizes = [frame.height for _, frame in indicator_values(BTC, windows, SPECS, WANTED)]
    assert sizes[1] < sizes[0]  # an outage has no values


def test_a_day_without_bars_has_no_values(windows):
    ((_, frame),) = indicator_values(BTC, windows, SPECS, [DATES[-1] + 30 * DAY])
    assert frame.is_empty()
    assert frame.columns[:4] == ["instrument", "timeframe", "open_time", "sma_20"]


def test_values_are_absent_while_an_average_warms_up(windows):
    ((_, frame),) = indicator_values(BTC, windows, [parse_spec("sma(20)")], DATES[:1])
    averages = frame.filter(pl.col("timeframe") == "1m")["sma_20"]
    closes = windows[Timeframe.M1].close
    assert averages.is_nan().sum() == 19
    assert averages[19] == pytest.approx(closes[:20].mean(), rel=1e-12)
    assert averages[1_439] == pytest.approx(closes[1_420:1_440].mean(), rel=1e-12)


def start_us(date):
    return int(Interval.day(date).start.timestamp()) * 1_000_000


def bar_times(window):
    return [dt.datetime.fromtimestamp(us / 1e6, UTC) for us in window.open_time]
