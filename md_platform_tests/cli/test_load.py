"""backfill as a user meets it, against a real ledger and a server that speaks Dagster's GraphQL."""

import datetime as dt
import json
import signal
import threading

import pytest

from md_platform import orchestrator
from md_platform.catalog.ranges import Range
from md_platform.domain.intervals import DAY
from md_platform.embedded.ports import free_port
from md_platform_tests.cli.loading_platform import BTC, D, backfill, mdp
from md_platform_tests.scripted_dagster import ScriptedRun


def test_a_backfill_runs_the_chain_then_weeks_and_months_and_ends_with_a_table(platform, capsys):
    assert backfill(ids=("BTC/USDT", "binance:ethusdt")) == 0
    assert platform.launched() == [
        ("raw_bars", "2024-03-04|binance:BTC-USDT", "2024-03-06|binance:ETH-USDT"),
        ("weekly_bars", "2024-03-04|binance:BTC-USDT", "2024-03-04|binance:ETH-USDT"),
        ("monthly_bars", "2024-03-01|binance:BTC-USDT", "2024-03-01|binance:ETH-USDT"),
    ]
    assert platform.dagster.runs[0].assets[-1] == "archive_indicators"
    tags = platform.dagster.runs[0].tags
    assert tags["mdp/venue"] == "binance"
    assert tags["mdp/periods-follow"] == "yes"
    said = capsys.readouterr()
    assert [line.split()[:4] for line in said.out.splitlines()] == [
        ["instrument", "days", "rows", "ok"],
        ["binance:BTC-USDT", "3", "4,320", "3"],
        ["binance:ETH-USDT", "3", "4,320", "3"],
    ]
    assert f"mdp%2Fbackfill%3D{tags['mdp/backfill']}" in said.err


def test_the_same_backfill_again_launches_nothing(platform, capsys):
    backfill()
    before = list(platform.dagster.runs)
    assert backfill() == 0
    assert platform.dagster.runs == before
    assert "everything is there already" in capsys.readouterr().err


def test_refresh_makes_it_again(platform):
    backfill("--to", "cleaned")
    assert backfill("--to", "cleaned", "--refresh") == 0
    assert [run.assets for run in platform.dagster.runs] == [["raw_bars", "cleaned_bars"]] * 2


def test_only_what_is_not_whole_is_run(platform):
    backfill("--to", "resampled", days=1, start=D + DAY)
    platform.dagster.runs.clear()
    assert backfill("--to", "resampled") == 0
    assert platform.launched() == [
        ("raw_bars", "2024-03-04|binance:BTC-USDT", "2024-03-04|binance:BTC-USDT"),
        ("raw_bars", "2024-03-06|binance:BTC-USDT", "2024-03-06|binance:BTC-USDT"),
    ]


def test_indicators_that_look_back_on_new_days_follow(platform):
    backfill("--to", "indicators", start=D + DAY, days=1)
    platform.dagster.runs.clear()
    assert backfill("--to", "indicators", days=1) == 0
    assert platform.launched() == [
        ("raw_bars", "2024-03-04|binance:BTC-USDT", "2024-03-04|binance:BTC-USDT"),
        ("indicators", "2024-03-05|binance:BTC-USDT", "2024-03-05|binance:BTC-USDT"),
    ]


def test_failed_partitions_are_told_with_their_reason(platform, capsys):
    platform.bad = {("raw_bars", BTC.id, D), ("raw_bars", BTC.id, D + DAY)}
    assert backfill("--to", "raw") == 1
    out = capsys.readouterr().out
    assert "failed: raw_bars of binance:BTC-USDT, 2024-03-04 to 2024-03-05: no source delivered" in out
    platform.bad = set()
    assert backfill("--to", "raw") == 0
    assert platform.launched()[-1] == ("raw_bars", "2024-03-04|binance:BTC-USDT", "2024-03-05|binance:BTC-USDT")


def test_a_failed_run_is_told_with_its_reason(platform, capsys):
    platform.ends_in, platform.error = "FAILURE", "dagster._core.Failure: no space left for the lake"
    assert backfill("--to", "raw") == 1
    assert "run run-0 failure: no space left for the lake" in capsys.readouterr().out


def test_a_run_that_dagster_tries_again_is_followed(platform):
    def crash_once(run: ScriptedRun) -> None:
        if len(platform.dagster.runs) > 1:
            platform.work(run)
            return
        run.status = "FAILURE"
        retry = ScriptedRun("again", run.universe, run.assets, run.tags | {"dagster/root_run_id": run.id}, run.config)
        run.tags = run.tags | {"dagster/will_retry": "true", "dagster/auto_retry_run_id": "again"}
        platform.dagster.runs.append(retry)

    platform.dagster.work = crash_once
    assert backfill("--to", "raw") == 0


