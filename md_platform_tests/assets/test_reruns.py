"""What a later run changes: weeks that still run, quarantines that empty, archives that were lost."""

import datetime as dt
import shutil
from pathlib import Path

import polars as pl
import pytest
from deltalake import DeltaTable

from md_platform.domain.intervals import DAY, UTC, Interval, Timeframe
from md_platform.domain.schemas import CLEANED_BARS, QUARANTINED_BARS, QUARANTINED_TRADES, RAW_BARS
from md_platform_tests.rows import bar, bar_rows, day_of_bars

AAA = "file:AAA-USD"
DATES = [dt.date(2024, 2, 26) + n * DAY for n in range(4)]
SPAN = Interval(Interval.day(DATES[0]).start, Interval.day(DATES[-1]).end)
CHAIN = ["raw_bars", "cleaned_bars", "archive_cleaned_bars"]


@pytest.fixture
def archived(platform, csv):
    """Four days, each archived by a commit of its own: versions 0 to 3."""
    file = csv("days.csv", pl.concat([day_of_bars(date, range(30)) for date in DATES]))
    platform.run(CHAIN[:2], AAA, DATES[0], DATES[-1], files=[file])
    for date in DATES:
        platform.run(CHAIN[2:], AAA, date)
    assert platform.stores.archive.version("cleaned_bars") == 3
    return platform


def days_in_archive(platform):
    rows = platform.stores.archive.read("cleaned_bars", [AAA], SPAN, "open_time")
    return {} if rows is None else dict(rows["open_time"].dt.date().value_counts().sort("open_time").iter_rows())


WHOLE = dict.fromkeys(DATES, 30)


def again(platform, *dates):
    for date in dates:
        platform.run(["archive_cleaned_bars"], AAA, date)


def test_archiving_again_makes_no_commit(archived):
    before = archived.state()
    archived.run(["archive_cleaned_bars"], AAA, DATES[0], DATES[-1])
    assert archived.state() == before


def test_a_deleted_table_is_made_again_whole_in_any_order_of_runs(archived):
    shutil.rmtree(archived.stores.archive.uri("cleaned_bars"))
    again(archived, DATES[3])
    assert days_in_archive(archived) == {DATES[3]: 30}
    again(archived, DATES[0], DATES[1], DATES[2])
    assert days_in_archive(archived) == WHOLE
    assert archived.statuses("archive_cleaned_bars") == ["degraded"] * 4, "30 minutes of a day"


def test_a_table_restored_to_an_earlier_version_is_filled_up(archived):
    DeltaTable(archived.stores.archive.uri("cleaned_bars")).restore(1)
    assert list(days_in_archive(archived)) == DATES[:2]
    archived.run(["archive_cleaned_bars"], AAA, DATES[0], DATES[-1])
    assert days_in_archive(archived) == WHOLE
    before = archived.state()
    again(archived, *DATES)
    assert archived.state() == before


def test_a_table_rolled_back_from_a_backup_is_filled_up(archived, csv, tmp_path):
    table = Path(archived.stores.archive.uri("cleaned_bars"))
    for version in (2, 3):
        (table / "_delta_log" / f"{version:020}.json").unlink()
    assert list(days_in_archive(archived)) == DATES[:2]
    archived.run(CHAIN, AAA, DATES[3] + DAY, files=[csv("new.csv", day_of_bars(DATES[3] + DAY, range(30)))])
    assert archived.stores.archive.version("cleaned_bars") == 2  # what a lost commit once was
    again(archived, *DATES)
    assert days_in_archive(archived) == WHOLE


def test_a_day_that_lost_its_rows_loses_them_in_the_archive(archived):
    lake = archived.stores.lake
    lake.remove(lake.path(RAW_BARS, AAA, DATES[1], "import"))
    archived.run(["cleaned_bars", "archive_cleaned_bars"], AAA, DATES[1])
    assert archived.statuses("archive_cleaned_bars") == ["degraded", "missing", "degraded", "degraded"]
    assert list(days_in_archive(archived)) == [DATES[0], DATES[2], DATES[3]]
    assert lake.read([lake.path(CLEANED_BARS, AAA, DATES[1])]) is None
    before = archived.state()
    again(archived, *DATES)
    assert archived.state() == before


def test_a_running_period_is_provisional_and_grows_with_its_days(platform, csv):
    today = dt.datetime.now(UTC).date()
    timeframe, table = (Timeframe.W1, "weekly_bars") if today.weekday() >= 2 else (Timeframe.MONTH1, "monthly_bars")
    start = timeframe.open_time(Interval.day(today).start).date()
    days = [start + n * DAY for n in range((today - start).days)]
    if len(days) < 2:
        pytest.skip("no running week or month has two finished days today")
    names = ["raw_bars", "cleaned_bars", "resampled_bars"]
    platform.run(names, AAA, days[0], files=[csv("first.csv", day_of_bars(days[0], range(30)))])
    platform.run([table, f"archive_{table}"], AAA, start)
    span = Interval(Interval.day(start).start, Interval.day(start + DAY).start)
    first = platform.stores.archive.read(table, [AAA], span, "open_time").row(0, named=True)
    assert (first["is_closed"], first["volume"]) == (False, 120.0)

    platform.run(names, AAA, days[1], files=[csv("second.csv", day_of_bars(days[1], range(30)))])
    platform.run([table, f"archive_{table}"], AAA, start)
    bars = platform.stores.archive.read(table, [AAA], span, "open_time")
    assert bars.select("is_closed", "volume").rows() == [(False, 240.0)]
    assert bars["close_time"][0] == timeframe.close_time(Interval.day(start).start)
    assert platform.ledger(table)[start]["evidence"]["members"].startswith("2 of ")


