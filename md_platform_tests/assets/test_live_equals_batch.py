"""A streamed stretch of the sandbox through the batch chain: live bars and live indicators are the batch chain's."""

import datetime as dt
import json
from collections.abc import Iterator

import numpy as np
import polars as pl
import psycopg
import pytest
from polars.testing import assert_frame_equal

from md_platform import cli
from md_platform.cli.tables import iso
from md_platform.domain.events import Bar
from md_platform.domain.indicators import REGISTRY, STANDARD_SET, Ohlcv
from md_platform.domain.indicators.live import LiveIndicators
from md_platform.domain.instruments import Instrument
from md_platform.domain.intervals import DAY, INTRADAY_ROLL_UPS, Interval, Timeframe
from md_platform.domain.schemas import CLEANED_BARS, INDICATORS, LIVE_TRADES, RESAMPLED_BARS, TRADE_BARS
from md_platform.quality.reconcile import compare_bars
from md_platform.storage.live_reading import LiveReader
from md_platform.transforms.indicators import INDICATOR_TIMEFRAMES, indicator_values
from md_platform_tests.assets.conftest import Platform
from md_platform_tests.streamed import live_bars, stored, streamed
from streaming.indicators import opened

BTC = "sandbox:BTC-USDT"
DATES = [dt.date(2026, 11, 16) + n * DAY for n in range(2)]
SPAN = Interval(Interval.day(DATES[0]).start, Interval.day(DATES[-1]).end)
SINCE_NS, UNTIL_NS = (int(at.timestamp()) * 10**9 for at in (SPAN.start, SPAN.end))
CHAIN = ["live_trades", "cleaned_trades", "trade_bars", "cleaned_bars", "resampled_bars", "indicators",
         "archive_cleaned_trades", "archive_cleaned_bars", "archive_resampled_bars"]  # fmt: skip
QUIET = 4
"""Minutes in which nobody traded."""

BARS = {Timeframe.M1: 2 * 1_440 - QUIET, Timeframe.M5: 576, Timeframe.M15: 192, Timeframe.M30: 96, Timeframe.H1: 48,
        Timeframe.H4: 12, Timeframe.D1: 2}  # fmt: skip
EVERY = tuple(entry.bind() for entry in REGISTRY.values())


@pytest.fixture(scope="module")
def bars(module_platform: Platform, module_database_url: str) -> list[Bar]:
    """Two days and a little more on both sides streamed and stored, then closed by Dagster; the closed live bars."""
    more = dt.timedelta(minutes=30)
    trades = streamed(BTC, Interval(SPAN.start - more, SPAN.end + more))
    closed = [bar for bar in live_bars(trades, SINCE_NS) if SINCE_NS <= bar.open_time < UNTIL_NS]
    stored(module_database_url, [*trades, *closed])
    module_platform.stores.ledger.register([(Instrument.parse(BTC), "crypto")])
    module_platform.run(CHAIN, BTC, DATES[0], DATES[-1])
    return closed


def batch(platform: Platform, dataset) -> pl.DataFrame:
    lake = platform.stores.lake
    return lake.read([lake.path(dataset, BTC, date) for date in DATES])


def test_a_streamed_day_is_built_checked_and_archived(bars, module_platform):
    assert module_platform.statuses("live_trades") == ["ok", "ok"]
    for name in CHAIN:
        assert set(module_platform.statuses(name)) <= {"ok", "degraded"}, name  # the market has outliers
    taken = module_platform.ledger("live_trades")[DATES[0]]
    assert (taken["source"], taken["evidence"]["missing_trades"], taken["evidence"]["complete"]) == ("live", 0, True)
    assert taken["evidence"]["streamed"] == {"sandbox": taken["rows"]}
    assert module_platform.ledger("cleaned_trades")[DATES[0]]["source"] == "sandbox-live"
    assert module_platform.ledger("cleaned_bars")[DATES[0]]["source"] == "trades"
    archived = module_platform.stores.archive.read("cleaned_trades", [BTC], SPAN, "ts_event")
    assert archived.height == sum(row["rows"] for row in module_platform.ledger("live_trades").values())


def test_live_bars_of_every_timeframe_are_those_of_the_batch_chain(bars, module_platform, module_database_url):
    minutes, rolled = batch(module_platform, TRADE_BARS), batch(module_platform, RESAMPLED_BARS)
    compared = {}
    with LiveReader(module_database_url) as reader:
        for timeframe in (Timeframe.M1, *INTRADAY_ROLL_UPS):
            live = reader.bars(BTC, timeframe, SPAN).filter("is_closed")
            made = minutes if timeframe is Timeframe.M1 else rolled.filter(pl.col("timeframe") == timeframe.value)
            result = compare_bars(live, made)
            assert result.agrees, result.differing
            compared[timeframe] = result.equal
    print(f"live bars equal to batch: {sum(compared.values())} of {sum(BARS.values())}, differing 0")
    assert compared == BARS


def live_values(specs, bars: list[Bar], timeframe: Timeframe) -> Iterator[tuple[int, dict[str, float]]]:
    nothing = Ohlcv(*(np.empty(0, kind) for kind in (np.int64, *[np.float64] * 5)), timeframe)
    live = LiveIndicators(specs, nothing)
    for bar in bars:
        yield bar.open_time // 1_000, live.update(bar)


