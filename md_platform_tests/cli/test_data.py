"""datasets, status, show and export as a user meets them: real lake, real ledger."""

import csv
import datetime as dt
import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from md_platform import cli
from md_platform.catalog.ledger import Ledger, PartitionRecord
from md_platform.domain import schemas
from md_platform.domain.instruments import Instrument
from md_platform.domain.intervals import DAY
from md_platform.storage.archive import Archive, Days
from md_platform.storage.lake import Lake
from md_platform.storage.migrate import migrate
from md_platform_tests.rows import BTC, DAY0, day_of_bars

D = DAY0.date()
EXPECTED = pl.concat(day_of_bars(D + n * DAY) for n in range(3))
GAP = {"start": "2024-02-26T03:00:00+00:00", "end": "2024-02-26T05:00:00+00:00", "bars": 120}
DEGRADED = {"gaps": [GAP], "missing": 120, "quarantined": {"high_covers": 2}, "violations": {"expected_present": 120}}


@pytest.fixture(scope="module")
def home(module_database_url, tmp_path_factory):
    """Three days of bars, two of them archived, the first degraded; a fourth that failed."""
    home = tmp_path_factory.mktemp("home")
    migrate(module_database_url)
    ledger, lake, archive = Ledger(module_database_url), Lake(home / "lake"), Archive(str(home / "archive"))
    ledger.register([(Instrument.parse(BTC, native="BTCUSDT"), "crypto")])
    days = [D + n * DAY for n in range(3)]
    for day in days:
        frame = day_of_bars(day)
        written = lake.write(lake.path(schemas.CLEANED_BARS, BTC, day), frame)
        facts = {"rows": frame.height, "bytes": written.bytes, "source": "binance", "sha256": written.sha256}
        status = {"status": "degraded", "score": 0.91666, "evidence": DEGRADED} if day == D else {"status": "ok"}
        ledger.record([PartitionRecord("cleaned_bars", BTC, day, **status, **facts)])
        if day != days[-1]:
            ledger.record([PartitionRecord("archive_cleaned_bars", BTC, day, **status, **facts)])
    stored = pl.concat(day_of_bars(day) for day in days[:2])
    archive.replace("cleaned_bars", stored, "open_time", [Days((BTC,), days[0], days[1])], {})
    error = {"error": "no source delivered"}
    ledger.record([PartitionRecord("cleaned_bars", BTC, D + 3 * DAY, "failed", evidence=error)])
    return home


