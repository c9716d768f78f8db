"""import as a user meets it, against a real ledger and a server that speaks Dagster's GraphQL."""

import datetime as dt
import json
import zipfile
from pathlib import Path

import polars as pl
import pytest

from md_platform.domain.intervals import DAY
from md_platform_tests.cli.loading_platform import BTC, D, mdp


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


def test_an_id_that_reads_like_a_native_symbol_is_not_guessed(platform, tmp_path, capfd):
    assert mdp("import", str(bars_csv(tmp_path, D)), "--instrument", "file:BTCUSDT") == 2
    assert "instruments of universe crypto are pairs" in capfd.readouterr().err
