"""Live bars of 1w and 1M against batch's, from days before the process and days of its own."""

import datetime as dt
from collections.abc import Sequence

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from md_platform.domain.events import Bar, Trade
from md_platform.domain.intervals import UTC, Interval, Timeframe
from md_platform.domain.live_bars import MINUTE_NS, LiveBars
from md_platform.domain.live_cascade import DAY_NS
from md_platform.domain.schemas import RAW_BARS
from md_platform.transforms.resampled import roll_up_days
from md_platform_tests.streamed import streamed

LTC = "sandbox:LTC-USDT"
MONTH = dt.datetime(2024, 4, 1, tzinfo=UTC)  # a Monday, so that its first week and the month open together
ONE_DAY = dt.timedelta(days=1)
LONG = [Timeframe.W1.value, Timeframe.MONTH1.value]


def ns(instant: dt.datetime) -> int:
    return int(instant.timestamp()) * 1_000_000_000


def trades(first: dt.datetime, days: int) -> list[Trade]:
    """A few minutes of each day."""
    opened = [first + n * ONE_DAY for n in range(days)]
    return [each for at in opened for each in streamed(LTC, Interval(at, at + dt.timedelta(minutes=30)))]


def closed(bars: LiveBars, *timeframes: str) -> list[Bar]:
    return [bar for bar in bars.closed() if bar.timeframe in timeframes]


def frame(bars: Sequence[Bar]) -> pl.DataFrame:
    moments = ("open_time", "close_time", "known_at")
    rows = [
        {name: getattr(bar, name) for name in RAW_BARS.schema}
        | {name: dt.datetime.fromtimestamp(getattr(bar, name) // 1_000 / 1e6, UTC) for name in moments}
        for bar in bars
    ]
    return pl.DataFrame(rows, schema=RAW_BARS.schema, orient="row").sort("open_time")


def never_stopped(until: dt.datetime) -> tuple[list[Bar], list[Bar]]:
    """Days, and weeks and months, of a process that streamed from the first of the month."""
    bars = LiveBars(LTC, complete_since_ns=ns(MONTH))
    bars.add_all(trades(MONTH, (until - MONTH).days))
    bars.advance(ns(until) + DAY_NS)
    found = closed(bars, "1d", *LONG)
    return [bar for bar in found if bar.timeframe == "1d"], [bar for bar in found if bar.timeframe in LONG]


def test_weeks_and_months_are_those_of_batch() -> None:
    until = dt.datetime(2024, 5, 6, tzinfo=UTC)
    days, found = never_stopped(until)
    assert len(days) == 35
    for timeframe, count in ((Timeframe.W1, 5), (Timeframe.MONTH1, 1)):
        mine = frame([bar for bar in found if bar.timeframe == timeframe.value])
        batch = roll_up_days(frame(days), timeframe, until).filter("is_closed")
        assert mine.height == count
        assert_frame_equal(mine, batch, rel_tol=1e-9, abs_tol=0)


@pytest.mark.parametrize("stop", range(1, 32, 5))
def test_a_process_begun_within_a_week_and_month_has_their_earlier_days_from_history(stop: int) -> None:
    until = dt.datetime(2024, 5, 6, tzinfo=UTC)
    days, expected = never_stopped(until)
    begun = MONTH + stop * ONE_DAY
    again = LiveBars(LTC, complete_since_ns=ns(begun))
    again.resume([day for day in days if day.open_time < ns(begun)], [], ns(begun), ns(begun))
    again.add_all(trades(begun, (until - begun).days))
    again.advance(ns(until) + DAY_NS)
    found = closed(again, *LONG)
    assert found == [bar for bar in expected if bar.close_time > ns(begun)]


def test_a_week_of_which_a_day_is_unknown_is_not_published_until_that_is_repaired() -> None:
    until = MONTH + 8 * ONE_DAY
    days, _ = never_stopped(MONTH + 7 * ONE_DAY)
    begun = MONTH + 3 * ONE_DAY
    bars = LiveBars(LTC, complete_since_ns=ns(begun))
    bars.resume([days[0], days[2]], [], ns(begun), ns(begun))
    bars.add_all(trades(begun, 1))
    running = {bar.timeframe: bars.is_whole(bar) for bar in bars.running()}
    assert running["1w"] is running["1M"] is False
    bars.add_all(trades(begun + ONE_DAY, 4))
    bars.advance(ns(until))
    assert closed(bars, *LONG) == []
    assert bars.incomplete(Timeframe.W1) == [ns(MONTH)]
    second = MONTH + ONE_DAY
    history = LiveBars(LTC, complete_since_ns=ns(second))
    history.add_all(trades(second, 1))
    history.advance(ns(second) + DAY_NS)
    bars.repair(closed(history, "1m"), ns(second), ns(second) + DAY_NS)
    (week,) = closed(bars, *LONG)
    assert (week.open_time, week.volume) == (ns(MONTH), pytest.approx(sum(day.volume for day in days[:7])))


def test_a_late_trade_of_a_day_known_only_as_a_whole_changes_nothing() -> None:
    days, expected = never_stopped(MONTH + 7 * ONE_DAY)
    begun = MONTH + 3 * ONE_DAY
    bars = LiveBars(LTC, complete_since_ns=ns(begun))
    bars.resume(days[:3], [], ns(begun), ns(begun))
    (first, *rest) = trades(begun, 4)
    bars.add(first)
    late = Trade(LTC, ns(begun) - MINUTE_NS, ns(begun), 1, 1.0, 1_000.0)
    bars.add_all([late, *rest])
    bars.advance(ns(MONTH) + 8 * DAY_NS)
    assert closed(bars, *LONG) == expected