@pytest.fixture(autouse=True)
def _environment(home, module_database_url, tmp_path, monkeypatch):
    for name in [name for name in os.environ if name.startswith("MDP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("MDP_HOME", str(home))
    monkeypatch.setenv("MDP_DATABASE_URL", module_database_url)
    monkeypatch.chdir(tmp_path)


def mdp(*arguments: str) -> int:
    with pytest.raises(SystemExit) as exit_of:
        cli.main(list(arguments))
    return exit_of.value.code


def span(days: int = 3, start: dt.date = D) -> list[str]:
    return ["--start", str(start), "--end", str(start + days * DAY)]


def test_datasets_lists_what_is_there(capsys):
    assert mdp("datasets") == 0
    heading, archived, cleaned = capsys.readouterr().out.splitlines()
    assert heading.split()[:4] == ["dataset", "instruments", "partitions", "ok"]
    assert archived.split()[:7] == ["archive_cleaned_bars", "1", "2", "1", "1", "-", "-"]
    assert cleaned.split()[:8] == ["cleaned_bars", "1", "4", "2", "1", "-", "-", "1"]
    assert mdp("datasets", "--json") == 0
    found = json.loads(capsys.readouterr().out)["datasets"]
    assert (found[1]["rows"], found[1]["first_day"]) == (3 * 1_440, str(D))
    assert found[1]["meaning"] == schemas.CLEANED_BARS.meaning


def test_status_tells_each_day_and_why(capsys):
    assert mdp("status", "cleaned_bars", "BTC/USDT") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split()[:4] == [str(D), "degraded", "0.9167", "1,440"]
    assert "120 missing in 1, longest 03:00 to 05:00" in lines[1]
    assert "2 rows in quarantine: high_covers; 120 rows against expected_present" in lines[1]
    assert lines[4].split()[:2] == [str(D + 3 * DAY), "failed"]
    assert "no source delivered" in lines[4]


def test_status_of_an_interval_is_half_open_and_json_has_the_evidence(capsys):
    assert mdp("status", "cleaned_bars", BTC, *span(1), "--json") == 0
    (found,) = json.loads(capsys.readouterr().out)["partitions"]
    assert (found["date"], found["evidence"]["gaps"]) == (str(D), [GAP])


def test_status_of_quarantine_is_that_of_what_was_cleaned(capsys):
    assert mdp("status", "quarantined_bars", BTC, "--json") == 0
    assert {each["dataset"] for each in json.loads(capsys.readouterr().out)["partitions"]} == {"cleaned_bars"}


def test_status_of_nothing_says_what_makes_it(capfd):
    assert mdp("status", "raw_bars", BTC) == 0
    assert "mdp backfill binance:BTC-USDT" in capfd.readouterr().err


def test_show_prints_the_first_rows_and_says_that_there_are_more(capfd):
    assert (
        mdp("show", "cleaned_bars", "btcusdt", *span(), "--limit", "2", "--columns", "open_time,close,is_closed") == 0
    )
    said = capfd.readouterr()
    assert [line.split() for line in said.out.splitlines()] == [
        ["open_time", "close", "is_closed"],
        ["2024-02-26T00:00:00Z", f"{EXPECTED['close'][0]:.15g}", "yes"],
        ["2024-02-26T00:01:00Z", f"{EXPECTED['close'][1]:.15g}", "yes"],
    ]
    assert "the first 2 rows" in said.err


def test_show_as_json_is_a_row_a_line(capfdbinary):
    end = f"{D + DAY}T00:03"
    assert mdp("show", "cleaned_bars", BTC, "--start", f"{D}T23:59", "--end", end, "--limit", "0", "--json") == 0
    rows = [json.loads(line) for line in capfdbinary.readouterr().out.splitlines()]
    assert [row["open_time"][11:] for row in rows] == ["23:59:00Z", "00:00:00Z", "00:01:00Z", "00:02:00Z"]
    assert list(rows[0]) == schemas.CLEANED_BARS.schema.names()


def test_a_limit_that_is_just_met_is_not_called_a_cut(capfd):
    end = f"{D}T00:02"
    assert mdp("show", "cleaned_bars", BTC, "--start", str(D), "--end", end, "--limit", "2") == 0
    assert capfd.readouterr().err == ""


def test_show_of_nothing_says_where_to_look(capfd):
    assert mdp("show", "cleaned_bars", BTC, *span(1, D + 9 * DAY)) == 0
    assert "`mdp status cleaned_bars binance:BTC-USDT`" in capfd.readouterr().err


@pytest.mark.parametrize("form", ["csv", "json", "parquet"])
def test_every_format_holds_the_same_rows(form, tmp_path, capfd):
    path = tmp_path / f"bars.{form}"
    assert mdp("export", "cleaned_bars", BTC, *span(), "--output", str(path), "--json") == 0
    told = json.loads(capfd.readouterr().out)
    assert told == {"path": str(path), "format": form, "rows": 3 * 1_440, "bytes": path.stat().st_size}
    found = {"csv": pl.read_csv, "json": pl.read_ndjson, "parquet": pl.read_parquet}[form](path)
    if form != "parquet":
        times = pl.col("open_time", "close_time", "known_at").str.to_datetime("%Y-%m-%dT%H:%M:%S%.fZ", time_zone="UTC")
        found = found.with_columns(times)
    assert_frame_equal(found.cast(dict(EXPECTED.schema)), EXPECTED)
    assert list(tmp_path.iterdir()) == [path]


def test_standard_output_is_csv_unless_told(capfdbinary):
    assert mdp("export", "cleaned_bars", BTC, *span(1), "--columns", "open_time,close", "--timeframe", "1m") == 0
    rows = list(csv.reader(capfdbinary.readouterr().out.decode().splitlines()))
    assert rows[:2] == [["open_time", "close"], ["2024-02-26T00:00:00Z", str(EXPECTED["close"][0])]]
    assert len(rows) == 1_441


def test_nothing_is_still_a_file_with_its_columns(tmp_path, capfd):
    path = tmp_path / "none.csv"
    assert mdp("export", "cleaned_bars", BTC, *span(1, D + 9 * DAY), "--output", str(path)) == 0
    assert path.read_text() == ",".join(schemas.CLEANED_BARS.schema.names()) + "\n"
    assert "has no rows there" in capfd.readouterr().err


def test_what_does_not_compute_yet_is_null_in_json(home, capfdbinary):
    lake, key = Lake(home / "lake"), ["instrument", "timeframe", "open_time"]
    frame = day_of_bars(D, [0]).select(key).with_columns(rsi_14=float("nan"))
    lake.write(lake.path(schemas.INDICATORS, BTC, D), frame)
    assert mdp("export", "indicators", BTC, *span(1), "--format", "json", "--columns", "rsi_14") == 0
    assert json.loads(capfdbinary.readouterr().out) == {"rsi_14": None}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["show", "no_bars", BTC, *span()], "dataset must be one of"),
        (["show", "cleaned_bars", "binance:ETH-USDT", *span()], "no known instrument is named 'binance:ETH-USDT'"),
        (["show", "cleaned_bars", BTC, *span(-1)], "end must be after start"),
        (["show", "cleaned_bars", BTC, *span(1, dt.date(2099, 1, 1))], "end must not lie in the future"),
        (["show", "cleaned_bars", BTC, *span(), "--timeframe", "7m"], "timeframe must be one of"),
        (["show", "cleaned_bars", BTC, *span(), "--timeframe", "1h"], "cleaned_bars holds 1m, was '1h'"),
        (["show", "cleaned_bars", BTC, *span(), "--columns", "close,clse"], "was 'clse'"),
        (["status", "cleaned", BTC], "dataset must be one of"),
        (["status", "cleaned_bars", BTC, *span(-1)], "end must be after start"),
        (["export", "cleaned_bars", BTC, *span(), "--json", "--format", "csv"], "--json writes JSON lines"),
    ],
)
def test_a_wrong_request_is_one_line_and_exit_2(arguments, message, capfd):
    assert mdp(*arguments) == 2
    said = capfd.readouterr()
    assert message in said.err
    assert said.err.count("\n") == 1
    assert said.out == ""


