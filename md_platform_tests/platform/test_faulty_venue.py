"""A venue that misbehaves: what the user sees, that nothing is filled or lost, and that a refresh heals.

All of it in one load of one day: rows go wrong at hours of their own, answers at endpoints of their own. `stall` is a
fault of live connections alone; test_killed kills the whole venue in the middle of a load.
"""

import datetime as dt
from collections import Counter
from dataclasses import dataclass
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from md_platform.catalog.ledger import Ledger, PartitionRecord
from md_platform.domain.bars import bars_from_trades
from md_platform.domain.instruments import Instrument
from md_platform.domain.intervals import Interval, Timeframe
from md_platform.domain.schemas import CLEANED_BARS, CLEANED_TRADES, RAW_BARS, RAW_TRADES, TRADE_BARS, Dataset
from md_platform.settings import VenueUrls
from md_platform.sources.history import HistorySources
from md_platform.transforms.cleaned import clean_bars, clean_trades
from md_platform_tests.platform.running import WHEN_RECEIVED, Platform

DAY = dt.date(2026, 10, 6)
WRONG_ROWS, SAYS_418, BREAKS_OFF = "sandbox:ETH-USDT", "sandbox-coinbase:BTC-USD", "sandbox-kraken:SOL-USD"
INSTRUMENTS = (WRONG_ROWS, SAYS_418, BREAKS_OFF)
DATASETS = {each.name: each for each in (RAW_BARS, RAW_TRADES, CLEANED_BARS, CLEANED_TRADES, TRADE_BARS)}
LOAD = ("backfill", *INSTRUMENTS, "--start", f"{DAY}", "--end", "2026-10-07", "--trades")
UP_TO = ("--to", "cleaned")


def at(hour: int, minutes: int, kind: str, channel: str = "*", **more: Any) -> dict[str, Any]:
    """A fault of the rows of ETH-USDT in the first `minutes` of an hour."""
    when = {"start": f"{DAY}T{hour:02}:00:00Z", "duration_s": 60 * minutes}
    return {"kind": kind, "protocol": "binance", "instrument": "ETH-USDT", "channel": channel, **when, **more}


FAULTS = (
    at(1, 10, "bad_ohlc", "bars"),
    at(1, 10, "late_trade", "trades", delay_s=1e8),
    at(3, 10, "duplicate"),
    at(5, 10, "out_of_order"),
    at(7, 20, "gap"),
    at(9, 30, "halt"),
    {"kind": "http_429", "protocol": "binance", "channel": "klines", "count": 2, "retry_after_s": 1},
    {"kind": "slow", "protocol": "binance", "channel": "aggTrades", "count": 1, "delay_s": 1.5},
    {"kind": "disconnect", "protocol": "binance", "channel": "aggTrades", "count": 2, "duration_s": 1e6},
    {"kind": "http_5xx", "protocol": "coinbase", "channel": "candles", "count": 2},
    {"kind": "http_418", "protocol": "coinbase", "channel": "ticker", "retry_after_s": 1},
    {"kind": "malformed", "protocol": "kraken", "channel": "Trades"},
)


@dataclass(frozen=True)
class Suffered:
    """What was said, known and stored after the load that met the faults, and what was said when it was healed."""

    report: dict[str, Any]
    partitions: dict[tuple[str, str], PartitionRecord]
    files: dict[tuple[str, str], pl.DataFrame]
    hits: list[int]
    healed: dict[str, Any]

    def evidence(self, dataset: str, instrument: str) -> dict[str, Any]:
        return self.partitions[dataset, instrument].evidence


@pytest.fixture(scope="module")
def suffered(platform: Platform) -> Suffered:
    platform.misbehave(*FAULTS)
    try:
        report = platform.json(*LOAD, *UP_TO, code=1)
        hits = platform.hits()
    finally:
        platform.behave()
    ledger, files = Ledger(platform.database_url), {}
    for dataset in DATASETS.values():
        for instrument in INSTRUMENTS:
            if (rows := stored(platform, dataset, instrument)) is not None:
                files[dataset.name, instrument] = rows
    known = {name: ledger.states(name, INSTRUMENTS, DAY, DAY + dt.timedelta(days=1)) for name in DATASETS}
    partitions = {(name, each.instrument): each for name, states in known.items() for each in states.values()}
    healed = platform.json(*LOAD, *UP_TO, "--refresh")
    return Suffered(report, partitions, files, hits, healed)


