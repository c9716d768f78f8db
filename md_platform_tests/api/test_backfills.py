"""Backfills through the API: a real ledger and jobs, a server that speaks Dagster's GraphQL."""

import datetime as dt
import threading
import time
from dataclasses import dataclass, field

import pytest

from md_platform.catalog.ledger import Ledger, PartitionRecord
from md_platform.catalog.ranges import Range
from md_platform.domain.instruments import Instrument
from md_platform.domain.intervals import DAY
from md_platform.jobs.queue import Jobs
from md_platform.jobs.worker import Work, Worker
from md_platform.storage.migrate import migrate
from md_platform_tests.api_server import Served, served, stores_of
from md_platform_tests.scripted_dagster import ScriptedDagster, ScriptedRun, scripted_dagster

BTC = "binance:BTC-USDT"
D = dt.date(2024, 3, 4)
BODY = {"ids": ["BTCUSDT"], "start": str(D), "end": str(D + 3 * DAY)}


@dataclass
class Doing:
    """What runs do: they record what they were asked for, unless they are `held`, or their days are `bad`."""

    ledger: Ledger
    held: threading.Event = field(default_factory=threading.Event)
    bad: set[dt.date] = field(default_factory=set)
    instrument: str = BTC

    def __call__(self, run: ScriptedRun) -> None:
        if self.held.is_set():
            run.status = "STARTED"
            return
        partitions = Range.of_run(run.tags)
        is_daily = "weekly" not in run.assets[0] and "monthly" not in run.assets[0]
        days = (partitions.last - partitions.first).days if is_daily else 0
        dates = [partitions.first + n * DAY for n in range(days + 1)]
        self.ledger.record([
            PartitionRecord(asset, self.instrument, date, "failed", evidence={"error": "no source"}, run_id=run.id)
            if date in self.bad and asset == "raw_bars" else
            PartitionRecord(asset, self.instrument, date, "ok", 1440, sha256=f"{asset.removeprefix('archive_')} {date}",
                            run_id=run.id)
            for asset in run.assets for date in dates
        ])  # fmt: skip
        run.status = "SUCCESS"


@dataclass
class Platform:
    served: Served
    dagster: ScriptedDagster
    work: Doing

    def post(self, status: int = 202, **given):
        answer = self.served.client.post("/api/v1/backfills", json=BODY | given)
        assert answer.status_code == status, answer.text
        return answer.json()

    def get(self, id_: str):
        return self.served.client.get(f"/api/v1/backfills/{id_}").json()

    def ends(self, id_: str, state: str = "done"):
        deadline = time.monotonic() + 30
        while (found := self.get(id_))["state"] in ("queued", "running"):
            assert time.monotonic() < deadline, found
            time.sleep(0.05)
        assert found["state"] == state, found
        return found


@pytest.fixture
def platform(tmp_path, database_url, redis_url):
    migrate(database_url)
    ledger = Ledger(database_url)
    ledger.register([(Instrument.parse(BTC, native="BTCUSDT"), "crypto")])
    work = Doing(ledger)
    with scripted_dagster(work) as dagster:
        stores = stores_of(tmp_path, database_url, redis_url, dagster_port=dagster.port)
        with served(stores) as running:
            yield Platform(running, dagster, work)


def test_a_backfill_runs_the_chain_follows_up_and_is_not_done_twice(platform):
    started = platform.post()
    assert (started["state"], started["total"]) == ("queued", 3 * 7)
    ended = platform.ends(started["id"])
    assert ended["made"] == ended["total"]
    assert ended["detail"]["instruments"][0]["statuses"]["ok"] == 3
    assert [run.assets[0] for run in platform.dagster.runs] == ["raw_bars", "weekly_bars", "monthly_bars"]
    assert {run.tags["mdp/backfill"] for run in platform.dagster.runs} == {started["id"]}
    again = platform.post(200)
    assert (again["id"], again["detail"]["message"]) == (None, "everything is there already")
    assert len(platform.dagster.runs) == 3
    listed = platform.served.client.get("/api/v1/backfills").json()
    assert [each["id"] for each in listed] == [started["id"]]
    assert started["id"] in started["runs_url"]


