"""What a calendar expects, what is missing of it, and the score and status that follow."""

import datetime as dt
import io
import itertools
import json
import zipfile
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from quality_seeds import CALENDAR, CLEAN, MONDAY, expected_of, minute_bars, put, trades

from md_platform.domain.calendars import expected_open_times
from md_platform.domain.intervals import INTRADAY_ROLL_UPS, UTC, Timeframe
from md_platform.domain.schemas import BAR_COLUMNS
from md_platform.errors import InvalidSetting, UnknownDataset
from md_platform.quality import Gap, Measurement, expected_table, load_suite, missing_ranges, score_partition

DATA = Path(__file__).parents[2].parent / "shared" / "data"
REAL = DATA / "datasets" / "binance_btcusdt_1m"


@pytest.mark.parametrize("timeframe", INTRADAY_ROLL_UPS)
def test_round_the_clock_is_what_the_calendar_says(timeframe):
    table = expected_table("resampled_bars", CALENDAR, MONDAY)
    found = table.filter(pl.col("timeframe") == timeframe.value)["open_time"]
    assert found.to_list() == expected_open_times(CALENDAR, timeframe, MONDAY).to_list()


def test_an_exchange_expects_its_session_and_nothing_on_a_holiday():
    tuesday = expected_table("cleaned_bars", "XNYS", dt.date(2024, 1, 2))
    assert tuesday.height == 390
    assert tuesday["open_time"][0] == dt.datetime(2024, 1, 2, 14, 30, tzinfo=UTC)
    assert expected_table("cleaned_bars", "XNYS", MONDAY).is_empty()
    assert expected_table("trade_bars", "XNYS", dt.date(2024, 1, 2)).height == 7


def test_a_week_and_a_month_expect_one_bar_when_any_day_trades():
    assert expected_table("weekly_bars", "XNYS", MONDAY)["open_time"].to_list() == [dt.datetime(2024, 1, 1, tzinfo=UTC)]
    assert expected_table("monthly_bars", CALENDAR, MONDAY).height == 1


def test_what_has_not_closed_yet_is_not_expected():
    noon = dt.datetime(2024, 1, 1, 12, 30, tzinfo=UTC)
    assert expected_table("cleaned_bars", CALENDAR, MONDAY, until=noon).height == 750
    table = expected_table("resampled_bars", CALENDAR, MONDAY, until=noon)
    assert dict(table.group_by("timeframe").len().rows()) == {"5m": 150, "15m": 50, "30m": 25, "1h": 12, "4h": 3}


def test_unknown_datasets_and_calendars_are_refused():
    with pytest.raises(UnknownDataset, match="raw_bars"):
        expected_table("raw_bars", CALENDAR, MONDAY)
    with pytest.raises(InvalidSetting, match="XXXX"):
        expected_table("cleaned_bars", "XXXX", MONDAY)


def test_rows_outside_the_session_do_not_stand_in_for_missing_ones():
    tuesday = dt.date(2024, 1, 2)
    frame = minute_bars().with_columns(pl.col("open_time", "close_time").dt.offset_by("1d"))
    measured = load_suite("cleaned_bars").measure(frame.tail(1000), expected_table("cleaned_bars", "XNYS", tuesday))
    assert (measured.rows, measured.expected, measured.missing) == (1000, 390, 0)
    early = load_suite("cleaned_bars").measure(frame.head(400), expected_table("cleaned_bars", "XNYS", tuesday))
    assert (early.rows, early.expected, early.missing) == (400, 390, 390)


def test_trades_are_missing_by_the_hour():
    measured = load_suite("cleaned_trades").measure(trades(90), expected_of("cleaned_trades"))
    assert (measured.expected, measured.missing) == (24, 22)


def test_a_partition_whose_times_cannot_be_read_has_none_of_what_is_expected():
    frame = CLEAN["cleaned_bars"]().drop("open_time")
    measured = load_suite("cleaned_bars").measure(frame, expected_of("cleaned_bars"))
    assert measured.missing == 1440
    assert score_partition(measured).status == "failed"


@given(st.sets(st.integers(0, 287)))
def test_gaps_cover_what_is_missing_and_nothing_else(present):
    every = expected_open_times(CALENDAR, Timeframe.M5, MONDAY)
    there = every.gather(sorted(present))
    gaps = missing_ranges(there, every, Timeframe.M5)
    assert sum(gap.bars for gap in gaps) == 288 - len(present)
    assert all(gap.end - gap.start == gap.bars * dt.timedelta(minutes=5) for gap in gaps)
    assert all(before.end < after.start for before, after in itertools.pairwise(gaps))
    covered = {moment for moment in every for gap in gaps if gap.start <= moment < gap.end}
    assert covered == set(every) - set(there)


def test_a_lunch_break_splits_a_gap():
    every = expected_open_times("XHKG", Timeframe.M30, dt.date(2024, 1, 2))
    assert [gap.bars for gap in missing_ranges(every.clear(), every, Timeframe.M30)] == [5, 6]


def measurement(**changed) -> Measurement:
    whole = {"rows": 100, "expected": 100, "missing": 0, "violations": {}, "held": {}, "broken": {}}
    return Measurement(**(whole | {"about_expected": frozenset({"expected_present"})} | changed))