def test_a_revised_day_changes_its_month(platform, csv):
    names = ["raw_bars", "cleaned_bars", "resampled_bars"]
    month = ["monthly_bars", "archive_monthly_bars"]
    first = dt.date(2024, 2, 1)
    file = csv("days.csv", pl.concat([day_of_bars(date, range(30)) for date in DATES[:2]]))
    platform.run(names, AAA, DATES[0], DATES[1], files=[file])
    platform.run(month, AAA, first)
    before = platform.ledger("monthly_bars")[first]
    platform.run(names, AAA, DATES[1], files=[csv("revised.csv", day_of_bars(DATES[1], range(30), volume=9.0))])
    platform.run(month, AAA, first)
    assert platform.ledger("monthly_bars")[first]["sha256"] != before["sha256"]
    span = Interval(Interval.day(first).start, Interval.day(first + DAY).start)
    bars = platform.stores.archive.read("monthly_bars", [AAA], span, "open_time")
    assert bars.select("is_closed", "volume").rows() == [(True, 30 * 4.0 + 30 * 9.0)]
    assert bars["revision"][0] == 30, "one for each minute revised"


def test_bad_rows_are_in_quarantine_until_the_source_mends_them(platform, csv):
    good = [bar(n, 10.0) for n in range(20)]
    bad = [bar(20, 10.0, volume=-1.0), bar(21, 10.0, high=9.0), bar(22, -5.0, open=10.0, low=1.0, high=11.0)]
    platform.run(["raw_bars", "cleaned_bars"], AAA, DATES[0], files=[csv("bad.csv", bar_rows([*good, *bad]))])
    lake = platform.stores.lake
    path = lake.path(QUARANTINED_BARS, AAA, DATES[0])
    assert lake.read([path]).select("rule", "volume").rows() == [
        ("volume_negative", -1.0),
        ("high_below_body", 4.0),
        ("close_not_positive", 4.0),
    ]
    cleaned = platform.ledger("cleaned_bars")[DATES[0]]
    assert (cleaned["rows"], cleaned["status"]) == (20, "degraded")
    assert cleaned["evidence"]["quarantined"] == {"close_not_positive": 1, "high_below_body": 1, "volume_negative": 1}

    mended = [bar(n, 10.0) for n in (20, 21, 22)]
    platform.run(["raw_bars", "cleaned_bars"], AAA, DATES[0], files=[csv("mended.csv", bar_rows([*good, *mended]))])
    assert not path.exists()
    cleaned = platform.ledger("cleaned_bars")[DATES[0]]
    assert cleaned["rows"] == 23
    assert "quarantined" not in cleaned["evidence"]


def test_a_row_without_a_readable_time_is_in_quarantine_too(platform, csv):
    file = csv("days.csv", pl.concat([day_of_bars(date, range(30)) for date in DATES[:2]]))
    lines = file.read_text().splitlines()
    file.write_text("\n".join([*lines[:5], "once upon a time,1,1,1,1,7", *lines[5:]]))
    platform.run(["raw_bars", "cleaned_bars"], AAA, DATES[0], DATES[1], files=[file])
    lake = platform.stores.lake
    rejected = lake.read([lake.path(QUARANTINED_BARS, AAA, date) for date in DATES[:2]])
    assert rejected.select("rule", "volume").rows() == [("time_missing", 7.0)]
    rows = platform.ledger("cleaned_bars")
    assert [rows[date]["rows"] for date in DATES[:2]] == [30, 30]


def test_bad_trades_are_in_quarantine_with_the_rule_they_broke(platform, tmp_path):
    file = tmp_path / "trades.csv"
    lines = ["timestamp,id,price,amount,side"]
    lines += [f"2024-02-26T00:{n:02}:00Z,{n},10.5,1,buy" for n in range(30)]
    lines += ["2024-02-26T01:00:00Z,90,-1,1,sell", "2024-02-26T01:00:01Z,5,10.5,1,sell"]
    file.write_text("\n".join(lines))
    platform.run(["raw_trades", "cleaned_trades", "trade_bars"], AAA, DATES[0], files=[file])
    lake = platform.stores.lake
    rejected = lake.read([lake.path(QUARANTINED_TRADES, AAA, DATES[0])])
    assert rejected.select("trade_id", "rule").rows() == [("90", "price_not_positive"), ("5", "duplicate")]
    assert platform.ledger("trade_bars")[DATES[0]]["rows"] == 30
