"""Trading hours as the exchanges published them: holidays, early closes, summer time, lunch, nights over midnight."""

import datetime as dt

import pytest

from md_platform.domain.calendars import ALWAYS_OPEN, bars_per_year, expected_open_times, is_session, trading_periods
from md_platform.domain.intervals import UTC, Interval, Timeframe
from md_platform.errors import InvalidRange, InvalidSetting


def day(text):
    return dt.date.fromisoformat(text)


def hours(calendar, date):
    return [f"{period.start:%H:%M}-{period.end:%H:%M}" for period in trading_periods(calendar, day(date))]


@pytest.mark.parametrize(
    ("calendar", "date", "open_hours"),
    [
        ("XNYS", "2023-11-22", ["14:30-21:00"]),
        ("XNYS", "2023-11-23", []),  # Thanksgiving
        ("XNYS", "2023-11-24", ["14:30-18:00"]),  # the day after: closes at 13:00 in New York
        ("XNYS", "2023-11-25", []),  # Saturday
        ("XNYS", "2024-03-08", ["14:30-21:00"]),  # last day of winter time
        ("XNYS", "2024-03-11", ["13:30-20:00"]),  # first day of summer time
        ("XNYS", "1990-01-02", ["14:30-21:00"]),  # the first day of the calendar
        ("XHKG", "2024-01-02", ["01:30-04:00", "05:00-08:00"]),  # lunch
        ("XTKS", "2024-01-04", ["00:00-02:30", "03:30-06:00"]),  # opens at midnight UTC
        ("XTKS", "2024-11-05", ["00:00-02:30", "03:30-06:30"]),  # longer since that day
        ("XASX", "2024-01-03", ["00:00-05:00", "23:00-00:00"]),  # Sydney's Wednesday ends, its Thursday begins
        ("XASX", "2024-01-07", ["23:00-00:00"]),  # Sunday in UTC
        ("XASX", "2024-01-05", ["00:00-05:00"]),  # Friday: nothing follows
        ("24/7", "2023-11-25", ["00:00-00:00"]),
    ],
)
def test_open_hours(calendar, date, open_hours):
    assert hours(calendar, date) == open_hours
    assert is_session(calendar, day(date)) == bool(open_hours)


@pytest.mark.parametrize(
    ("calendar", "timeframe", "date", "count", "first", "last"),
    [
        ("24/7", "1s", "2024-02-29", 86_400, "00:00:00", "23:59:59"),
        ("24/7", "1m", "2024-02-29", 1_440, "00:00:00", "23:59:00"),
        ("24/7", "4h", "2024-02-29", 6, "00:00:00", "20:00:00"),
        ("24/7", "1d", "2024-02-29", 1, "00:00:00", "00:00:00"),
        ("XNYS", "1m", "2023-11-22", 390, "14:30:00", "20:59:00"),
        ("XNYS", "1m", "2023-11-24", 210, "14:30:00", "17:59:00"),
        ("XNYS", "1h", "2023-11-22", 7, "14:00:00", "20:00:00"),  # 14:00 holds the first half hour
        ("XNYS", "1d", "2023-11-22", 1, "00:00:00", "00:00:00"),
        ("XHKG", "1m", "2024-01-02", 330, "01:30:00", "07:59:00"),
        ("XHKG", "5m", "2024-01-02", 66, "01:30:00", "07:55:00"),
        ("XHKG", "4h", "2024-01-02", 2, "00:00:00", "04:00:00"),
        ("XASX", "1m", "2024-01-03", 360, "00:00:00", "23:59:00"),
        ("XASX", "4h", "2024-01-03", 3, "00:00:00", "20:00:00"),
    ],
)
def test_expected_bars(calendar, timeframe, date, count, first, last):
    times = expected_open_times(calendar, Timeframe.parse(timeframe), day(date))
    assert len(times) == times.n_unique() == count
    assert times.is_sorted()
    assert (f"{times[0]:%H:%M:%S}", f"{times[-1]:%H:%M:%S}") == (first, last)
    assert all(moment in Interval.day(day(date)) for moment in times.to_list())


def test_nothing_is_expected_of_a_holiday():
    assert expected_open_times("XNYS", Timeframe.M1, day("2023-11-23")).is_empty()


def test_no_bar_is_expected_over_lunch():
    times = expected_open_times("XHKG", Timeframe.M1, day("2024-01-02")).to_list()
    lunch = Interval(dt.datetime(2024, 1, 2, 4, tzinfo=UTC), dt.datetime(2024, 1, 2, 5, tzinfo=UTC))
    assert not [moment for moment in times if moment in lunch]


def test_a_week_is_expected_to_open_on_its_monday():
    assert expected_open_times(ALWAYS_OPEN, Timeframe.W1, day("2024-01-03")).to_list() == [
        dt.datetime(2024, 1, 1, tzinfo=UTC)
    ]


@pytest.mark.parametrize("name", ["", "NYSE2", "always"])
def test_an_unknown_calendar_is_refused(name):
    with pytest.raises(InvalidSetting, match="24/7 or an exchange_calendars name"):
        trading_periods(name, day("2024-01-02"))


@pytest.mark.parametrize("date", ["1989-12-29", "2100-01-04"])
def test_a_day_beyond_the_calendar_is_said_to_be(date):
    with pytest.raises(InvalidRange, match=f"XNYS is known from 1990-01-02 to .*{date}"):
        trading_periods("XNYS", day(date))


@pytest.mark.parametrize(
    ("timeframe", "count"), [("1d", 250), ("1m", 250 * 390), ("1h", 250 * 7), ("1w", 50), ("1M", 250 / 21)]
)
def test_bars_of_a_year_in_new_york(timeframe, count):
    assert bars_per_year("XNYS", Timeframe.parse(timeframe)) == pytest.approx(count)  # 2023 had 250 sessions


def test_a_market_that_never_closes_has_no_count_of_its_own():
    assert bars_per_year(ALWAYS_OPEN, Timeframe.M1) is None