def stored(platform: Platform, dataset: Dataset, instrument: str) -> pl.DataFrame | None:
    """The file of the day."""
    source = instrument.partition(":")[0] if dataset.by_source else None
    return platform.lake.read([platform.lake.path(dataset, instrument, DAY, source)])


def minutes(first: str, count: int) -> list[str]:
    start = dt.datetime.fromisoformat(f"{DAY}T{first}")
    return [f"{start + n * dt.timedelta(minutes=1):%H:%M}" for n in range(count)]


def opened(rows: pl.DataFrame) -> list[str]:
    return rows["open_time"].dt.strftime("%H:%M").to_list()


def test_each_instrument_is_told_with_its_reason(suffered):
    statuses = {each["instrument"]: each["statuses"] for each in suffered.report["instruments"]}
    assert statuses[WRONG_ROWS]["degraded"] == statuses[SAYS_418]["failed"] == statuses[BREAKS_OFF]["failed"] == 1
    reasons = {(each["instrument"], each["dataset"]): each["reason"] for each in suffered.report["problems"]}
    assert reasons.keys() == {(SAYS_418, "raw_trades"), (BREAKS_OFF, "raw_trades")}
    assert "coinbase answered 418" in reasons[SAYS_418, "raw_trades"]
    assert "must answer JSON (Input data was truncated)" in reasons[BREAKS_OFF, "raw_trades"]
    assert sorted(run["status"] for run in suffered.report["runs"]) == ["FAILURE", "FAILURE", "SUCCESS"]


def test_what_passes_is_asked_again_and_leaves_no_trace_in_the_rows(suffered):
    (limited, slow, cut, broken, banned, malformed) = suffered.hits[-6:]
    assert (limited, slow, cut, broken) == (2, 1, 2, 2)
    assert banned == 5, "no more attempts than the policy allows"
    assert malformed == 1, "what is not the protocol is not asked for again"
    assert suffered.partitions["raw_bars", WRONG_ROWS].status == "ok"
    assert suffered.evidence("raw_bars", WRONG_ROWS)["requests"] == 5  # 1,440 bars are 2 pages, and one to find the end


def test_bars_that_cannot_be_are_in_quarantine_with_their_rule(suffered):
    raw, cleaned = suffered.files["raw_bars", WRONG_ROWS], suffered.files["cleaned_bars", WRONG_ROWS]
    impossible = raw.filter(pl.col("high") < pl.col("low"))
    assert opened(impossible) == minutes("01:00", 10)
    assert not set(opened(impossible)) & set(opened(cleaned))
    assert suffered.evidence("cleaned_bars", WRONG_ROWS)["quarantined"] == {"duplicate": 10, "high_below_body": 10}


def test_rows_that_come_twice_are_kept_once(suffered):
    raw, cleaned = suffered.files["raw_bars", WRONG_ROWS], suffered.files["cleaned_bars", WRONG_ROWS]
    assert [time for time, count in Counter(opened(raw)).items() if count > 1] == minutes("03:00", 10)
    assert cleaned["open_time"].is_unique().all()
    trades = suffered.files["raw_trades", WRONG_ROWS]
    (twice,) = suffered.evidence("cleaned_trades", WRONG_ROWS)["quarantined"].values()
    assert twice == trades.height - trades["trade_id"].n_unique() > 0


def test_rows_out_of_order_are_put_in_order(suffered):
    raw, cleaned = suffered.files["raw_bars", WRONG_ROWS], suffered.files["cleaned_bars", WRONG_ROWS]
    assert not raw["open_time"].is_sorted()
    assert cleaned["open_time"].is_sorted()
    assert suffered.evidence("cleaned_bars", WRONG_ROWS)["reordered"] == 5
    assert suffered.files["cleaned_trades", WRONG_ROWS]["ts_event"].is_sorted()


