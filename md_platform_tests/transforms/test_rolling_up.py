"""Resampling: every timeframe at once, days apart, sources apart; weeks and months from days."""

import datetime as dt
import math

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from md_platform.domain.bars import roll_up
from md_platform.domain.intervals import INTRADAY_ROLL_UPS, UTC, Timeframe
from md_platform.domain.schemas import RESAMPLED_BARS
from md_platform.transforms.resampled import resample, roll_up_days
from md_platform_tests.rows import DAY0, bar, bar_rows, daily, day_of_bars

DATE = dt.date(2024, 2, 28)
UNTIL = dt.datetime(2024, 3, 1, tzinfo=UTC)


def test_a_whole_day_fills_every_timeframe():
    bars = resample(day_of_bars(DATE), UNTIL)
    assert bars.schema == RESAMPLED_BARS.schema
    assert bars["timeframe"].value_counts(sort=False).sort("count").rows() == [
        ("1d", 1), ("4h", 6), ("1h", 24), ("30m", 48), ("15m", 96), ("5m", 288),
    ]  # fmt: skip
    assert bars["timeframe"].unique(maintain_order=True).to_list() == ["5m", "15m", "30m", "1h", "4h", "1d"]
    assert bars["is_closed"].all()


@given(st.sets(st.integers(0, 2 * 1_440 - 1), min_size=1, max_size=60))
def test_the_cascade_equals_each_timeframe_by_itself(minutes):
    bars = bar_rows(bar(n, 10.0 + n % 13) for n in sorted(minutes))
    cascade = resample(bars, UNTIL)
    for timeframe in INTRADAY_ROLL_UPS:
        of_timeframe = cascade.filter(pl.col("timeframe") == timeframe.value)
        direct = roll_up(bars.lazy(), timeframe, UNTIL).collect()
        assert_frame_equal(of_timeframe, direct, rel_tol=1e-12, abs_tol=1e-12)


def test_an_outage_leaves_no_bars_and_thins_those_around_it():
    present = [*range(29), *range(600, 1_440)]
    bars = resample(day_of_bars(DATE, present, trade_count=1), UNTIL)
    hours = bars.filter(pl.col("timeframe") == "1h")
    assert hours["open_time"].dt.hour().to_list() == [0, *range(10, 24)]
    assert hours["trade_count"].to_list() == [29, *[60] * 14]


def test_days_are_resampled_together_as_one_by_one():
    days = [DATE, DATE + dt.timedelta(days=1)]
    together = resample(pl.concat([day_of_bars(date, range(0, 1_440, 7)) for date in days]), UNTIL)
    apart = pl.concat([resample(day_of_bars(date, range(0, 1_440, 7)), UNTIL) for date in days])
    keys = ["timeframe", "open_time"]
    assert together.sort(keys).equals(apart.sort(keys))


def test_sources_that_change_within_a_range_are_not_mixed():
    first = day_of_bars(DATE, range(60), source="binance")
    second = day_of_bars(DATE, range(60, 90), source="import")
    bars = resample(pl.concat([first, second]), UNTIL).filter(pl.col("timeframe") == "1d")
    assert bars.select("source", "volume").rows() == [("binance", 240.0), ("import", 120.0)]


def test_nothing_resamples_to_nothing():
    assert resample(bar_rows([]), UNTIL).is_empty()


def test_a_week_runs_from_monday_to_sunday():
    week = roll_up_days(bar_rows(daily(n, 10.0 + n) for n in range(9)), Timeframe.W1, DAY0 + dt.timedelta(days=9))
    assert week.select("open_time", "close_time", "open", "close", "volume", "is_closed").rows() == [
        (DAY0, DAY0 + dt.timedelta(days=7), 10.0, 16.0, 28.0, True),
        (DAY0 + dt.timedelta(days=7), DAY0 + dt.timedelta(days=14), 17.0, 18.0, 8.0, False),
    ]


@pytest.mark.parametrize(("days", "closed"), [(6, False), (7, True)])
def test_a_week_is_provisional_until_its_sunday_is_over(days, closed):
    bars = roll_up_days(bar_rows(daily(n) for n in range(6)), Timeframe.W1, DAY0 + dt.timedelta(days=days))
    assert bars["is_closed"].to_list() == [closed]


def test_months_end_where_the_calendar_says():
    days = range(-31, 10)  # 26 January to 6 March of a leap year
    months = roll_up_days(bar_rows(daily(n) for n in days), Timeframe.MONTH1, dt.datetime(2024, 3, 7, tzinfo=UTC))
    assert [f"{row:%m-%d}" for row in months["open_time"]] == ["01-01", "02-01", "03-01"]
    assert [f"{row:%m-%d}" for row in months["close_time"]] == ["02-01", "03-01", "04-01"]
    assert months["volume"].to_list() == [4.0 * 6, 4.0 * 29, 4.0 * 6]
    assert months["is_closed"].to_list() == [True, True, False]
    assert set(months["timeframe"]) == {"1M"}


def test_a_revised_day_makes_the_week_a_new_revision():
    before = roll_up_days(bar_rows(daily(n) for n in range(7)), Timeframe.W1, UNTIL)
    revised = [daily(n, revision=int(n == 3), known_at=UNTIL if n == 3 else DAY0) for n in range(7)]
    after = roll_up_days(bar_rows(revised), Timeframe.W1, UNTIL)
    assert (before["revision"].item(), after["revision"].item()) == (0, 1)
    assert after["known_at"].item() == UNTIL


def test_a_week_whose_days_came_from_two_sources_names_the_newest():
    bars = bar_rows([daily(0, source="binance"), daily(1, source="import")])
    assert roll_up_days(bars, Timeframe.W1, UNTIL)["source"].to_list() == ["import"]


def test_sums_of_a_month_keep_nine_digits():
    days = [daily(n, volume=0.1 + n * 1e-9, quote_volume=1e9 + n) for n in range(3, 34)]
    march = roll_up_days(bar_rows(days), Timeframe.MONTH1, UNTIL).row(1, named=True)
    of_march = [row for row in days if row["open_time"].month == 3]
    assert march["volume"] == pytest.approx(math.fsum(row["volume"] for row in of_march), rel=1e-12)
    assert march["quote_volume"] == pytest.approx(math.fsum(row["quote_volume"] for row in of_march), rel=1e-12)
