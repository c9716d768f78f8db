"""What Dagster is told: each partition's own metadata, columns, inputs; new assets and universes by a line each."""

import datetime as dt
from collections.abc import Iterator

import dagster as dg
import polars as pl
import pytest

from md_platform.assets.batch import Batch, Part, by_day
from md_platform.assets.lineage import column_lineage
from md_platform.assets.partitions import UniversePartitions
from md_platform.assets.universe import CHAIN, Made, universe_assets
from md_platform.domain.intervals import DAY, Interval
from md_platform.domain.schemas import CLEANED_BARS, CLEANED_TRADES, DATASETS, INSTANT, TRADE_BARS, Column, Dataset
from md_platform.settings import load_universes
from md_platform_tests.rows import day_of_bars

AAA, BBB = "file:AAA-USD", "file:BBB-USD"
DATES = [dt.date(2024, 2, 27) + n * DAY for n in range(3)]
MINUTES = [30, 20, 10]


@pytest.fixture
def days(csv):
    return csv("days.csv", pl.concat([day_of_bars(d, range(n)) for d, n in zip(DATES, MINUTES, strict=True)]))


def value(materialization, name):
    return materialization.metadata[name].value


def test_each_partition_of_a_run_bears_its_own_metadata(platform, days):
    platform.run(["raw_bars", "cleaned_bars", "archive_cleaned_bars"], AAA, DATES[0], DATES[-1], files=[days])
    platform.run(["raw_bars"], BBB, DATES[1], files=[days])
    for name in ("raw_bars", "cleaned_bars", "archive_cleaned_bars"):
        events = platform.events(name)
        ledger = {
            (row["instrument"], row["date"]): row for row in platform.stores.ledger.partitions(name).rows(named=True)
        }
        assert set(events) == {f"{date}|{instrument}" for instrument, date in ledger}
        for (instrument, date), row in ledger.items():
            event = events[f"{date}|{instrument}"]
            rows = MINUTES[DATES.index(date)]
            assert value(event, "dagster/partition_row_count") == row["rows"] == rows
            assert (value(event, "status"), value(event, "sha256")) == (row["status"], row["sha256"])
            assert (value(event, "bytes"), value(event, "source")) == (row["bytes"], "import")
            assert (
                dt.datetime.fromisoformat(value(event, "first_time")) == Interval.day(date).start == row["first_time"]
            )
            last = Interval.day(date).start + dt.timedelta(minutes=rows - 1)
            assert dt.datetime.fromisoformat(value(event, "last_time")) == last
    preview = value(platform.events("cleaned_bars")[f"{DATES[0]}|{AAA}"], "preview")
    assert "| 1m " in preview
    lineage = value(platform.events("cleaned_bars")[f"{DATES[0]}|{AAA}"], "dagster/column_lineage")
    came_from = {(dep.asset_key.path[-1], dep.column_name) for dep in lineage.deps_by_column["close"]}
    assert came_from == {("raw_bars", "close"), ("trade_bars", "close")}
    assert preview.startswith("`▁") or preview[1] in "▁▂▃▄▅▆▇█"


def test_bars_made_of_trades_come_from_the_columns_of_trades():
    deps = column_lineage("crypto", TRADE_BARS, [CLEANED_TRADES]).deps_by_column
    assert [dep.column_name for dep in deps["quote_volume"]] == ["price", "size"]
    assert [dep.column_name for dep in deps["instrument"]] == ["instrument"]


def test_a_partition_that_failed_says_so_on_its_event(platform, days):
    platform.run(["raw_bars", "cleaned_bars"], AAA, DATES[0], DATES[-1], files=[days])
    lake = platform.stores.lake
    lake.path(CLEANED_BARS, AAA, DATES[1]).write_bytes(b"")
    platform.run(["resampled_bars"], AAA, DATES[0], DATES[-1])
    events = platform.events("resampled_bars")
    assert [value(events[f"{date}|{AAA}"], "status") == "failed" for date in DATES] == [False, True, False]
    assert "cannot be read" in value(events[f"{DATES[1]}|{AAA}"], "evidence")["error"]


def test_every_asset_shows_its_columns_its_owner_and_its_inputs():
    partitions = UniversePartitions(load_universes()[0])
    specs = {spec.key.path[-1]: spec for asset in universe_assets(partitions) for spec in asset.specs}
    assert set(specs) >= {"raw_bars", "raw_trades", "cleaned_bars", "cleaned_trades", "trade_bars", "resampled_bars",
                          "weekly_bars", "monthly_bars", "indicators", "archive_indicators"}  # fmt: skip
    for name, spec in specs.items():
        schema = spec.metadata["dagster/column_schema"]
        stored = DATASETS[name.removeprefix("archive_")]
        assert [column.name for column in schema.columns] == list(stored.schema)
        assert all(column.description for column in schema.columns)
        assert spec.description
        assert spec.owners
        assert spec.group_name.startswith("crypto_")
    inputs = {name: {dep.asset_key.path[-1] for dep in spec.deps} for name, spec in specs.items()}
    assert inputs["raw_bars"] == set()
    assert inputs["cleaned_bars"] == {"raw_bars", "trade_bars"}
    assert inputs["indicators"] == {"cleaned_bars", "resampled_bars"}
    assert inputs["archive_indicators"] == {"indicators"}
    assert inputs["weekly_bars"] == {"resampled_bars"}


