"""Real data through Dagster to the archive, held against figures that share no code with the platform."""

import datetime as dt
import json
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from md_platform.catalog.chain import assets_up_to
from md_platform.domain.intervals import DAY, UTC, Interval, Timeframe
from md_platform.domain.schemas import CLEANED_BARS, CLEANED_TRADES, RAW_BARS, RESAMPLED_BARS, TRADE_BARS
from md_platform_tests.assets.conftest import Platform

BTC = "binance:BTC-USDT"
XRP = "file:XRP-ETH"
TRADE_CHAIN = ["raw_trades", "cleaned_trades", "trade_bars", "cleaned_bars", "resampled_bars", "archive_cleaned_trades"]
PRICES = ["open", "high", "low", "close"]


@dataclass
class Binance:
    platform: Platform
    folder: Path
    expected: Path
    days: dict[dt.date, dict]
    windows: list[tuple[dt.date, dt.date]]

    def run(self, window: tuple[dt.date, dt.date]) -> None:
        """One ranged run of the window's files, from import to archive."""
        files = [self.folder / f"BTCUSDT-1m-{date}.zip" for date in self.days if window[0] <= date <= window[1]]
        self.platform.run(assets_up_to("archive"), BTC, *window, files=files)

    def archived(self, table: str, window: tuple[dt.date, dt.date], timeframe: str | None = None) -> pl.DataFrame:
        span = Interval(Interval.day(window[0]).start, Interval.day(window[1]).end)
        return self.platform.stores.archive.read(table, [BTC], span, "open_time", timeframe)


@pytest.fixture(scope="module")
def binance(module_platform, shared_data) -> Binance:
    """Every day of the data set, each block of consecutive days by one run."""
    expected = shared_data / "expected/binance_btcusdt_1m"
    summary = json.loads((expected / "summary.json").read_text())
    days = {dt.date.fromisoformat(day["day"]): day for day in summary["days"]}
    windows = [(dt.date.fromisoformat(first), dt.date.fromisoformat(last)) for first, last in summary["windows"]]
    made = Binance(module_platform, shared_data / "datasets/binance_btcusdt_1m", expected, days, windows)
    for window in windows:
        made.run(window)
    return made


def test_every_day_has_the_rows_that_its_file_has(binance):
    for dataset in ("raw_bars", "cleaned_bars", "archive_cleaned_bars"):
        rows = {date: row["rows"] for date, row in binance.platform.ledger(dataset).items()}
        assert rows == {date: day["rows"] for date, day in binance.days.items()}, dataset
    for window in binance.windows:
        counted = binance.archived("cleaned_bars", window)["open_time"].dt.date().value_counts()
        assert dict(counted.iter_rows()) == {
            date: day["rows"] for date, day in binance.days.items() if window[0] <= date <= window[1]
        }


def test_missing_minutes_are_found_and_not_filled(binance):
    ledger = binance.platform.ledger("cleaned_bars")
    lake = binance.platform.stores.lake
    for date, day in binance.days.items():
        evidence = ledger[date]["evidence"]
        assert (evidence["expected"], evidence["missing"]) == (1_440, day["missing_minutes"])
        ranges = [
            [dt.datetime.fromisoformat(gap["start"]), dt.datetime.fromisoformat(gap["end"]) - dt.timedelta(minutes=1)]
            for gap in evidence.get("gaps", [])
        ]
        assert [[f"{moment:%H:%M}" for moment in gap] for gap in ranges] == day["missing_ranges_utc"]
        assert ledger[date]["status"] == ("degraded" if day["missing_minutes"] else "ok")
        times = lake.read([lake.path(CLEANED_BARS, BTC, date)])["open_time"]
        for first, last in ranges:
            assert times.is_between(first, last).sum() == 0


def test_the_outage_of_february_2018_is_degraded_through_to_the_archive(binance):
    outage = dt.date(2018, 2, 8)
    cleaned = binance.platform.ledger("cleaned_bars")[outage]
    assert (cleaned["rows"], cleaned["status"]) == (29, "degraded")
    assert cleaned["evidence"]["gaps"] == [
        {"start": "2018-02-08T00:29:00+00:00", "end": "2018-02-09T00:00:00+00:00", "bars": 1_411}
    ]
    assert cleaned["score"] < 0.05
    for dataset in ("resampled_bars", "indicators", "archive_cleaned_bars", "archive_resampled_bars"):
        assert binance.platform.ledger(dataset)[outage]["status"] == "degraded", dataset
    hours = binance.archived("resampled_bars", (outage, outage), "1h")
    assert hours.select("open_time", "trade_count").rows() == [(dt.datetime(2018, 2, 8, tzinfo=UTC), 12_417)]


@pytest.mark.parametrize("timeframe", ["5m", "1h", "4h", "1d"])
def test_roll_ups_are_those_of_exact_decimal_arithmetic(binance, timeframe):
    for window in binance.windows:
        name = f"BTCUSDT-{timeframe}_{window[0]}_{window[1]}.csv.gz"
        expected = pl.read_csv(binance.expected / name)
        bars = binance.archived("resampled_bars", window, timeframe)
        assert bars["open_time"].dt.timestamp("ms").to_list() == expected["open_time_ms"].to_list()
        assert bars.select(PRICES).equals(expected.select(PRICES))
        assert bars["trade_count"].to_list() == expected["trades"].to_list()
        sums = {
            "volume": "volume",
            "quote_volume": "quote_volume",
            "taker_buy_volume": "taker_buy_base",
            "taker_buy_quote_volume": "taker_buy_quote",
        }
        assert_frame_equal(
            bars.select(list(sums)), expected.select(pl.col(theirs).alias(ours) for ours, theirs in sums.items()),
            rel_tol=1e-9, abs_tol=0,
        )  # fmt: skip
        assert bars["is_closed"].all()