@pytest.mark.parametrize(
    ("measured", "quarantined", "status", "score"),
    [
        (measurement(), 0, "ok", 1.0),
        (measurement(rows=0, missing=100), 0, "missing", 0.0),
        (measurement(rows=0, expected=0), 0, "closed", 1.0),
        (measurement(rows=7, expected=0), 0, "ok", 1.0),
        (measurement(), 25, "degraded", 0.8),
        (measurement(missing=1), 0, "ok", 0.99),
        (
            measurement(missing=50, violations={"expected_present": 50}, broken={"expected_present": "warning"}),
            0,
            "degraded",
            0.5,
        ),
        (measurement(violations={"stale_run": 10}, broken={"stale_run": "warning"}), 0, "degraded", 0.99),
        (measurement(violations={"key_unique": 20}, broken={"key_unique": "error"}), 0, "failed", 0.8),
        (measurement(violations={"key_unique": 400}, broken={"key_unique": "error"}), 0, "failed", 0.0),
    ],
)
def test_status_and_score(measured, quarantined, status, score):
    judged = score_partition(measured, quarantined)
    assert (judged.status, judged.score) == (status, score)


counts = st.integers(0, 2000)


@given(counts, counts, counts, counts, st.sampled_from([{}, {"a": "error"}, {"a": "warning"}]), counts)
def test_a_score_lies_between_0_and_1_and_only_a_perfect_partition_has_1(rows, expected, missing, n, broken, bad):
    measured = measurement(
        rows=rows, expected=expected, missing=min(missing, expected), violations={"a": n + 1}, broken=broken
    )
    judged = score_partition(measured, bad)
    assert 0 <= judged.score <= 1
    if judged.score == 1:
        assert judged.status in ("ok", "closed")


def real_day(date: dt.date) -> pl.DataFrame:
    file = REAL / f"BTCUSDT-1m-{date}.zip"
    if not file.exists():
        pytest.skip("the shared data sets are not beside this checkout")
    with zipfile.ZipFile(file) as archive:
        content = archive.read(archive.namelist()[0])
    names = ["open_time", "open", "high", "low", "close", "volume", "close_time", "quote_volume", "trade_count"]
    raw = pl.read_csv(
        io.BytesIO(content), has_header=False, new_columns=[*names, "taker_buy_volume", "taker_buy_quote_volume", "_"]
    )
    unit = "us" if raw["open_time"][0] > 10**14 else "ms"
    opened = pl.from_epoch("open_time", unit).dt.cast_time_unit("us").dt.replace_time_zone("UTC")
    return (
        raw.with_columns(open_time=opened)
        .with_columns(
            close_time=pl.col("open_time").dt.offset_by("1m"),
            instrument=pl.lit("binance:BTC-USDT"),
            timeframe=pl.lit("1m"),
            vwap=pl.col("quote_volume") / pl.col("volume"),
            is_closed=True,
            source=pl.lit("binance-files"),
            revision=pl.lit(0),
            known_at=pl.lit(dt.datetime(2026, 1, 1, tzinfo=UTC)),
        )
        .select(pl.col(column.name).cast(column.dtype) for column in BAR_COLUMNS)
    )


def test_the_outage_of_2018_02_08_is_degraded_with_its_ranges_and_blocks_nothing():
    date = dt.date(2018, 2, 8)
    frame, expected = real_day(date), expected_table("cleaned_bars", CALENDAR, date)
    measured = load_suite("cleaned_bars").measure(frame, expected)
    assert (measured.rows, measured.missing) == (29, 1411)
    assert measured.evidence() == {"expected_present": 1411}
    assert score_partition(measured).status == "degraded"
    midnight = dt.datetime(2018, 2, 9, tzinfo=UTC)
    gaps = missing_ranges(frame["open_time"], expected["open_time"], Timeframe.M1)
    assert gaps == [Gap(dt.datetime(2018, 2, 8, 0, 29, tzinfo=UTC), midnight, 1411)]
    assert gaps[0].evidence() == {
        "start": "2018-02-08T00:29:00+00:00",
        "end": "2018-02-09T00:00:00+00:00",
        "bars": 1411,
    }


def test_real_days_have_the_missing_ranges_that_were_published_and_no_error():
    summary = DATA / "expected" / "binance_btcusdt_1m" / "summary.json"
    if not summary.exists():
        pytest.skip("the shared data sets are not beside this checkout")
    suite = load_suite("cleaned_bars")
    for day in json.loads(summary.read_text())["days"]:
        date = dt.date.fromisoformat(day["day"])
        frame, expected = real_day(date), expected_table("cleaned_bars", CALENDAR, date)
        measured = suite.measure(frame, expected)
        ranges = [
            [f"{gap.start:%H:%M}", f"{gap.end - dt.timedelta(minutes=1):%H:%M}"]
            for gap in missing_ranges(frame["open_time"], expected["open_time"], Timeframe.M1)
        ]
        assert (measured.rows, measured.missing, ranges) == (
            day["rows"],
            day["missing_minutes"],
            day["missing_ranges_utc"],
        )
        assert set(measured.broken) <= {"expected_present", "range_z"}, date
        assert score_partition(measured).status == ("degraded" if measured.missing else "ok")


def test_a_spike_in_a_real_day_is_an_outlier():
    frame = put("close", pl.col("close") * 1.2, row=600)(real_day(dt.date(2025, 1, 2)))
    frame = put("high", pl.col("close") * 1.2, row=600)(frame)
    measured = load_suite("cleaned_bars").measure(frame, expected_table("cleaned_bars", CALENDAR, dt.date(2025, 1, 2)))
    assert {"return_z", "range_z"} <= set(measured.broken)
