"""Delta tables on a real file system: one commit replaces the days it names, whoever else writes or reads meanwhile."""

import datetime as dt
import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
from deltalake import DeltaTable

from md_platform.domain.intervals import DAY, UTC, Interval, Timeframe
from md_platform.domain.schemas import CLEANED_BARS
from md_platform.errors import StorageError, StorageFull, StorageReadOnly
from md_platform.storage.archive import Archive, Days
from md_platform.transforms.resampled import resample
from md_platform_tests.rows import BTC, day_of_bars

DATE = dt.date(2024, 2, 28)  # two days before a month ends
DATES = [DATE + n * DAY for n in range(4)]
SPAN = Interval(dt.datetime(2024, 1, 1, tzinfo=UTC), dt.datetime(2025, 1, 1, tzinfo=UTC))
ETH = "kraken:ETH-USD"
ODD = ["file:BRK.B", "sandbox-kraken:1000SHIB-USD.F-PERP", "binance:BTC-USDT-PERP", "binance:BTC-USD"]


@pytest.fixture
def archive(tmp_path):
    return Archive(str(tmp_path / "archive"))


def bars(instrument, *dates, minutes=60, **given):
    return pl.concat([day_of_bars(date, range(minutes), instrument=instrument, **given) for date in dates])


def put(archive, frame, instruments, first, last, **metadata):
    return archive.replace("cleaned_bars", frame, "open_time", [Days(tuple(instruments), first, last)], metadata)


def get(archive, *instruments, interval=SPAN, **options):
    return archive.read("cleaned_bars", instruments, interval, "open_time", **options)


def test_what_is_archived_reads_back_as_it_was(archive):
    frame = bars(BTC, *DATES)
    assert put(archive, frame, [BTC], DATES[0], DATES[-1]) == 0
    back = get(archive, BTC)
    assert back.select(frame.columns).equals(frame)
    assert set(back.columns) == set(CLEANED_BARS.schema)


def test_rows_come_sorted_whatever_the_order_of_commits(archive):
    for date in (DATES[2], DATES[0], DATES[3], DATES[1]):
        put(archive, pl.concat([bars(ETH, date), bars(BTC, date)]), [ETH, BTC], date, date)
    back = get(archive, ETH, BTC)
    assert back.equals(back.sort("instrument", "open_time"))
    assert back["instrument"].unique(maintain_order=True).to_list() == [BTC, ETH]
    assert back.height == 2 * 4 * 60


def test_the_same_commit_again_holds_the_same_rows(archive):
    frame = bars(BTC, *DATES)
    for version in range(3):
        assert put(archive, frame, [BTC], DATES[0], DATES[-1]) == version
    assert archive.version("cleaned_bars") == 2
    assert get(archive, BTC).select(frame.columns).equals(frame)


def test_only_the_days_named_are_replaced(archive):
    everything = pl.concat([bars(name, *DATES) for name in (BTC, ETH)])
    put(archive, everything, [BTC, ETH], DATES[0], DATES[-1])
    new = bars(BTC, DATES[1], DATES[2], minutes=10, volume=9.0)
    put(archive, new, [BTC], DATES[1], DATES[2])
    assert get(archive, ETH).select(new.columns).equals(everything.filter(pl.col("instrument") == ETH))
    days = (
        get(archive, BTC)
        .group_by(pl.col("open_time").dt.date(), maintain_order=True)
        .agg(pl.len(), pl.col("volume").max())
    )
    assert days.rows() == [(DATES[0], 60, 4.0), (DATES[1], 10, 9.0), (DATES[2], 10, 9.0), (DATES[3], 60, 4.0)]


def test_one_commit_replaces_rectangles_of_different_instruments_and_days(archive):
    put(archive, pl.concat([bars(name, *DATES) for name in (BTC, ETH)]), [BTC, ETH], DATES[0], DATES[-1])
    new = pl.concat([bars(BTC, DATES[0], volume=9.0), bars(ETH, DATES[3], volume=9.0)])
    days = [Days((BTC,), DATES[0], DATES[0]), Days((ETH,), DATES[3], DATES[3])]
    assert archive.replace("cleaned_bars", new, "open_time", days, {}) == 1
    touched = get(archive, BTC, ETH).filter(pl.col("volume") == 9.0)
    assert touched.select("instrument", pl.col("open_time").dt.date()).unique().sort("instrument").rows() == [
        (BTC, DATES[0]),
        (ETH, DATES[3]),
    ]
    assert get(archive, BTC, ETH).height == 2 * 4 * 60


def test_days_are_emptied(archive):
    put(archive, bars(BTC, *DATES), [BTC], DATES[0], DATES[-1])
    assert put(archive, None, [BTC], DATES[1], DATES[2]) == 1
    assert get(archive, BTC)["open_time"].dt.date().unique().sort().to_list() == [DATES[0], DATES[3]]