def test_runs_tell_what_they_make_and_who_asked(platform):
    started = platform.post()
    platform.ends(started["id"])
    monthly, *_, daily = platform.served.client.get("/api/v1/runs").json()
    assert (daily["status"], daily["asked_by"]) == ("SUCCESS", f"backfill {started['id']}")
    assert (daily["first"], daily["last"]) == (str(D), str(D + 2 * DAY))
    assert daily["instruments"] == [BTC]
    assert daily["assets"] == ["raw_bars", *_rest()]
    assert daily["url"].endswith(f"/runs/{daily['id']}")
    assert monthly["assets"][0] == "monthly_bars"
    assert [each["id"] for each in platform.served.client.get("/api/v1/runs?limit=1").json()] == [monthly["id"]]


def test_the_same_request_while_it_runs_is_the_same_backfill(platform):
    platform.work.held.set()
    started = platform.post()
    assert platform.post(200)["id"] == started["id"]
    assert platform.post(202, trades=True)["id"] != started["id"]


def test_a_backfill_that_is_cancelled_cancels_its_runs(platform):
    platform.work.held.set()
    started = platform.post()
    deadline = time.monotonic() + 10
    while not platform.dagster.runs:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    platform.served.client.delete(f"/api/v1/backfills/{started['id']}")
    platform.ends(started["id"], "cancelled")
    assert [run.status for run in platform.dagster.runs] == ["CANCELED"]
    assert platform.served.client.delete(f"/api/v1/backfills/{started['id']}").json()["state"] == "cancelled"


def test_days_that_fail_are_told(platform):
    platform.work.bad.add(D + DAY)
    ended = platform.ends(platform.post()["id"], "failed")
    assert ended["error"].startswith("1 of 3 days")
    assert (
        ended["detail"]["problems"][0] | {"date": "2024-03-05", "reason": "no source"}
        == (ended["detail"]["problems"][0])
    )


def test_a_backfill_goes_on_where_its_process_was_killed(platform, database_url):
    """The dead process had launched a run, of which nothing more was heard."""
    platform.work.held.set()
    backfills = platform.served.app.state.stores.operations.backfills
    wish = {"instruments": [BTC], "natives": ["BTCUSDT"], "start": str(D), "end": str(D + 3 * DAY),
            "stage": "archive", "trades": False, "refresh": True}  # fmt: skip
    jobs = Jobs(database_url)
    platform.served.app.state.stores.operations.close()
    job = jobs.add("backfill", "someone", wish)
    assert jobs.claim(["backfill"], "dead").id == job.id
    tags = {"mdp/backfill": job.id, "mdp/venue": "binance", **Range((BTC,), D, D + 2 * DAY).tags}
    platform.dagster.registered.append(BTC)
    platform.dagster.runs.append(ScriptedRun("earlier", "crypto", ["raw_bars", *_rest()], tags, {}, "STARTED"))
    with jobs._connect() as connection:
        connection.execute("UPDATE md.jobs SET seen_at = now() - interval '1 minute'")
    again = Worker(jobs, {"backfill": Work(backfills.do, 1)})
    again.start()
    try:
        time.sleep(0.5)
        assert [run.id for run in platform.dagster.runs] == ["earlier"]
        platform.work.held.clear()
        platform.work(platform.dagster.runs[0])
        platform.ends(job.id)
        assert [run.assets[0] for run in platform.dagster.runs[1:]] == ["weekly_bars", "monthly_bars"]
    finally:
        again.close()


def _rest() -> list[str]:
    return ["cleaned_bars", "resampled_bars", "indicators", "archive_cleaned_bars", "archive_resampled_bars",
            "archive_indicators"]  # fmt: skip


@pytest.mark.parametrize(
    ("given", "status", "kind"),
    [
        ({"ids": ["nothing"]}, 404, "unknown-instrument"),
        ({"end": str(D)}, 422, "invalid-range"),
        ({"end": "2199-01-01"}, 422, "invalid-range"),
        ({"start": "1990-01-01"}, 422, "invalid-range"),
        ({"ids": []}, 422, "invalid-request"),
        ({"stage": "nowhere"}, 422, "invalid-request"),
    ],
)
def test_a_wrong_request_is_refused(platform, given, status, kind):
    assert platform.post(status, **given)["type"] == f"urn:md-platform:{kind}"


def test_without_dagster_the_answer_says_so(platform):
    platform.dagster.status = 502
    answer = platform.post(503)
    assert answer["type"] == "urn:md-platform:orchestrator-unavailable"
    assert answer["retryable"]
    assert platform.served.client.get("/api/v1/backfills").json() == []
    assert platform.served.client.get("/api/v1/backfills/00").status_code == 404
