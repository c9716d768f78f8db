"""The API of a real platform: a backfill by a real Dagster, its export, pushed bars that are imported, alerts at work."""

import datetime as dt

import httpx
import polars as pl
import pytest

from md_platform.domain.intervals import UTC
from md_platform_tests.platform.running import Platform
from md_platform_tests.rows import day_of_bars
from md_platform_tests.waiting import eventually

LTC = "sandbox:LTC-USDT"
BODY = {"ids": ["sandbox:LTCUSDT"], "start": "2026-09-01", "end": "2026-09-03"}


@pytest.fixture
def api(platform: Platform):
    port = platform.environment["MDP_API_PORT"]
    with httpx.Client(base_url=f"http://127.0.0.1:{port}/api/v1", timeout=60) as client:
        yield client


def ended(api: httpx.Client, path: str):
    found = eventually(lambda: (now := api.get(path).json())["state"] not in ("queued", "running") and now, 600)
    assert found["state"] == "done", found
    return found


def test_a_backfill_its_export_and_its_evidence(api):
    started = api.post("/backfills", json=BODY)
    assert started.status_code == 202, started.text
    found = ended(api, f"/backfills/{started.json()['id']}")
    assert found["detail"]["instruments"][0]["statuses"]["ok"] == 2
    assert {run["status"] for run in found["detail"]["runs"]} == {"SUCCESS"}
    assert api.post("/backfills", json=BODY).json()["id"] is None
    day = api.get(f"/datasets/cleaned_bars/days/2026-09-01/{LTC}").json()
    assert day["run_url"].startswith("http://127.0.0.1:")
    assert all(link["is_current"] for link in day["upstream"])
    assert {link["dataset"] for link in day["downstream"]} >= {"resampled_bars", "indicators", "archive_cleaned_bars"}
    export = {"dataset": "cleaned_bars", "ids": [LTC], "start": "2026-09-01", "end": "2026-09-03", "format": "csv"}
    made = ended(api, f"/exports/{api.post('/exports', json=export).json()['id']}")
    assert made["files"][0]["rows"] == 2 * 1440


def test_bars_that_are_pushed_are_imported(api):
    date = dt.date(2026, 8, 20)
    content = day_of_bars(date, instrument=LTC).write_ipc_stream(None).getvalue()
    headers = {"content-type": "application/vnd.apache.arrow.stream"}
    eventually(lambda: api.get(f"/instruments/{LTC}").status_code == 200)
    pushed = api.post(f"/ingest/arrow/bars/{LTC}", content=content, headers=headers)
    assert pushed.status_code == 202, pushed.text
    path = f"/datasets/archive_cleaned_bars/days/{date}/{LTC}"
    day = eventually(lambda: (answer := api.get(path)).status_code == 200 and answer.json(), 300)
    assert day["rows"] == 1440
    raw = api.get(f"/datasets/raw_bars/days/{date}/{LTC}").json()
    assert raw["source"] == "import"
    assert raw["evidence"]["files"] == [pushed.json()["file"]]


def test_the_evaluator_of_alerts_is_part_of_the_platform(api, platform):
    eventually(lambda: api.get(f"/instruments/{LTC}").status_code == 200)
    rule = {"name": "silence", "instrument": LTC, "condition": {"kind": "stale", "after_s": 1}}
    made = api.post("/alerts", json=rule)
    assert made.status_code == 201, made.text
    rule_id = made.json()["id"]
    (fired,) = eventually(lambda: [each for each in api.get("/fired-alerts").json() if each["rule_id"] == rule_id], 60)
    assert dt.datetime.fromisoformat(fired["fired_at"]) < dt.datetime.now(UTC)
    assert "silence" in platform.mdp("alerts", "fired").stdout
    assert api.delete(f"/alerts/{rule_id}").status_code == 204
    assert pl.DataFrame(api.get("/backfills").json()).height <= 2