def test_a_table_that_is_not_there(archive):
    assert archive.version("cleaned_bars") == -1
    assert archive.commits("cleaned_bars", 0) == []
    assert get(archive, BTC) is None
    assert put(archive, None, [BTC], DATE, DATE) == -1
    assert archive.maintain("cleaned_bars", "open_time") is None


def test_rows_outside_of_the_days_named_are_refused(archive):
    put(archive, bars(BTC, DATES[0]), [BTC], DATES[0], DATES[0])
    with pytest.raises(StorageError, match="cleaned_bars"):
        put(archive, bars(BTC, DATES[1]), [BTC], DATES[0], DATES[0])
    assert get(archive, BTC)["open_time"].dt.date().unique().to_list() == [DATES[0]]


@pytest.mark.parametrize("instrument", ODD)
def test_odd_names_come_back_as_they_are_and_are_told_apart(archive, instrument):
    for name in ODD:
        put(archive, bars(name, DATE, minutes=ODD.index(name) + 1), [name], DATE, DATE)
    put(archive, bars(instrument, DATE, minutes=30), [instrument], DATE, DATE)
    for name in ODD:
        back = get(archive, name)
        assert set(back["instrument"]) == {name}
        assert back.height == (30 if name == instrument else ODD.index(name) + 1)


def test_an_interval_is_half_open_and_may_cross_a_month(archive):
    put(archive, bars(BTC, *DATES, minutes=1_440), [BTC], DATES[0], DATES[-1])
    cut = Interval(dt.datetime(2024, 2, 29, 23, 30, tzinfo=UTC), dt.datetime(2024, 3, 1, 0, 30, tzinfo=UTC))
    times = get(archive, BTC, interval=cut)["open_time"]
    assert (times[0], times[-1], len(times)) == (cut.start, cut.end - dt.timedelta(minutes=1), 60)
    nothing = Interval(dt.datetime(2023, 1, 1, tzinfo=UTC), dt.datetime(2023, 1, 2, tzinfo=UTC))
    assert get(archive, BTC, interval=nothing).is_empty()


def test_one_timeframe_of_several(archive):
    frame = resample(day_of_bars(DATE), dt.datetime(2024, 3, 1, tzinfo=UTC))
    put(archive, frame, [BTC], DATE, DATE)
    hours = get(archive, BTC, timeframe=Timeframe.H1.value)
    assert set(hours["timeframe"]) == {"1h"}
    assert hours.height == 24


def test_a_read_opens_only_the_files_of_its_instrument_and_months(archive):
    january = dt.date(2024, 1, 10)
    put(archive, bars(BTC, january), [BTC], january, january)
    put(archive, bars(ETH, DATE), [ETH], DATE, DATE)
    put(archive, bars(BTC, DATE), [BTC], DATE, DATE)
    for file in Path(archive.uri("cleaned_bars")).rglob("*.parquet"):
        if "BTC" not in str(file) or "2024-02" not in str(file):
            file.unlink()  # reading any other file would now fail
    february = Interval(dt.datetime(2024, 2, 1, tzinfo=UTC), dt.datetime(2024, 3, 1, tzinfo=UTC))
    assert get(archive, BTC, interval=february).height == 60


def test_a_commit_tells_its_run_and_its_version(archive):
    for n in range(3):
        assert put(archive, bars(BTC, DATES[n]), [BTC], DATES[n], DATES[n], **{"mdp.run_id": f"run {n}"}) == n
    assert [(c.version, c.metadata["mdp.run_id"], c.stands) for c in archive.commits("cleaned_bars", 1)] == [
        (2, "run 2", True),
        (1, "run 1", True),
    ]


def test_commits_taken_back_by_a_restore_no_longer_stand(archive):
    for n in range(3):
        put(archive, bars(BTC, DATES[n]), [BTC], DATES[n], DATES[n])
    DeltaTable(archive.uri("cleaned_bars")).restore(0)
    put(archive, bars(BTC, DATES[3]), [BTC], DATES[3], DATES[3])
    standing = {commit.version for commit in archive.commits("cleaned_bars", 0) if commit.stands}
    assert standing == {4, 3, 0}  # 3 is the restore itself
    assert get(archive, BTC)["open_time"].dt.date().unique().sort().to_list() == [DATES[0], DATES[3]]


def test_maintenance_merges_files_and_changes_no_row(archive):
    for date in DATES:
        put(archive, bars(BTC, date), [BTC], date, date)
    before = get(archive, BTC)
    assert len(DeltaTable(archive.uri("cleaned_bars")).file_uris()) == 4
    done = archive.maintain("cleaned_bars", "open_time", now=dt.datetime(2024, 3, 15, tzinfo=UTC))
    assert len(DeltaTable(archive.uri("cleaned_bars")).file_uris()) == 2, "one for each month"
    assert done["files_removed"] - done["files_added"] == 2
    assert done["files_vacuumed"] == 0, "files stay for 7 days for those who read"
    assert get(archive, BTC).equals(before)
    properties = DeltaTable(archive.uri("cleaned_bars")).metadata().configuration
    assert properties["delta.deletedFileRetentionDuration"] == "interval 7 days"
    assert properties["delta.logRetentionDuration"] == "interval 30 days"


