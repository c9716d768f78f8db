"""backfill and import as a user meets them, against a real ledger and a server that speaks Dagster's GraphQL."""

import datetime as dt
import json
import os
import signal
import threading
import zipfile
from pathlib import Path

import polars as pl
import pytest

from md_platform import cli, orchestrator
from md_platform.catalog.backfill import next_period
from md_platform.catalog.ledger import Ledger, PartitionRecord
from md_platform.catalog.ranges import Range, next_day
from md_platform.domain.instruments import Instrument
from md_platform.domain.intervals import DAY, Timeframe
from md_platform.embedded.ports import free_port
from md_platform.errors import SourceUnavailable, UnknownInstrument
from md_platform.loading import loader as loading
from md_platform.loading.naming import resolve
from md_platform.storage.migrate import migrate
from md_platform_tests.scripted_dagster import ScriptedRun, scripted_dagster

BTC = Instrument.parse("binance:BTC-USDT", native="BTCUSDT")
ETH = Instrument.parse("binance:ETH-USDT", native="ETHUSDT")
D = dt.date(2024, 3, 4)  # a Monday


class Platform:
    """A ledger, and a Dagster whose runs record every partition of their range in it."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.bad: set[tuple[str, str, dt.date]] = set()
        self.ends_in = "SUCCESS"
        self.error: str | None = None

    def work(self, run: ScriptedRun) -> None:
        if self.ends_in == "SUCCESS":
            partitions = Range.of_run(run.tags)
            order = self.dagster.registered
            first, last = (order.index(name) for name in partitions.instruments)
            names = order[first : last + 1]
            for asset in run.assets:  # one after the other, as Dagster makes them
                self.ledger.record([self.record(run, asset, n, d) for n in names for d in _dates(asset, partitions)])
        run.status, run.error = self.ends_in, self.error

    def record(self, run: ScriptedRun, asset: str, name: str, date: dt.date) -> PartitionRecord:
        if (asset, name, date) in self.bad:
            return PartitionRecord(
                asset, name, date, "failed", evidence={"error": "no source delivered"}, run_id=run.id
            )
        content = asset.removeprefix("archive_")
        return PartitionRecord(asset, name, date, "ok", rows=1_440, sha256=f"{content} {date}", run_id=run.id)

    def launched(self) -> list[tuple[str, str, str]]:
        return [
            (run.assets[0], *(run.tags[f"dagster/asset_partition_range_{e}"] for e in ("start", "end")))
            for run in self.dagster.runs
        ]


def _dates(asset: str, partitions: Range) -> list[dt.date]:
    after = next_day
    if "weekly" in asset or "monthly" in asset:
        after = next_period(Timeframe.W1 if "weekly" in asset else Timeframe.MONTH1)
    dates = [partitions.first]
    while dates[-1] < partitions.last:
        dates.append(after(dates[-1]))
    return dates


@pytest.fixture
def platform(database_url, tmp_path, monkeypatch):
    for name in [name for name in os.environ if name.startswith("MDP_")]:
        monkeypatch.delenv(name)
    migrate(database_url)
    ledger = Ledger(database_url)
    ledger.register([(BTC, "crypto"), (ETH, "crypto")])
    found = Platform(ledger)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MDP_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("MDP_DATABASE_URL", database_url)
    monkeypatch.setattr(loading, "_PATIENCE_S", 1)
    monkeypatch.setattr(loading.Loader.__init__, "__defaults__", (0.02,))
    with scripted_dagster(found.work) as found.dagster:
        monkeypatch.setenv("MDP_DAGSTER_PORT", str(found.dagster.port))
        yield found


def mdp(*arguments: str) -> int:
    with pytest.raises(SystemExit) as exit_of:
        cli.main(list(arguments))
    return exit_of.value.code


def backfill(*more: str, ids: tuple[str, ...] = ("binance:BTC-USDT",), start: dt.date = D, days: int = 3) -> int:
    return mdp("backfill", *ids, "--start", str(start), "--end", str(start + days * DAY), *more)


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


def bars_csv(folder: Path, day: dt.date, rows: int = 1_440, name: str | None = None) -> Path:
    times = pl.datetime_range(day, day + DAY, "1m", closed="left", eager=True, time_zone="UTC").head(rows)
    path = folder / (name or f"{day}.csv")
    path.parent.mkdir(exist_ok=True)
    pl.DataFrame(
        {"time": times.dt.epoch("ms"), **dict.fromkeys(("open", "high", "low", "close", "volume"), 2.0)}
    ).write_csv(path)
    return path


def test_an_import_runs_each_block_of_days_with_its_files(platform, tmp_path, capsys):
    days = [D, D + DAY, D + 7 * DAY]
    files = [bars_csv(tmp_path / "in", day) for day in days]
    assert mdp("import", str(tmp_path / "in"), "--instrument", BTC.id, "--to", "resampled", "--time-unit", "ms") == 0
    assert [(run.assets, run.config) for run in platform.dagster.runs] == [
        (
            ["raw_bars", "cleaned_bars", "resampled_bars"],
            {"ops": {"crypto__raw_bars": {"config": {"files": [str(file) for file in block], "time_unit": "ms"}}}},
        )
        for block in (files[:2], files[2:])
    ]
    assert "binance:BTC-USDT     3" in capsys.readouterr().out


def test_imported_trades_take_their_own_chain(platform, tmp_path):
    path = tmp_path / "trades.csv"
    path.write_text("when,price,amount,side,id\n" + "".join(f"{1_709_510_400 + n},2,1,buy,{n}\n" for n in range(9)))
    assert mdp("import", str(path), "--instrument", "file:BTC-USD", "--to", "cleaned", "--column", "time=when") == 0
    (run,) = platform.dagster.runs
    assert run.assets == ["raw_trades", "live_trades", "cleaned_trades", "trade_bars", "cleaned_bars"]
    assert run.config == {
        "ops": {"crypto__raw_trades": {"config": {"files": [str(path)], "columns": {"time": "when"}}}}
    }
    assert platform.dagster.registered == ["file:BTC-USD"]


def test_a_dry_run_needs_no_platform_and_changes_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("MDP_HOME", str(tmp_path / "none"))
    monkeypatch.delenv("MDP_DATABASE_URL", raising=False)
    folder = tmp_path / "in"
    bars_csv(folder, D)
    bars_csv(folder, D + DAY)
    assert mdp("import", str(folder), "--instrument", "file:BTC-USD", "--dry-run") == 0
    out = capsys.readouterr().out
    assert "2,880 rows of bars, 2024-03-04T00:00:00Z to 2024-03-05T23:59:00Z" in out
    assert "time=time, open=open" in out
    assert "nothing was imported" in out
    assert mdp("import", str(folder), "--instrument", "file:BTC-USD", "--dry-run", "--json") == 0
    found = json.loads(capsys.readouterr().out)["files"]
    assert [(each["kind"], each["parts"][0]["time_unit"], each["days"]) for each in found] == [
        ("bars", "ms", ["2024-03-04"]),
        ("bars", "ms", ["2024-03-05"]),
    ]
    assert not (tmp_path / "none").exists()


def corrupt_zip(folder: Path) -> Path:
    path = folder / "bars.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(bars_csv(folder, D))
    path.write_bytes(path.read_bytes()[:200])
    return path


def wrong_columns(folder: Path) -> Path:
    path = folder / "wrong.csv"
    path.write_text("name,colour\nx,red\n")
    return path


def future(folder: Path) -> Path:
    return bars_csv(folder, dt.date(2099, 1, 1))


@pytest.mark.parametrize(
    ("make", "flags", "message"),
    [
        (corrupt_zip, [], "bars.zip is not a whole zip archive"),
        (wrong_columns, [], "bars need open high low close volume and a time column"),
        (future, [], "lie in the future"),
        (lambda folder: folder / "none.csv", [], "none.csv does not exist"),
        (lambda folder: bars_csv(folder, D), ["--time-unit", "fortnight"], "time unit must be one of"),
        (lambda folder: bars_csv(folder, D), ["--column", "close"], "--column must be OURS=THEIRS"),
        (lambda folder: bars_csv(folder, D), ["--column", "close=last"], "has no column 'last' for close"),
        (lambda folder: bars_csv(folder, dt.date(2012, 1, 1)), [], "must not lie before 2017-08-17"),
    ],
)
def test_a_file_that_cannot_be_imported_is_one_line_and_exit_2(platform, tmp_path, make, flags, message, capfd):
    assert mdp("import", str(make(tmp_path)), "--instrument", BTC.id, *flags) == 2
    err = capfd.readouterr().err
    assert err.startswith("mdp: ")
    assert message in err
    assert err.count("\n") == 1
    assert not platform.dagster.runs


def test_bars_and_trades_are_not_mixed(platform, tmp_path, capfd):
    bars_csv(tmp_path / "in", D)
    (tmp_path / "in" / "trades.csv").write_text("time,price,size\n1709510400,2,1\n")
    assert mdp("import", str(tmp_path / "in"), "--instrument", BTC.id) == 2
    assert "files must all hold bars or all trades" in capfd.readouterr().err


def unreachable(venue: str) -> list[Instrument]:
    raise SourceUnavailable(f"{venue} cannot be reached")


def test_names_are_resolved_without_the_network_where_they_are_registered():
    assert resolve(["BTC/USDT", "binance:btcusdt", "binance:ETH-USDT"], [BTC, ETH], unreachable) == [BTC, ETH]


def test_names_that_are_not_registered_are_asked_of_their_venue():
    asked = []

    def listing(venue: str) -> list[Instrument]:
        asked.append(venue)
        return [ETH] if venue == "binance" else [Instrument.parse("kraken:ETH-USDT")]

    assert resolve(["binance:ETHUSDT"], [BTC], listing) == [ETH]
    assert asked == ["binance"]
    with pytest.raises(UnknownInstrument, match="on several venues, say which"):
        resolve(["ETH/USDT"], [BTC], listing, ["kraken:BTC-USD"])
    with pytest.raises(UnknownInstrument, match=r"nearest: .*binance:ETH-USDT"):
        resolve(["binance:ETHUSD"], [BTC], listing)


def test_a_canonical_id_is_taken_as_it_is_only_where_that_is_allowed():
    new = "kraken:SOL-USD"
    with pytest.raises(SourceUnavailable):
        resolve([new], [BTC], unreachable)
    assert resolve([new], [BTC], unreachable, offline=True) == [Instrument.parse(new)]
    assert resolve(["file:SOL-USD"], [], lambda venue: [], offline=True) == [Instrument.parse("file:SOL-USD")]
    with pytest.raises(UnknownInstrument, match="must look like venue:BASE-QUOTE"):
        resolve(["SOL/USD"], [BTC], unreachable, offline=True)
    with pytest.raises(UnknownInstrument, match="no known instrument"):
        resolve(["binance:SOL-USD"], [BTC], lambda venue: [ETH], offline=True)


def test_an_id_that_reads_like_a_native_symbol_is_not_guessed(platform, tmp_path, capfd):
    assert mdp("import", str(bars_csv(tmp_path, D)), "--instrument", "file:BTCUSDT") == 2
    assert "instruments of universe crypto are pairs" in capfd.readouterr().err