DAILY_RANGE = Dataset(
    "daily_range",
    "resampled",
    "daily_range",
    (
        Column("instrument", pl.String(), "", "canonical id"),
        Column("open_time", INSTANT, "UTC", "start of the day"),
        Column("range", pl.Float64(), "quote", "highest less lowest price"),
    ),
    ("instrument", "open_time"),
    "open_time",
    "how far each day's price went",
)


def daily_range(batch: Batch) -> Iterator[Part]:
    """Highest less lowest price of each day."""
    for date, bars in by_day(batch.read(CLEANED_BARS), "open_time", batch.dates):
        yield Part(date, bars.group_by("instrument").agg(
            pl.col("open_time").min().dt.truncate("1d"), range=pl.col("high").max() - pl.col("low").min()
        ))  # fmt: skip


def test_an_asset_is_added_by_one_function_and_one_line(make_platform, days):
    platform = make_platform(chain=[*CHAIN, Made(DAILY_RANGE, daily_range, [CLEANED_BARS])])
    platform.run(["raw_bars", "cleaned_bars", "daily_range"], AAA, DATES[0], DATES[-1], files=[days])
    assert platform.statuses("daily_range") == ["ok"] * 3
    lake = platform.stores.lake
    stored = lake.read([lake.path(DAILY_RANGE, AAA, date) for date in DATES])
    bars = lake.read([lake.path(CLEANED_BARS, AAA, DATES[0])])
    assert stored["range"][0] == bars["high"].max() - bars["low"].min()
    evidence = platform.ledger("daily_range")[DATES[0]]["evidence"]
    assert evidence["inputs"] == {"cleaned_bars": platform.ledger("cleaned_bars")[DATES[0]]["sha256"]}
    event = platform.events("daily_range")[f"{DATES[0]}|{AAA}"]
    assert value(event, "dagster/partition_row_count") == 1


UNIVERSES = """
[equities]
calendar = "XNYS"
first_day = 2023-01-03
venues = ["file"]
"""
AAPL = "file:AAPL"


def session(date, start, count):
    """Minutes of a New York session in winter: 14:30 UTC is 870 minutes into the day."""
    return day_of_bars(date, range(start, start + count))


def test_a_second_universe_of_stocks_keeps_the_exchange_s_hours(make_platform, tmp_path, csv):
    toml = tmp_path / "universes.toml"
    toml.write_text(UNIVERSES)
    (universe,) = load_universes(toml)
    platform = make_platform(universe=universe)
    dates = [dt.date(2023, 11, 21) + n * DAY for n in range(6)]  # Tuesday to Sunday, Thanksgiving on Thursday
    bars = pl.concat([session(dates[0], 870, 390), session(dates[1], 870, 380), session(dates[3], 870, 210)])
    names = ["raw_bars", "cleaned_bars", "resampled_bars", "indicators", "archive_cleaned_bars"]
    platform.run(names, AAPL, dates[0], dates[-1], files=[csv("aapl.csv", bars)])
    assert platform.key("raw_bars") == dg.AssetKey(["equities", "raw_bars"])
    cleaned = platform.ledger("cleaned_bars")
    assert [cleaned[date]["status"] for date in dates] == ["ok", "degraded", "closed", "ok", "closed", "closed"]
    assert [cleaned[date]["evidence"]["expected"] for date in dates] == [390, 390, 0, 210, 0, 0]
    assert cleaned[dates[1]]["evidence"]["gaps"] == [
        {"start": "2023-11-22T20:50:00+00:00", "end": "2023-11-22T21:00:00+00:00", "bars": 10}
    ]
    for dataset in ("resampled_bars", "indicators", "archive_cleaned_bars"):
        assert platform.ledger(dataset)[dates[2]]["status"] == "closed", dataset
    span = Interval(Interval.day(dates[0]).start, Interval.day(dates[-1]).end)
    archived = platform.stores.archive.read("cleaned_bars", [AAPL], span, "open_time")
    assert archived.height == 390 + 380 + 210
    daily = platform.stores.lake.read(
        [platform.stores.lake.path(DATASETS["resampled_bars"], AAPL, date) for date in dates]
    ).filter(pl.col("timeframe") == "1d")
    assert daily["open_time"].dt.date().to_list() == [dates[0], dates[1], dates[3]]