def test_both_units_of_time_give_the_same_grid(binance):
    bars = binance.archived("cleaned_bars", (dt.date(2024, 12, 31), dt.date(2025, 1, 1)))
    assert bars["open_time"].diff().drop_nulls().unique().to_list() == [dt.timedelta(minutes=1)]
    assert ((bars["close_time"] - bars["open_time"]) == dt.timedelta(minutes=1)).all()


def test_the_archive_holds_what_the_lake_holds(binance):
    lake = binance.platform.stores.lake
    window = binance.windows[1]
    days = Interval(Interval.day(window[0]).start, Interval.day(window[1]).end).days()
    for dataset in (CLEANED_BARS, RESAMPLED_BARS):
        stored = lake.read([lake.path(dataset, BTC, date) for date in days])
        key = ["timeframe", "open_time"]
        archived = binance.archived(dataset.name, window).select(stored.columns)
        assert archived.sort(key).equals(stored.sort(key))
    values = binance.archived("indicators", window)
    bars = pl.concat(
        [binance.archived(name, window).select("timeframe", "open_time") for name in ("cleaned_bars", "resampled_bars")]
    )
    assert values.select("timeframe", "open_time").sort(pl.all()).equals(bars.sort(pl.all()))


def test_the_same_backfill_again_changes_nothing(binance):
    before = binance.platform.state()
    window = next(window for window in binance.windows if window[0] <= dt.date(2018, 2, 8) <= window[1])
    binance.run(window)
    files, versions, rows = binance.platform.state()
    assert files == before[0]
    assert versions == before[1]
    assert rows == before[2]


def test_weeks_and_months_are_made_of_the_days_there_are(binance):
    monday, first = dt.date(2018, 2, 5), dt.date(2018, 2, 1)
    binance.platform.run(["weekly_bars", "archive_weekly_bars"], BTC, monday)
    binance.platform.run(["monthly_bars", "archive_monthly_bars"], BTC, first)
    days = pl.read_csv(binance.expected / "BTCUSDT-1d_2018-02-06_2018-02-13.csv.gz")
    for table, start, count in (("weekly_bars", monday, 6), ("monthly_bars", first, 8)):
        members = days.head(count)
        bar = binance.archived(table, (start, start)).row(0, named=True)
        assert (bar["open"], bar["close"]) == (members["open"][0], members["close"][-1])
        assert (bar["high"], bar["low"]) == (members["high"].max(), members["low"].min())
        assert bar["trade_count"] == members["trades"].sum()
        assert bar["volume"] == pytest.approx(members["volume"].sum(), rel=1e-9)
        assert bar["is_closed"]
        evidence = binance.platform.ledger(table)[start]["evidence"]
        assert evidence["members"] == f"{count} of {7 if table == 'weekly_bars' else 28} days"


@pytest.fixture(scope="module")
def xrp(module_platform, shared_data) -> Platform:
    """Three days of trades, from the JSON file."""
    window = (dt.date(2019, 10, 11), dt.date(2019, 10, 13))
    module_platform.run(TRADE_CHAIN, XRP, *window, files=[shared_data / "datasets/freqtrade/XRP_ETH-trades.json.gz"])
    return module_platform


@pytest.mark.parametrize(("dataset", "timeframe"), [(TRADE_BARS, "1m"), (CLEANED_BARS, "1m"), (RESAMPLED_BARS, "5m")])
def test_trades_become_the_candles_that_their_data_set_has(xrp, shared_data, dataset, timeframe):
    theirs = pl.read_ipc(shared_data / f"datasets/freqtrade/XRP_ETH-{timeframe}.feather")
    lake = xrp.stores.lake
    ours = lake.read([lake.path(dataset, XRP, dt.date(2019, 10, 11) + n * DAY) for n in range(3)])
    ours = ours.filter(pl.col("timeframe") == timeframe)
    assert ours["open_time"].to_list() == theirs["date"].cast(pl.Datetime("us", "UTC")).to_list()
    assert ours.select(*PRICES, "volume").equals(theirs.select(*PRICES, "volume"))


def test_the_same_trades_from_another_format_change_nothing(xrp, shared_data):
    before = xrp.stores.lake.read([xrp.stores.lake.path(CLEANED_TRADES, XRP, dt.date(2019, 10, 12))])
    files, _, _ = xrp.state()
    window = (dt.date(2019, 10, 11), dt.date(2019, 10, 13))
    xrp.run(["raw_trades", "cleaned_trades", "trade_bars"], XRP, *window,
            files=[shared_data / "datasets/freqtrade/XRP_ETH-trades.parquet"])  # fmt: skip
    assert xrp.state()[0] == files
    assert xrp.stores.lake.read([xrp.stores.lake.path(CLEANED_TRADES, XRP, dt.date(2019, 10, 12))]).equals(before)
    archived = xrp.stores.archive.read(
        "cleaned_trades", [XRP], Interval(Interval.day(window[0]).start, Interval.day(window[1]).end), "ts_event"
    )
    assert archived.height == 12_477


def test_bars_of_trades_say_where_they_came_from(xrp):
    record = xrp.stores.ledger.states("cleaned_bars", [XRP], dt.date(2019, 10, 11), dt.date(2019, 10, 12))
    ((_, state),) = record.items()
    assert state.source == "trades"
    assert "trades 1" in state.evidence["source_chosen"]
    assert xrp.stores.lake.sources(RAW_BARS, XRP, dt.date(2019, 10, 11)) == []


def test_a_timeframe_is_what_it_says(binance):
    for timeframe in ("15m", "30m"):
        bars = binance.archived("resampled_bars", binance.windows[-1], timeframe)
        assert bars.height == 7 * 86_400 // Timeframe.parse(timeframe).seconds