def test_a_platform_that_never_ran_says_how_to_start_it(tmp_path, monkeypatch, capfd):
    monkeypatch.delenv("MDP_DATABASE_URL")
    monkeypatch.setenv("MDP_HOME", str(tmp_path / "none"))
    assert mdp("datasets") == 1
    assert "start the platform with `mdp up`" in capfd.readouterr().err


def run_mdp(*arguments: str, **more) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(Path(cli.__file__).parents[2])}
    argv = [sys.executable, "-m", "md_platform.cli", *arguments]
    return subprocess.run(argv, capture_output=True, text=True, env=environment, check=False, **more)


@pytest.mark.parametrize("form", ["csv", "json", "parquet"])
def test_a_full_disk_leaves_no_half_of_a_file(tmp_path, form):
    def quota() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

    path = tmp_path / f"bars.{form}"
    result = run_mdp("export", "cleaned_bars", BTC, *span(), "--output", str(path), preexec_fn=quota)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith(f"mdp: no space left for {path}")
    assert result.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_one_clear_line(tmp_path, capfd):
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file" / "bars.csv", tmp_path / "none" / "bars.csv", tmp_path):
        assert mdp("export", "cleaned_bars", BTC, *span(), "--output", str(path)) == 1
        assert f"{path} cannot be written" in capfd.readouterr().err


def test_a_pipe_that_closes_is_no_traceback():
    command = f"{sys.executable} -m md_platform.cli export cleaned_bars {BTC} {' '.join(span())} | head -1"
    environment = {**os.environ, "PYTHONPATH": str(Path(cli.__file__).parents[2])}
    result = subprocess.run(command, shell=True, capture_output=True, text=True, env=environment, check=True)
    assert result.stdout.startswith("instrument,timeframe,open_time")
    assert "Traceback" not in result.stderr
