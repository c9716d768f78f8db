"""Rows that clients push: validated like any source's, landing where files are imported from."""

import datetime as dt

import polars as pl
import pytest

from md_platform.catalog.ledger import PartitionRecord
from md_platform.domain.instruments import Instrument
from md_platform.domain.intervals import DAY, UTC
from md_platform.sources.files import read, understand
from md_platform.storage.migrate import migrate
from md_platform_tests.api_server import served, stores_of
from md_platform_tests.rows import BTC, DAY0, day_of_bars, trade, trade_rows

INSTRUMENT = Instrument.parse(BTC, native="BTCUSDT")
ARROW = {"content-type": "application/vnd.apache.arrow.stream"}


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "import"


@pytest.fixture
def api(tmp_path, database_url, redis_url):
    migrate(database_url)
    stores = stores_of(tmp_path, database_url, redis_url)
    stores.ledger.register([(INSTRUMENT, "crypto")])
    with served(stores) as running:
        yield running


def bar(minute: int, **given):
    time = (DAY0 + dt.timedelta(minutes=minute)).isoformat()
    return {"open_time": time, "open": 10, "high": 12, "low": 9, "close": 11, "volume": 1.5} | given


def push(api, path, status=202, **given):
    answer = api.client.post(f"/api/v1/ingest/{path}", **given)
    assert answer.status_code == status, answer.text
    return answer.json()


def landed(folder):
    """What the import makes of the files, by name."""
    now = dt.datetime.now(UTC)
    return {file.name: read(understand(file, INSTRUMENT), INSTRUMENT, now) for file in (folder / BTC).glob("*")}


def test_valid_bars_land_as_a_file_and_the_others_are_told_with_their_rule(api, folder):
    rows = [
        bar(0),
        bar(1),
        bar(1, high=5),
        bar(2),
        bar(2),
        bar(3, volume=-1),
        bar(4) | {"open_time": "2024-01-01T00:00:30Z"},
    ]
    rows += [bar(0) | {"open_time": dt.datetime.now(UTC).replace(second=0, microsecond=0).isoformat()}]
    found = push(api, "bars/BTCUSDT", json=rows)
    assert (found["instrument"], found["accepted"], found["days"], found["is_new"]) == (
        BTC, 3, [str(DAY0.date())], True,
    )  # fmt: skip
    assert {each["row"]: each["rule"] for each in found["rejects"]} == {
        2: "high_below_body",
        3: "duplicate",
        5: "volume_negative",
        6: "off_grid",
        7: "not_closed",
    }
    (rows,) = landed(folder).values()
    assert rows["open_time"].to_list() == [DAY0 + dt.timedelta(minutes=n) for n in range(3)]
    assert push(api, "bars/BTCUSDT", json=[bar(0), bar(1), bar(2)])["is_new"] is False
    assert len(landed(folder)) == 1


def test_one_row_needs_no_list(api, folder):
    assert push(api, f"bars/{BTC}", json=bar(7))["accepted"] == 1
    one = {"ts_event": DAY0.isoformat(), "trade_id": "a1", "price": 10, "size": 1, "taker_side": "sell"}
    assert push(api, f"trades/{BTC}", json=one)["accepted"] == 1
    assert sorted(len(rows) for rows in landed(folder).values()) == [1, 1]


def test_arrow_brings_days(api, folder):
    bars = day_of_bars(DAY0.date())
    content = bars.write_ipc_stream(None).getvalue()
    assert push(api, f"arrow/bars/{BTC}", content=content, headers=ARROW)["accepted"] == 1440
    (rows,) = landed(folder).values()
    same = ["open_time", "open", "high", "low", "close", "volume", "quote_volume", "trade_count", "taker_buy_volume"]
    assert rows.select(same).equals(bars.select(same))
    trades = trade_rows(trade(n, str(n)) for n in range(100)).drop("taker_side", "trade_count")
    content = trades.write_ipc_stream(None).getvalue()
    assert push(api, f"arrow/trades/{BTC}", content=content, headers=ARROW)["accepted"] == 100


@pytest.mark.parametrize(
    ("path", "given", "status"),
    [
        ("bars/nothing", {"json": bar(0)}, 404),
        (f"bars/{BTC}", {"json": {}}, 422),
        (f"bars/{BTC}", {"json": []}, 422),
        (f"bars/{BTC}", {"json": [bar(5 * n) for n in range(50)]}, 422),
        (f"arrow/bars/{BTC}", {"content": b"nothing", "headers": ARROW}, 422),
        (f"arrow/quotes/{BTC}", {"content": b"", "headers": ARROW}, 422),
        (f"arrow/bars/{BTC}", {"content": pl.DataFrame({"x": [1]}).write_ipc_stream(None).getvalue()}, 422),
    ],
)
def test_what_is_no_data_is_refused_whole(api, folder, path, given, status):
    push(api, path, status, **given)
    assert not list(folder.rglob("*.parquet"))


def test_nothing_valid_leaves_no_file(api, folder):
    found = push(api, f"bars/{BTC}", json=[bar(0, close=-1)])
    assert (found["accepted"], found["file"], found["is_new"]) == (0, None, False)
    assert not list(folder.rglob("*"))


def test_where_data_come_from_is_told(api):
    api.app.state.stores.ledger.record(
        [
            PartitionRecord("raw_bars", BTC, DAY0.date() + n * DAY, "ok", 1440, source=source)
            for n, source in enumerate(("binance", "binance", "import"))
        ]
    )
    found = api.client.get("/api/v1/ingest").json()
    assert found["live"] is None
    assert found["newest_days"]["raw_bars"] == {BTC: str((DAY0 + 2 * DAY).date())}
    assert [(each["source"], each["partitions"], each["rows"]) for each in found["sources"]] == [
        ("binance", 2, 2880),
        ("import", 1, 1440),
    ]
