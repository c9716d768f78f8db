"""datasets, quality and events: what they tell of a real ledger, lake and live store."""

import datetime as dt
import uuid

import pytest

from md_platform.assets.universe import CHAIN
from md_platform.catalog.chain import ARCHIVED, INPUTS
from md_platform.catalog.ledger import PartitionRecord
from md_platform.domain.instruments import Instrument
from md_platform.domain.schemas import CLEANED_BARS, QUARANTINED_BARS
from md_platform.quality import load_suite
from md_platform.storage.live_store import LiveStore
from md_platform.storage.migrate import migrate
from md_platform_tests import live_rows
from md_platform_tests.api_server import Served, served, stores_of
from md_platform_tests.rows import BTC, bar_rows, day_of_bars

D = dt.date(2024, 3, 4)
DAY = dt.timedelta(days=1)


def record(dataset, date, status="ok", **given):
    return PartitionRecord(dataset, BTC, date, status, **{"sha256": f"{dataset}-{date}", "rows": 1440} | given)


@pytest.fixture(scope="module")
def api(tmp_path_factory, module_database_url, module_redis_url):
    migrate(module_database_url)
    stores = stores_of(tmp_path_factory.mktemp("api"), module_database_url, module_redis_url)
    stores.ledger.register([(Instrument.parse(BTC, native="BTCUSDT"), "crypto")])
    broken = next(iter(load_suite("cleaned_bars").expectations)).id
    evidence = {
        "inputs": {"raw_bars": f"raw_bars-{D}"},
        "expected": 1440,
        "missing": 10,
        "gaps": [{"start": f"{D}T01:00:00+00:00", "end": f"{D}T01:10:00+00:00", "bars": 10}],
        "quarantined": {"high_below_body": 1},
        "violations": {broken: 3},
    }
    stores.ledger.record([
        record("raw_bars", D),
        record("cleaned_bars", D, "degraded", score=0.9, source="binance", evidence=evidence, run_id="run-1"),
        record("cleaned_bars", D + 2 * DAY, score=1.0, evidence={"expected": 1440, "missing": 0}),
        record("resampled_bars", D, evidence={"inputs": {"cleaned_bars": "older"}}),
        record("archive_cleaned_bars", D, sha256=f"cleaned_bars-{D}"),
        record("weekly_bars", D),
    ])  # fmt: skip
    bars = day_of_bars(D, revision=0)
    stores.lake.write(stores.lake.path(CLEANED_BARS, BTC, D), bars.with_columns(revision=bars["revision"] + 1))
    reject = day_of_bars(D, [5]).to_dicts()[0] | {"rule": "high_below_body", "high": float("nan")}
    frame = bar_rows([]).clear().with_columns(rule=None).cast({"rule": str})
    stores.lake.write(
        stores.lake.path(QUARANTINED_BARS, BTC, D), frame.vstack(type(frame)([reject], schema=frame.schema))
    )
    with served(stores) as running:
        yield running


def ask(api: Served, path: str, status: int = 200, **params):
    answer = api.client.get(f"/api/v1/{path}", params=params)
    assert answer.status_code == status, answer.text
    return answer.json()


def test_what_datasets_are_made_of_is_what_the_orchestrator_makes():
    assert {made.dataset.name: tuple(each.name for each in made.inputs) for made in CHAIN} == {
        name: inputs for name, inputs in INPUTS.items() if not name.startswith("archive_")
    }
    assert {name for name in INPUTS if name.startswith("archive_")} == {f"archive_{name}" for name in ARCHIVED}


def test_datasets_are_listed_with_totals(api):
    listed = {each["name"]: each for each in ask(api, "datasets")}
    assert (
        listed["cleaned_bars"]["totals"] | {"partitions": 2, "ok": 1, "degraded": 1, "rows": 2880}
        == (listed["cleaned_bars"]["totals"])
    )
    assert listed["weekly_bars"]["period"] == "1w"
    assert listed["archive_indicators"]["totals"]["partitions"] == 0
    assert listed["cleaned_bars"]["downstream"] == ["resampled_bars", "indicators", "archive_cleaned_bars"]


def test_a_dataset_tells_its_columns(api):
    detail = ask(api, "datasets/cleaned_bars")
    close = next(each for each in detail["columns"] if each["name"] == "close")
    assert close == {"name": "close", "type": "Float64", "unit": "quote", "meaning": "price of the last trade",
                     "nullable": False}  # fmt: skip
    assert any(each["name"] == "rsi_14" for each in ask(api, "datasets/indicators")["columns"])
    assert ask(api, "datasets/nothing", 404)["type"] == "urn:md-platform:unknown-dataset"
    assert ask(api, "datasets/archive_raw_bars", 404)["type"] == "urn:md-platform:unknown-dataset"