@pytest.mark.parametrize("specs", [STANDARD_SET, EVERY], ids=["standard set as stored", "whole registry"])
def test_live_indicators_are_those_of_the_batch_chain(specs, bars, module_platform):
    """The standard set against the `indicators` dataset; the whole registry against the same transform of its bars."""
    if specs is STANDARD_SET:
        made = batch(module_platform, INDICATORS)
    else:
        every = pl.concat([batch(module_platform, CLEANED_BARS), batch(module_platform, RESAMPLED_BARS)])
        windows = {
            each: Ohlcv.from_frame(every.filter(pl.col("timeframe") == each.value), timeframe=each)
            for each in INDICATOR_TIMEFRAMES
        }
        made = pl.concat(frame for _, frame in indicator_values(BTC, windows, specs, DATES))
    rows = values = 0
    for timeframe in INDICATOR_TIMEFRAMES:
        own = made.filter(pl.col("timeframe") == timeframe.value)
        live = list(live_values(specs, [bar for bar in bars if bar.timeframe == timeframe], timeframe))
        assert [at for at, _ in live] == own["open_time"].dt.timestamp("us").to_list()
        for name in (column for spec in specs for column in spec.columns):
            ours = np.array([columns[name] for _, columns in live])
            # sums of volumes are added up in another order, prices are the same to the last bit
            np.testing.assert_allclose(ours, own[name].to_numpy(), rtol=1e-9, atol=1e-9, equal_nan=True, err_msg=name)
            values += ours.size
        rows += len(live)
    print(f"live indicators equal to batch: {rows} rows, {values} values of {len(specs)} indicators, differing 0")
    assert rows == sum(BARS.values())


def test_the_live_process_opens_from_the_lake_and_says_what_the_batch_chain_stores(bars, module_platform):
    """As it ships: handles opened at midnight from the day before, then the second day's closed bars as they come."""
    handles = opened(BTC, module_platform.stores.lake, module_platform.universe.calendar, today=DATES[1])
    midnight_ns = int(Interval.day(DATES[1]).start.timestamp()) * 10**9
    said = handles.values(bar for bar in bars if bar.open_time >= midnight_ns)
    made = batch(module_platform, INDICATORS).filter(pl.col("open_time").dt.date() == DATES[1])
    columns = [name for spec in STANDARD_SET for name in spec.columns]
    live = pl.DataFrame(
        [(each.timeframe, each.open_time // 1_000, *(each.values[name] for name in columns)) for each in said],
        schema={"timeframe": pl.String, "open_time": pl.Int64, **dict.fromkeys(columns, pl.Float64)},
        orient="row",
    )
    stored_values = made.with_columns(pl.col("open_time").dt.timestamp("us"), pl.col(columns).fill_nan(None))
    order = ["timeframe", "open_time"]
    assert_frame_equal(live.sort(order), stored_values.select(live.columns).sort(order), rel_tol=1e-9, abs_tol=1e-9)
    print(f"live process's indicators equal to batch: {live.height} rows, {live.height * len(columns)} values")
    assert live.height == made.height > 1_900


def test_the_command_tells_bar_by_bar_where_they_differ(
    bars, module_platform, module_database_url, monkeypatch, capsys
):
    monkeypatch.setenv("MDP_HOME", str(module_platform.home))
    monkeypatch.setenv("MDP_DATABASE_URL", module_database_url)

    def mdp(*more: str) -> int:
        with pytest.raises(SystemExit) as exit_of:
            cli.main(["reconcile", BTC, "--date", str(DATES[1]), *more])
        return exit_of.value.code

    assert mdp() == 0
    lake = module_platform.stores.lake
    path = lake.path(TRADE_BARS, BTC, DATES[1])
    right = lake.read([path])
    count = f"{right.height:,}"
    first = capsys.readouterr().out.splitlines()[1]
    assert first.split() == ["1m", "trades", "trade_bars", "sandbox", count, count, "0", "0", "0"]
    try:
        noon = Interval.day(DATES[1]).start + dt.timedelta(hours=12)
        other = pl.when(pl.col("open_time") == noon).then(pl.col("high") + 1).otherwise(pl.col("high"))
        lake.write(path, right.with_columns(high=other)[1:])
        assert mdp("--json") == 1
        minutes = json.loads(capsys.readouterr().out)["timeframes"][0]
        assert {name: minutes[name] for name in ("compared", "equal", "differing", "only_live", "only_batch")} == {
            "compared": right.height - 1, "equal": right.height - 2, "differing": 1, "only_live": 1, "only_batch": 0,
        }  # fmt: skip
        (value,) = minutes["values"]
        assert (value["open_time"], value["column"]) == (f"{DATES[1]}T12:00:00Z", "high")
        assert value["batch"] == value["live"] + 1
        assert minutes["missing_in_batch"] == [iso(right["open_time"][0])]
    finally:
        lake.write(path, right)


def test_what_was_taken_stays_when_the_live_store_lets_it_go(bars, module_platform, module_database_url):
    before = batch_of_live(module_platform)
    with LiveReader(module_database_url) as reader:
        assert reader.traded(SPAN) == [BTC]
    with psycopg.connect(module_database_url) as connection:
        connection.execute("DELETE FROM md.trades")
    module_platform.run(["live_trades"], BTC, DATES[0], DATES[-1])
    assert batch_of_live(module_platform).equals(before)
    assert module_platform.ledger("live_trades")[DATES[0]]["rows"] > 0


def batch_of_live(platform: Platform) -> pl.DataFrame:
    lake = platform.stores.lake
    return lake.read([lake.path(LIVE_TRADES, BTC, date, "live") for date in DATES])
