"""Three instruments of three protocols go from the venue to the archive, and stay as they are when asked for again."""

import datetime as dt
import io
import json
from collections.abc import Sequence

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from md_platform.domain.intervals import UTC, Interval
from md_platform_tests.platform.running import Platform

START, END = "2026-10-01", "2026-10-03"
TWO_DAYS = Interval(dt.datetime(2026, 10, 1, tzinfo=UTC), dt.datetime(2026, 10, 3, tzinfo=UTC))
BITCOIN = "sandbox:BTC-USDT"


def test_a_load_ends_with_a_table_of_what_there_is(loaded):
    assert loaded.result.returncode == 0, loaded.result.stderr
    lines = loaded.result.stdout.splitlines()
    assert lines[0].split() == [
        *("instrument", "days", "rows", "ok", "degraded", "closed", "missing", "failed", "pending", "first", "last"),
    ]
    assert [line.split()[:2] for line in lines[1:]] == [[instrument, "2"] for instrument in loaded.instruments]
    assert all(line.split()[-2][:10] == START for line in lines[1:])
    assert lines[1].split()[2] == "2,880"


def test_its_runs_are_dagsters_with_their_ranges(platform, loaded):
    load = loaded.result.stderr.split("load ")[1].split(":")[0]
    runs = platform.runs(mdp__backfill=load)
    assert {run["status"] for run in runs} == {"SUCCESS"}
    ranges = [tuple(run["tags"][f"dagster/asset_partition_range_{end}"] for end in ("start", "end")) for run in runs]
    assert {*ranges[:3]} == {(f"2026-10-01|{name}", f"2026-10-02|{name}") for name in loaded.instruments}
    assert sorted(ranges[3:]) == sorted(
        (f"{first}|{name}", f"{first}|{name}") for first in ("2026-09-28", "2026-10-01") for name in loaded.instruments
    )


def test_datasets_and_status_tell_what_was_loaded(platform, loaded):
    datasets = {row["dataset"]: row for row in platform.json("datasets")["datasets"]}
    counted = "SELECT dataset, count(DISTINCT instrument), count(*), sum(rows)::bigint FROM md.partition_status"
    everything = {name: tuple(counts) for name, *counts in platform.sql(f"{counted} GROUP BY dataset")}
    shown = {name: (row["instruments"], row["partitions"], row["rows"]) for name, row in datasets.items()}
    assert shown == everything
    of_load = f"{counted} WHERE instrument = ANY(%s) AND date < %s GROUP BY dataset"
    loads = {name: counts for name, *counts in platform.sql(of_load, [*loaded.instruments], END)}
    for name in ("raw_bars", "cleaned_bars", "cleaned_trades", "resampled_bars", "indicators"):
        assert loads[name][:2] == [3, 6], name
    for name in ("cleaned_bars", "cleaned_trades", "resampled_bars", "indicators", "weekly_bars", "monthly_bars"):
        assert loads[f"archive_{name}"] == loads[name], name
        assert loads[name][2] > 0, name
    days = platform.json("status", "cleaned_bars", BITCOIN)["partitions"]
    assert [(day["date"], day["rows"], day["source"]) for day in days[:2]] == [
        (START, 1_440, "sandbox"),
        ("2026-10-02", 1_440, "sandbox"),
    ]
    text = platform.mdp("status", "cleaned_bars", "sandbox-kraken:SOL-USD", "--end", END).stdout
    assert text.splitlines()[1].split()[:2] == [START, "ok"]  # its minutes without bars are proven quiet by its trades
    assert "missing in" in text


def test_show_prints_rows(platform, loaded):
    span = ("cleaned_bars", "BTC/USDT", "--start", START, "--end", END)
    table = platform.mdp("show", *span, "--limit", "2", "--columns", "open_time,close")
    assert table.returncode == 0
    assert [line.split()[0] for line in table.stdout.splitlines()] == [
        *("open_time", "2026-10-01T00:00:00Z", "2026-10-01T00:01:00Z"),
    ]
    rows = platform.mdp("show", *span, "--limit", "0", "--json").stdout.splitlines()
    assert len(rows) == 2_880
    assert json.loads(rows[0])["instrument"] == BITCOIN


@pytest.mark.parametrize(("dataset", "timeframe"), [("cleaned_trades", None), ("indicators", "1h")])
def test_exports_are_equal_to_each_other_and_to_the_archive(platform, loaded, tmp_path, dataset, timeframe):
    instrument = "sandbox-coinbase:ETH-USD"
    chosen = ["--timeframe", timeframe] if timeframe else []
    span = ("export", dataset, instrument, "--start", START, "--end", END, *chosen)
    files = {form: tmp_path / f"rows.{form}" for form in ("csv", "json", "parquet")}
    for file in files.values():
        assert platform.mdp(*span, "--output", str(file)).returncode == 0
    exported = pl.read_parquet(files["parquet"])
    assert exported.height > 0

    time = "ts_event" if dataset == "cleaned_trades" else "open_time"
    archived = platform.archive.read(dataset, [instrument], TWO_DAYS, time, timeframe)
    assert_frame_equal(exported, archived.select(exported.columns), check_exact=True)
    texts = exported.with_columns(pl.col(pl.Datetime).dt.strftime("%FT%T%.6fZ"), pl.col(pl.Boolean).cast(pl.String))
    as_csv = pl.read_csv(files["csv"], schema_overrides=dict.fromkeys(_not_numbers(exported), pl.String))
    as_json = pl.read_ndjson(io.BytesIO(files["json"].read_bytes()), schema=as_csv.schema)
    assert texts.columns == as_csv.columns == as_json.columns
    numbers = [name for name in exported.columns if name not in _not_numbers(exported)]
    for read in (as_csv, as_json):
        assert_frame_equal(
            read.select(pl.col(numbers).cast(pl.Float64).fill_nan(None)),
            exported.select(pl.col(numbers).cast(pl.Float64).fill_nan(None)),
            check_exact=True,
        )
        instants = pl.col(time).str.to_datetime("%FT%T%.fZ", time_unit="us", time_zone="UTC")
        assert_frame_equal(read.select(instants), exported.select(time))


def _not_numbers(frame: pl.DataFrame) -> list[str]:
    return [name for name, dtype in frame.schema.items() if not dtype.is_numeric()]


def state(platform: Platform, instruments: Sequence[str]) -> tuple[object, ...]:
    """All that is stored of `instruments`."""
    return platform.files(instruments), platform.versions(), platform.ledger(instruments)


def test_the_same_load_again_launches_nothing_and_changes_nothing(platform, loaded):
    before = state(platform, loaded.instruments)
    again = platform.json(*loaded.arguments)
    assert platform.runs(mdp__backfill=again["load"]) == again["runs"] == []
    assert again["problems"] == []
    assert {each["instrument"]: each["days"] for each in again["instruments"]} == dict.fromkeys(loaded.instruments, 2)
    assert state(platform, loaded.instruments) == before


def test_a_refresh_fetches_again_and_changes_no_content(platform, loaded):
    before = state(platform, loaded.instruments)
    again = platform.json(*loaded.arguments, "--refresh")
    assert [run["status"] for run in again["runs"]] == ["SUCCESS"] * 3
    assert state(platform, loaded.instruments) == before