def test_json_is_one_document(platform, capsys):
    platform.bad = {("cleaned_bars", BTC.id, D)}
    assert backfill("--to", "cleaned", "--json", days=1) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["instruments"][0]["statuses"]["failed"] == 1
    assert found["problems"] == [
        {
            "dataset": "cleaned_bars",
            "instrument": BTC.id,
            "date": str(D),
            "status": "failed",
            "reason": "no source delivered",
        }
    ]
    assert [run["status"] for run in found["runs"]] == ["SUCCESS"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["binance:BTC-USDT", "--start", "2024-03-05", "--end", "2024-03-04"], "end must be after start"),
        (["binance:BTC-USDT", "--start", "2024-03-05", "--end", "2099-03-04"], "end must not lie in the future"),
        (["binance:BTC-USDT", "--start", "soon", "--end", "2024-03-04"], "start must be an ISO 8601 date"),
        (["binance:BTC-USDT", "--start", "2010-01-01", "--end", "2010-01-02"], "must not lie before 2017-08-17"),
        (["binance:BTC-USDT", "--start", "2024-03-04", "--end", "2024-03-05", "--to", "x"], "stage must be one of"),
        (["nowhere:BTC-USDT", "--start", "2024-03-04", "--end", "2024-03-05"], "venue must be one of"),
        (["file:BTC-USD", "--start", "2024-03-04", "--end", "2024-03-05"], "no known instrument is named 'file:BTC-USD'"),
    ],
)  # fmt: skip
def test_a_wrong_request_is_one_line_and_exit_2(platform, arguments, message, capfd):
    assert mdp("backfill", *arguments) == 2
    said = capfd.readouterr()
    assert said.err.startswith("mdp: ")
    assert message in said.err
    assert said.err.count("\n") == 1
    assert said.out == ""
    assert not platform.dagster.runs


def test_a_day_that_is_not_over_is_refused(platform, capfd):
    now = dt.datetime.now(dt.UTC)
    assert mdp("backfill", BTC.id, "--start", str(now.date() - DAY), "--end", f"{now:%Y-%m-%dT%H:%M:%S}") == 2
    assert "that day is not over yet" in capfd.readouterr().err


def test_dagster_that_is_away_is_one_line_and_exit_1(platform, monkeypatch, capfd):
    monkeypatch.setenv("MDP_DAGSTER_PORT", str(free_port()))
    assert backfill() == 1
    assert "start it with `mdp up`" in capfd.readouterr().err


def test_dagster_that_is_broken_is_one_line_and_exit_1(platform, capfd):
    platform.dagster.status = 500
    assert backfill() == 1
    (line,) = capfd.readouterr().err.splitlines()
    assert line.endswith(": see dagster-webserver.log in MDP_HOME/logs")


CODE_SERVER_IS_AWAY = {
    "assetNodeOrError": {"__typename": "AssetNotFoundError"},
    "addDynamicPartition": {
        "__typename": "UnauthorizedError",
        "message": "The repository does not contain a dynamic partitions definition with the given name.",
    },
    "launchRun": {
        "__typename": "InvalidSubsetError",
        "message": "dagster._core.errors.DagsterUserCodeUnreachableError: Could not reach user code server.",
    },
}


def test_a_code_server_that_is_restarted_is_waited_for(platform, monkeypatch):
    monkeypatch.setattr(orchestrator, "_POLL_S", 0.01)
    platform.dagster.away = {name: [answer] * 2 for name, answer in CODE_SERVER_IS_AWAY.items()}
    assert backfill() == 0
    assert not any(platform.dagster.away.values())
    assert len(platform.dagster.runs) == 3


@pytest.mark.parametrize("asked", CODE_SERVER_IS_AWAY)
def test_a_code_server_that_stays_away_is_one_line_and_exit_1(platform, monkeypatch, capfd, asked):
    monkeypatch.setattr(orchestrator.Orchestrator.__init__, "__defaults__", (60, 0))
    platform.dagster.away = {asked: [CODE_SERVER_IS_AWAY[asked]]}
    assert backfill() == 1
    assert capfd.readouterr().err.splitlines()[-1] == (
        "mdp: Dagster's code server does not answer, or its definitions are not these:"
        " see `mdp doctor`, or restart `mdp up`"
    )


@pytest.mark.parametrize(("flags", "status"), [([], "QUEUED"), (["--cancel-on-interrupt"], "CANCELED")])
def test_ctrl_c_leaves_the_runs_in_dagster_unless_told(platform, flags, status, capfd):
    def never(run: ScriptedRun) -> None:
        threading.Timer(0.2, signal.raise_signal, [signal.SIGINT]).start()
        platform.dagster.work = lambda run: None

    platform.dagster.work = never
    platform.dagster.runs.clear()
    assert backfill("--to", "raw", *flags) == 130
    assert [run.status for run in platform.dagster.runs] == [status]
    assert "interrupted" in capfd.readouterr().err


def test_a_load_that_still_runs_is_waited_for(platform, capfd):
    def later(run: ScriptedRun) -> None:
        if run.status == "QUEUED" and platform.looks:
            platform.looks -= 1
        elif run.status == "QUEUED":
            platform.work(run)

    platform.looks = 4
    platform.dagster.work = later
    platform.dagster.registered.append(BTC.id)
    range_tags = Range((BTC.id,), D, D + 2 * DAY).tags
    tags = {"mdp/backfill": "earlier", "mdp/venue": "binance", **range_tags}
    platform.dagster.runs.append(ScriptedRun("run-0", "crypto", ["raw_bars"], tags, {}))
    assert backfill("--to", "raw") == 0
    assert len(platform.dagster.runs) == 1
    assert "load earlier is still making some of these partitions" in capfd.readouterr().err
