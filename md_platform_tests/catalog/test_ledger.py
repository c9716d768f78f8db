"""The ledger against a real PostgreSQL."""

import datetime as dt

import psycopg
import pytest

from md_platform.catalog.ledger import Ledger, PartitionRecord
from md_platform.domain.instruments import Instrument
from md_platform.domain.intervals import DAY, UTC
from md_platform.errors import StorageError
from md_platform.storage.migrate import migrate

D = dt.date(2024, 1, 1)
BTC, ETH = "binance:BTC-USDT", "binance:ETH-USDT"


@pytest.fixture
def ledger(database_url):
    migrate(database_url)
    return Ledger(database_url)


def record(dataset="cleaned_bars", instrument=BTC, day=0, **given):
    return PartitionRecord(dataset, instrument, D + day * DAY, **({"status": "ok", "rows": 1_440} | given))


def test_what_is_recorded_is_read_back_whole(ledger):
    time = dt.datetime(2024, 1, 1, 23, 59, tzinfo=UTC)
    full = record(
        bytes=70_000, first_time=time, last_time=time, source="binance", sha256="ab", score=0.9,
        evidence={"inputs": {"raw_bars": "cd"}, "text": "tab\there, \\N and ünï"}, run_id="run",
    )  # fmt: skip
    ledger.record([full, record(day=1, status="missing", rows=0)])
    found = ledger.states("cleaned_bars", [BTC], D, D + 2 * DAY)
    assert found[BTC, D] == full
    assert found[BTC, D + DAY].status == "missing"
    state = ledger.history(BTC, ["cleaned_bars"], D, D + DAY)["cleaned_bars", D]
    assert (state.inputs, state.sha256, state.first_time) == ({"raw_bars": "cd"}, "ab", time)


def test_recording_again_replaces_and_says_when_content_changed(ledger):
    def times():
        state = ledger.history(BTC, ["cleaned_bars"], D, D + DAY)["cleaned_bars", D]
        return state.updated_at, state.changed_at

    ledger.record([record(sha256="a")])
    first = times()
    assert first[0] == first[1]
    ledger.record([record(sha256="a", status="degraded")])
    second = times()
    assert second[0] > first[0]
    assert second[1] == first[1]
    ledger.record([record(sha256="b")])
    third = times()
    assert third[1] == third[0] > second[0]


def test_a_batch_is_recorded_as_a_whole_or_not_at_all(ledger):
    with pytest.raises(StorageError, match=r"the database does not take a value: .*partition_status_rows_check"):
        ledger.record([record(), record(day=1, rows=-1)])
    assert ledger.partitions().is_empty()
    ledger.record([])


def test_selection_is_half_open_and_sorted(ledger):
    ledger.record([record(instrument=i, day=n) for n in (2, 0, 1) for i in (ETH, BTC)] + [record("raw_bars")])
    frame = ledger.partitions("cleaned_bars", None, D, D + 2 * DAY)
    assert list(frame.select("instrument", "date").iter_rows()) == [
        (i, D + n * DAY) for i in (BTC, ETH) for n in (0, 1)
    ]
    assert ledger.partitions(instruments=[]).is_empty()
    assert ledger.partitions().height == 7


def test_reasons_are_read_from_evidence(ledger):
    ledger.record(
        [record(status="failed", evidence={"error": "no source"}), record(day=1, evidence={"reason": "wait"})]
    )
    found = ledger.history(BTC, ["cleaned_bars"], D, D + 2 * DAY)
    assert [found["cleaned_bars", D + n * DAY].reason for n in (0, 1)] == ["no source", "wait"]


def test_totals_count_by_dataset_and_status(ledger):
    ledger.record(
        [
            *(record(instrument=i, day=n, bytes=10) for i in (BTC, ETH) for n in (0, 1)),
            record(day=2, status="failed", rows=0),
            record("raw_bars", day=5, status="missing", rows=0),
        ]
    )
    cleaned, raw = ledger.totals().to_dicts()
    assert (cleaned["instruments"], cleaned["partitions"], cleaned["ok"], cleaned["failed"]) == (2, 5, 4, 1)
    assert (cleaned["rows"], cleaned["bytes"]) == (4 * 1_440, 40)
    assert (cleaned["first_day"], cleaned["last_day"]) == (D, D + DAY)
    assert (raw["dataset"], raw["missing"], raw["first_day"]) == ("raw_bars", 1, None)


def test_what_runs_made_is_counted_by_run(ledger):
    ledger.record([record(day=n, run_id="one") for n in (0, 1)] + [record(day=2, run_id="two")])
    assert ledger.count_made(["one", "two", "three"], ["cleaned_bars"], D, D + 2 * DAY) == {"one": 2}


def test_newest_days_are_usable_ones(ledger):
    ledger.record([record(), record(day=1, status="degraded"), record(day=2, status="failed")])
    assert ledger.newest_days("cleaned_bars") == {BTC: D + DAY}


def test_instruments_keep_the_order_of_registration(ledger):
    ledger.register([(Instrument.parse(ETH, native="ETHUSDT"), "crypto"), (Instrument.parse(BTC), "crypto")])
    ledger.register([(Instrument.parse(BTC, native="BTCUSDT"), "other")])
    assert [(i.id, i.native, universe) for i, universe in ledger.instruments()] == [
        (ETH, "ETHUSDT", "crypto"),
        (BTC, "BTCUSDT", "other"),
    ]


def test_a_database_without_tables_says_how_to_get_them(database_url):
    with pytest.raises(StorageError, match="run `mdp migrate`"):
        Ledger(database_url).totals()


def test_a_database_that_is_away_is_one_clear_error():
    with pytest.raises(StorageError, match="the database does not answer"):
        Ledger("postgresql://nobody@127.0.0.1:1/none").totals()


def test_a_read_only_database_is_one_clear_error(ledger, database_url):
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(
            "ALTER DATABASE " + database_url.rpartition("/")[2] + " SET default_transaction_read_only = on"
        )
    with pytest.raises(StorageError, match="cannot be written"):
        ledger.record([record()])