WRITER = """
import sys, datetime as dt
from md_platform.storage.archive import Archive, Days
from md_platform_tests.rows import day_of_bars
root, instrument, *dates = sys.argv[1:]
archive = Archive(root)
days = [dt.date.fromisoformat(date) for date in dates]
frames = [day_of_bars(day, range(60), instrument=instrument) for day in days]
print("ready", flush=True)
sys.stdin.readline()
versions = [
    archive.replace("cleaned_bars", frame, "open_time", [Days((instrument,), day, day)], {"mdp.day": f"{instrument} {day}"})
    for day, frame in zip(days, frames)
]
print(versions)
"""


def test_writers_of_one_table_lose_nothing_of_each_other(archive):
    """Two write days of one instrument and month in turns, a third another instrument; the table does not exist yet."""
    month = [dt.date(2024, 2, day) for day in range(1, 9)]
    work = [(BTC, month[::2]), (BTC, month[1::2]), (ETH, month[:4])]
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, archive.root, name, *map(str, days)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        for name, days in work
    ]  # fmt: skip
    try:
        for writer in writers:
            assert writer.stdout.readline() == "ready\n"
        for writer in writers:
            writer.stdin.write("go\n")
            writer.stdin.flush()
        told = [json.loads(writer.communicate(timeout=60)[0]) for writer in writers]
    finally:
        for writer in writers:
            writer.kill()
    assert get(archive, BTC).select(list(CLEANED_BARS.schema)).equals(bars(BTC, *month))
    assert get(archive, ETH).select(list(CLEANED_BARS.schema)).equals(bars(ETH, *month[:4]))
    assert sorted(version for versions in told for version in versions) == list(range(12)), "each knows its own"
    committed = {commit.version: commit.metadata["mdp.day"] for commit in archive.commits("cleaned_bars", 0)}
    for (name, days), versions in zip(work, told, strict=True):
        assert [committed[version] for version in versions] == [f"{name} {day}" for day in days]


def test_a_table_made_by_another_process_meanwhile_keeps_its_rows(archive, monkeypatch):
    put(archive, bars(ETH, DATE), [ETH], DATE, DATE)
    look = Archive._open
    looks = iter([None])  # the first look came before the other process's commit
    monkeypatch.setattr(Archive, "_open", lambda self, table: next(looks, look(self, table)))
    put(archive, bars(BTC, DATE), [BTC], DATE, DATE)
    assert get(archive, BTC, ETH).height == 120


@pytest.fixture
def tiny_disk(tmp_path):
    mount = tmp_path / "tiny"
    mount.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", mount], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("mounting a small file system needs root")
    yield mount
    subprocess.run(["umount", mount], check=True)


def test_a_full_disk_leaves_the_last_commit_whole_and_says_so(tiny_disk):
    archive = Archive(str(tiny_disk / "archive"))
    days = [dt.date(2024, 2, 1) + n * DAY for n in range(28)]
    versions = []

    def fill():
        versions.extend(put(archive, bars(BTC, day, minutes=1_440), [BTC], day, day) for day in days)

    with pytest.raises(StorageFull, match=r"no space left for .*cleaned_bars: free some disk"):
        fill()
    assert archive.version("cleaned_bars") == versions[-1]
    assert get(archive, BTC)["open_time"].dt.date().unique().sort().to_list() == days[: len(versions)]


@pytest.mark.parametrize("rows", ["some", "none"])
def test_a_read_only_archive_is_read_and_says_that_it_cannot_be_written(open_folder, rows):
    root = open_folder / f"archive-{rows}"
    archive = Archive(str(root))
    put(archive, bars(BTC, DATE), [BTC], DATE, DATE)
    everything = [root, *root.rglob("*")]
    for item in everything:
        item.chmod(0o555 if item.is_dir() else 0o444)
    as_root = os.geteuid() == 0
    if as_root:
        os.seteuid(65_534)  # root may write anywhere
    try:
        with pytest.raises(StorageReadOnly, match=r"cannot be written \(Permission denied\)"):
            put(archive, bars(BTC, DATE, minutes=5) if rows == "some" else None, [BTC], DATE, DATE)
        assert get(archive, BTC).height == 60
    finally:
        if as_root:
            os.seteuid(0)
        for item in everything:
            item.chmod(stat.S_IRWXU)


def test_a_folder_that_cannot_be_made_says_so(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="Not a directory"):
        put(Archive(str(tmp_path / "file" / "archive")), bars(BTC, DATE), [BTC], DATE, DATE)