def test_what_is_missing_is_named_and_not_filled(suffered):
    missing = [*minutes("01:00", 10), *minutes("07:00", 20)]
    cleaned = suffered.files["cleaned_bars", WRONG_ROWS]
    assert sorted({*minutes("00:00", 1_440)} - {*opened(cleaned)}) == missing
    evidence = suffered.evidence("cleaned_bars", WRONG_ROWS)
    assert [(gap["start"][11:16], gap["end"][11:16], gap["bars"]) for gap in evidence["gaps"]] == [
        ("01:00", "01:10", 10),
        ("07:00", "07:20", 20),
    ]
    assert suffered.partitions["cleaned_bars", WRONG_ROWS].score < 0.98


def test_a_halt_is_shown_as_the_venue_shows_it(suffered):
    halted = suffered.files["cleaned_bars", WRONG_ROWS].filter(pl.col("open_time").dt.hour() == 9).head(30)
    assert halted["volume"].to_list() == [0.0] * 30
    assert halted["trade_count"].to_list() == [0] * 30
    assert halted["close"].n_unique() == 1
    by_trades = suffered.files["trade_bars", WRONG_ROWS]
    assert not {*minutes("09:00", 30)} & {*opened(by_trades)}


def test_a_refresh_heals_to_what_the_venue_says_now(platform, suffered):
    assert suffered.healed["problems"] == []
    assert [run["status"] for run in suffered.healed["runs"]] == ["SUCCESS"] * 3
    venues = {"sandbox": "binance", "sandbox-coinbase": "coinbase", "sandbox-kraken": "kraken"}
    urls = {venue: VenueUrls(rest=f"{platform.sandbox_url}/{path}") for venue, path in venues.items()}
    sources = HistorySources(urls, platform.home.parent / "downloads-of-test")
    day = Interval.day(DAY)
    for name in INSTRUMENTS:
        venue = name.partition(":")[0]
        (instrument,) = [
            each for each in sources.instruments(venue) if each == Instrument.parse(name, native=each.native)
        ]
        trades = clean_trades(sources.trades(instrument, day).frame).kept
        bars = bars_from_trades(trades.lazy(), Timeframe.M1, day.end).collect()
        assert_same(stored(platform, CLEANED_TRADES, name), trades)
        assert_same(stored(platform, TRADE_BARS, name), bars)
        if name != BREAKS_OFF:  # Kraken serves 720 bars, which that day is beyond
            bars = clean_bars(sources.bars(instrument, day).frame).kept
        assert_same(stored(platform, CLEANED_BARS, name), bars)


def assert_same(ours: pl.DataFrame, venues: pl.DataFrame) -> None:
    left_out = [*WHEN_RECEIVED, "revision", "source"]
    assert_frame_equal(ours.drop(left_out, strict=False), venues.drop(left_out, strict=False), check_exact=True)


def test_raw_keeps_what_was_said_before_and_after(platform, suffered):
    before, after = suffered.files["raw_bars", WRONG_ROWS], stored(platform, RAW_BARS, WRONG_ROWS)
    assert_frame_equal(after.head(before.height), before)
    said_later = after.slice(before.height).sort("open_time")
    revisions = dict(zip(opened(said_later), said_later["revision"].to_list(), strict=True))
    assert revisions == {**dict.fromkeys(minutes("01:00", 10), 1), **dict.fromkeys(minutes("07:00", 20), 0)}
    trades = suffered.files["raw_trades", WRONG_ROWS]
    more = stored(platform, RAW_TRADES, WRONG_ROWS)
    assert_frame_equal(more.head(trades.height), trades)
    late = more.slice(trades.height)["ts_event"].dt.strftime("%H:%M").unique().to_list()
    assert {*late} <= {*minutes("01:00", 10), *minutes("07:00", 20)}
    assert {*late} & {*minutes("01:00", 10)}