def test_coverage_is_a_letter_a_day(api):
    page = ask(api, "datasets/cleaned_bars/coverage")
    assert page["instruments"] == [
        {"instrument": BTC, "first": "2024-03-04", "last": "2024-03-06", "rows": 2880, "bytes": 0, "score": 0.95,
         "statuses": {"degraded": 1, "ok": 1}, "calendar": "d-o"}
    ]  # fmt: skip
    assert page["next_after"] is None
    later = ask(api, "datasets/cleaned_bars/coverage", ids="BTCUSDT", start="2024-03-05")
    assert later["instruments"][0]["calendar"] == "o"


def test_a_partition_tells_all_that_is_known_of_it(api):
    found = ask(api, f"datasets/cleaned_bars/days/{D}/binance:BTC/USDT")
    assert (found["status"], found["score"], found["source"]) == ("degraded", 0.9, "binance")
    assert found["run_url"].endswith("/runs/run-1")
    assert found["revised_rows"] == 1440
    assert sum(each["violations"] for each in found["checks"]) == 3
    assert len(found["checks"]) > 5
    assert found["gaps"][0]["bars"] == 10
    assert [row["rule"] for row in found["quarantined_rows"]] == ["high_below_body"]
    assert found["quarantined_rows"][0]["high"] is None
    assert found["upstream"] == [{"dataset": "raw_bars", "date": str(D), "sha256_used": f"raw_bars-{D}",
                                  "sha256": f"raw_bars-{D}", "is_current": True}]  # fmt: skip
    assert {each["dataset"]: each["is_current"] for each in found["downstream"]} == {
        "resampled_bars": False,
        "archive_cleaned_bars": True,
    }
    above = ask(api, f"datasets/resampled_bars/days/{D}/{BTC}")
    assert [each["dataset"] for each in above["downstream"]] == ["weekly_bars"]
    assert [each["date"] for each in ask(api, f"datasets/weekly_bars/days/{D}/{BTC}")["upstream"]] == [str(D)]
    assert ask(api, f"datasets/cleaned_bars/days/2020-01-01/{BTC}", 404)["type"] == "urn:md-platform:not-found"


def test_quality_is_told_by_day_and_whole(api):
    found = ask(api, f"quality/{BTC}")
    assert found["meta"] | {"score": 0.95, "missing": 10, "quarantined": 1, "rows": 2} == found["meta"]
    assert found["meta"]["completeness"] == pytest.approx(1 - 10 / 2880)
    assert found["data"]["date"] == ["2024-03-04", "2024-03-06"]
    assert found["data"]["gaps"] == [1, 0]
    assert ask(api, f"quality/{BTC}", start="2024-03-05", dataset="cleaned_bars")["data"]["status"] == ["ok"]
    assert ask(api, f"quality/{BTC}", start="2030-01-01")["meta"]["score"] is None
    csv = api.client.get(f"/api/v1/quality/{BTC}", params={"format": "csv"})
    assert csv.text.startswith("date,status,score,rows")


def test_events_are_filtered_and_know_their_repair(api, module_database_url):
    now = dt.datetime.now(dt.UTC)
    at = int((now - dt.timedelta(hours=1)).timestamp()) * live_rows.SECOND
    gap = {"channels": ["trades"], "instruments": [BTC], "start": at - 60 * live_rows.SECOND, "end": at}
    told = [
        live_rows.notice(0, at=at, kind="disconnected"),
        live_rows.notice(0, at=at + 1_000, kind="gap", **gap),
        live_rows.notice(0, at=at + 2_000_000, kind="repaired", **gap),
        live_rows.notice(0, at=at + 3_000_000, kind="gap", **(gap | {"instruments": ["binance:ETH-USDT"]})),
    ]
    with LiveStore(module_database_url) as store:
        store.write(told, uuid.uuid4(), 4)
    found = ask(api, "events", instrument=BTC)["data"]
    assert found["kind"] == ["disconnected", "gap", "repaired"]
    assert found["repaired_at"][1] == found["at"][2]
    assert found["repaired_at"][0] is None
    assert len(ask(api, "events", venue="binance", kind="gap,repaired")["data"]["kind"]) == 3
    assert ask(api, "events", venue="kraken")["meta"]["rows"] == 0
    assert ask(api, "events", end=(now - dt.timedelta(hours=2)).isoformat())["meta"]["rows"] == 0
    assert api.client.get("/api/v1/events", params={"format": "csv"}).text.count(BTC) == 2
    assert ask(api, "events", 413, start="2001-01-01")["type"] == "urn:md-platform:too-large"
