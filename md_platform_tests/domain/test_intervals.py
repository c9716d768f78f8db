"""The time grid: half-open bars that tile time without a seam, and times as users and files write them."""

import datetime as dt
import itertools
import zoneinfo

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from md_platform.domain.intervals import (
    DAY,
    UTC,
    Interval,
    Timeframe,
    epoch_to_ns,
    epoch_unit,
    parse_interval,
    parse_time,
)
from md_platform.errors import InvalidRange, InvalidTimeframe

instants = (
    st.integers(31_536_000, 4_070_908_800)
    .map(lambda second: dt.datetime.fromtimestamp(second, UTC))
    .flatmap(lambda instant: st.integers(0, 999_999).map(lambda us: instant.replace(microsecond=us)))
)
timeframes = st.sampled_from(list(Timeframe))
NOW = dt.datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


def utc(text):
    return dt.datetime.fromisoformat(text).replace(tzinfo=UTC)


@given(instants, timeframes)
def test_every_instant_lies_in_exactly_one_bar(instant, timeframe):
    opened = timeframe.open_time(instant)
    closed = timeframe.close_time(opened)
    assert opened <= instant < closed
    assert timeframe.open_time(opened) == opened
    assert timeframe.open_time(closed) == closed
    assert timeframe.open_time(closed - dt.timedelta(microseconds=1)) == opened


@given(instants, timeframes)
def test_polars_truncates_to_the_same_grid(instant, timeframe):
    column = pl.Series([instant], dtype=pl.Datetime("us", "UTC")).dt.truncate(timeframe.polars_every)
    assert column.item() == timeframe.open_time(instant)


@pytest.mark.parametrize(
    ("timeframe", "instant", "opened", "closed"),
    [
        ("1s", "2024-01-01T00:00:00.999999", "2024-01-01T00:00:00", "2024-01-01T00:00:01"),
        ("15m", "2024-01-01T13:14:59", "2024-01-01T13:00", "2024-01-01T13:15"),
        ("4h", "2024-01-01T23:59", "2024-01-01T20:00", "2024-01-02T00:00"),
        ("1d", "2024-02-29T12:00", "2024-02-29", "2024-03-01"),
        ("1w", "2024-01-01T00:00", "2024-01-01", "2024-01-08"),  # a Monday
        ("1w", "2023-12-31T23:59", "2023-12-25", "2024-01-01"),  # a Sunday
        ("1M", "2024-02-29T23:59", "2024-02-01", "2024-03-01"),
        ("1M", "2023-02-28T23:59", "2023-02-01", "2023-03-01"),
        ("1M", "2024-12-31T23:59", "2024-12-01", "2025-01-01"),
    ],
)
def test_known_bars(timeframe, instant, opened, closed):
    frame = Timeframe.parse(timeframe)
    assert frame.open_time(utc(instant)) == utc(opened)
    assert frame.close_time(utc(opened)) == utc(closed)


def test_a_minute_and_a_month_are_told_apart_by_case():
    assert Timeframe.parse("1m").seconds == 60
    assert Timeframe.parse("1M").seconds is None


@pytest.mark.parametrize("text", ["", "1", "1D", "1min", "60", "2h", "1mo"])
def test_another_timeframe_is_refused_with_those_there_are(text):
    with pytest.raises(InvalidTimeframe, match=r"1s 1m 5m 15m 30m 1h 4h 1d 1w 1M, was"):
        Timeframe.parse(text)


def test_an_interval_holds_its_start_and_not_its_end():
    interval = Interval(utc("2024-01-01"), utc("2024-01-02"))
    assert interval.start in interval
    assert interval.end - dt.timedelta(microseconds=1) in interval
    assert interval.end not in interval


@given(instants, st.timedeltas(dt.timedelta(microseconds=1), dt.timedelta(days=40)))
def test_the_days_of_an_interval_are_those_that_it_touches(start, length):
    interval = Interval(start, start + length)
    days = interval.days()
    assert all(after - before == DAY for before, after in itertools.pairwise(days))
    assert interval.start in Interval.day(days[0])
    assert interval.end - dt.timedelta(microseconds=1) in Interval.day(days[-1])


@pytest.mark.parametrize(
    ("start", "end", "said"),
    [
        (utc("2024-01-02"), utc("2024-01-01"), "end must be after start"),
        (utc("2024-01-01"), utc("2024-01-01"), "end must be after start"),
        (dt.datetime(2024, 1, 1), utc("2024-01-02"), "start must be a UTC time"),  # noqa: DTZ001 - what is refused
        (utc("2024-01-01"), dt.datetime(2024, 6, 1, tzinfo=zoneinfo.ZoneInfo("Europe/Zurich")), "end must be a UTC"),
    ],
)
def test_an_empty_or_local_interval_is_refused(start, end, said):
    with pytest.raises(InvalidRange, match=said):
        Interval(start, end)


@pytest.mark.parametrize(
    "text",
    ["2024-02-29", "2024-02-29T00:00", "2024-02-29T00:00:00Z", "2024-02-29T01:00:00+01:00", "20240229",
     "1709164800", "1709164800000", "1709164800000000", "1709164800000000000"],
)  # fmt: skip
def test_iso_and_the_four_epochs_name_the_same_instant(text):
    assert parse_time(text) == utc("2024-02-29")


@given(st.integers(631_152_000, 4_102_444_799))
def test_any_second_of_1990_to_2099_is_understood_in_every_unit(second):
    instant = dt.datetime.fromtimestamp(second, UTC)
    for unit, factor in (("s", 1), ("ms", 10**3), ("us", 10**6), ("ns", 10**9)):
        assert epoch_unit(second * factor) == unit
        assert epoch_unit(second * factor + factor - 1) == unit
        assert epoch_to_ns(second * factor) == second * 10**9
        assert parse_time(str(second * factor)) == instant


def test_the_switch_of_binance_files_from_ms_to_us():
    before, after = 1735689540000, 1735689600000000  # open times of the last row of 2024 and the first of 2025
    assert (epoch_unit(before), epoch_unit(after)) == ("ms", "us")
    assert epoch_to_ns(after) - epoch_to_ns(before) == 60 * 10**9


@pytest.mark.parametrize("value", [0, -1, 631_151_999, 4_102_444_800, 4_102_444_800_000_000_000, 10**19])
def test_an_epoch_outside_of_1990_to_2100_is_no_guess(value):
    with pytest.raises(InvalidRange, match=f"was {value}"):
        epoch_unit(value)


@pytest.mark.parametrize(
    "text",
    ["", "yesterday", "2024-13-01", "2023-02-29", "1e9", "12345678901234567890", "9999-12-31T23:59-12:00",
     "0001-01-01T00:00+12:00"],
)  # fmt: skip
def test_an_unreadable_time_is_refused_by_its_name(text):
    with pytest.raises(InvalidRange, match="start must") as error:
        parse_time(text, name="start")
    assert repr(text) in str(error.value)


def test_a_range_may_end_now_and_not_later():
    assert parse_interval("2026-11-19", "2026-11-20T12:00", now=NOW).end == NOW
    with pytest.raises(InvalidRange, match=r"future, was 2026-11-20T12:00:01.*now is 2026-11-20T12:00"):
        parse_interval("2026-11-19", "2026-11-20T12:00:01", now=NOW)
    with pytest.raises(InvalidRange, match="end must be after start"):
        parse_interval("2026-11-19", "2026-11-18", now=NOW)
