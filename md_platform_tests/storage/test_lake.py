"""The Parquet layers on a real file system: whole files or none, the same bytes once, refusals said clearly."""

import datetime as dt
import errno
import os
import resource
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from md_platform.domain.schemas import CLEANED_BARS, DATASETS, QUARANTINED_BARS, RAW_BARS
from md_platform.errors import StorageError, StorageFull, StorageReadOnly
from md_platform.storage.lake import Lake, sha256_of, storage_errors
from md_platform_tests.rows import BTC, day_of_bars

DATE = dt.date(2024, 2, 26)
OTHER = "file:BRK.B"


@pytest.fixture
def lake(tmp_path):
    return Lake(tmp_path / "lake")


def files(folder):
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def test_what_is_written_reads_back_as_it_was(lake):
    frame = day_of_bars(DATE)
    written = lake.write(lake.path(CLEANED_BARS, BTC, DATE), frame)
    assert lake.read([written.path]).equals(frame)
    assert lake.read([written.path]).schema == CLEANED_BARS.schema
    assert (written.rows, written.bytes, written.changed) == (1_440, written.path.stat().st_size, True)
    assert written.sha256 == sha256_of(written.path)
    assert files(lake.root) == ["part.parquet"]


def test_the_same_rows_are_not_written_again(lake):
    path = lake.path(CLEANED_BARS, BTC, DATE)
    first = lake.write(path, day_of_bars(DATE))
    before = path.stat()
    again = lake.write(path, day_of_bars(DATE))
    assert (again.changed, again.sha256, again.bytes, again.rows) == (False, first.sha256, first.bytes, first.rows)
    assert (path.stat().st_mtime_ns, path.stat().st_ino) == (before.st_mtime_ns, before.st_ino)
    other = lake.write(path, day_of_bars(DATE, volume=5.0))
    assert (other.changed, other.sha256 == first.sha256) == (True, False)


def test_the_same_rows_are_the_same_bytes_in_another_process(lake, tmp_path):
    script = (
        "import sys, datetime as dt; from pathlib import Path; from md_platform.storage.lake import Lake;"
        " from md_platform_tests.rows import day_of_bars;"
        " print(Lake(Path(sys.argv[1])).write(Path(sys.argv[1]) / 'x', day_of_bars(dt.date(2024, 2, 26))).sha256)"
    )
    told = subprocess.run([sys.executable, "-c", script, tmp_path], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == lake.write(lake.path(CLEANED_BARS, BTC, DATE), day_of_bars(DATE)).sha256


def test_days_are_read_in_the_order_asked_for_and_gaps_left_out(lake):
    days = [DATE + dt.timedelta(days=n) for n in range(4)]
    paths = [lake.path(CLEANED_BARS, BTC, day) for day in days]
    for n in (0, 1, 3):
        lake.write(paths[n], day_of_bars(days[n], range(n + 1)))
    assert lake.read(paths)["open_time"].dt.date().unique(maintain_order=True).to_list() == [days[0], days[1], days[3]]
    assert lake.read(reversed(paths), columns=["close"]).columns == ["close"]
    assert lake.read(paths[2:3]) is None
    assert lake.read([]) is None


@given(st.sampled_from(list(DATASETS.values())), st.sampled_from(list(DATASETS.values())), st.data())
def test_no_two_partitions_share_a_file(one, other, data):
    lake = Lake(Path("lake"))
    partition = st.tuples(st.sampled_from([BTC, OTHER]), st.dates(), st.sampled_from(["binance", "import"]))
    mine, theirs = data.draw(partition), data.draw(partition)
    same = one is other and mine[: 3 if one.by_source else 2] == theirs[: 3 if one.by_source else 2]
    assert (lake.path(one, *mine) == lake.path(other, *theirs)) == same


def test_sources_stand_side_by_side(lake):
    assert lake.sources(RAW_BARS, BTC, DATE) == []
    for source in ("import", "binance", "binance@localhost:8090"):
        lake.write(lake.path(RAW_BARS, BTC, DATE, source), day_of_bars(DATE, range(3), source=source))
    lake.write(lake.path(RAW_BARS, OTHER, DATE, "yahoo"), day_of_bars(DATE, range(3)))
    assert lake.sources(RAW_BARS, BTC, DATE) == ["binance", "binance@localhost:8090", "import"]
    assert lake.sources(RAW_BARS, BTC, DATE + dt.timedelta(days=1)) == []
    for source in lake.sources(RAW_BARS, BTC, DATE):
        assert set(lake.read([lake.path(RAW_BARS, BTC, DATE, source)])["source"]) == {source}


def test_a_file_is_removed_once_and_again(lake):
    path = lake.write(lake.path(QUARANTINED_BARS, BTC, DATE), day_of_bars(DATE, range(1))).path
    lake.remove(path)
    lake.remove(path)
    assert not path.exists()


@pytest.mark.parametrize("broken", ["empty", "cut", "foreign", "inside"])
def test_a_broken_file_is_named(lake, broken):
    good, bad = (lake.path(CLEANED_BARS, BTC, DATE + dt.timedelta(days=n)) for n in range(2))
    lake.write(good, day_of_bars(DATE))
    content = bytearray(lake.write(bad, day_of_bars(DATE)).path.read_bytes())
    content[2_000:3_000] = bytes(1_000)
    bad.write_bytes({"empty": b"", "cut": content[:-1], "foreign": b"PK\3\4" * 500, "inside": bytes(content)}[broken])
    with pytest.raises(StorageError, match=r"cannot be read.*make that partition again") as error:
        lake.read([good, bad])
    assert str(bad) in str(error.value)
    assert str(good) not in str(error.value)
    lake.write(bad, day_of_bars(DATE))
    assert lake.read([bad]).equals(day_of_bars(DATE))


def test_files_of_different_columns_do_not_pass_for_one_table(lake):
    paths = [lake.path(CLEANED_BARS, BTC, DATE + dt.timedelta(days=n)) for n in range(2)]
    lake.write(paths[0], day_of_bars(DATE))
    lake.write(paths[1], day_of_bars(DATE).drop("vwap"))
    with pytest.raises(StorageError, match=f"{paths[0].parent} and the files after it are no one table"):
        lake.read(paths)


WRITER = """
import sys
from pathlib import Path
import polars as pl
from md_platform.storage.lake import Lake
folder = Path(sys.argv[1])
frames = [pl.DataFrame({"n": [n] * 200_000}).with_columns(x=pl.int_range(200_000).cast(pl.Float64)) for n in (0, 1)]
print("ready", flush=True)
while True:
    for frame in frames:
        Lake(folder).write(folder / "date=1" / "part.parquet", frame)
"""


def test_a_reader_never_meets_half_a_file_while_writers_are_killed(tmp_path):
    path = tmp_path / "date=1" / "part.parquet"
    lake, reads, seen = Lake(tmp_path), 0, set()
    for trial in range(6):
        writer = subprocess.Popen([sys.executable, "-c", WRITER, tmp_path], stdout=subprocess.PIPE)
        try:
            assert writer.stdout.readline() == b"ready\n"
            until = time.monotonic() + 0.15 + trial * 0.013
            while time.monotonic() < until:
                frame = lake.read([path])
                if frame is not None:
                    reads += 1
                    assert frame.height == 200_000
                    assert frame["n"].n_unique() == 1
                    seen.add(frame["n"][0])
        finally:
            writer.send_signal(signal.SIGKILL)
            writer.communicate()
    assert reads > 6
    assert seen == {0, 1}
    lake.write(path, pl.DataFrame({"n": [2]}))
    assert files(tmp_path) == ["part.parquet"], "what the killed had begun is gone"


def test_what_a_killed_process_had_begun_is_removed_by_the_next_write(lake):
    path = lake.write(lake.path(CLEANED_BARS, BTC, DATE), day_of_bars(DATE, range(1))).path
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    path.with_name(f".part.parquet.{os.uname().nodename}.{gone.pid}.tmp").write_bytes(b"half")
    lake.write(path, day_of_bars(DATE, range(2)))
    assert files(lake.root) == ["part.parquet"]


def test_what_a_living_process_is_writing_is_left_alone(lake):
    path = lake.path(CLEANED_BARS, BTC, DATE)
    path.parent.mkdir(parents=True)
    own = lake.write(path, day_of_bars(DATE, range(1))).path.with_name(
        f".part.parquet.{os.uname().nodename}.{os.getppid()}.tmp"
    )
    own.write_bytes(b"half")
    lake.write(path, day_of_bars(DATE, range(2)))
    assert own.exists()


def limited(size):
    """Let a child write files of at most `size` bytes, and fail instead of dying when it tries more."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


FILLER = """
import sys, datetime as dt
from pathlib import Path
from md_platform.errors import MdpError
from md_platform.storage.lake import Lake
from md_platform.domain.schemas import CLEANED_BARS
from md_platform_tests.rows import BTC, day_of_bars
lake, date = Lake(Path(sys.argv[1])), dt.date(2024, 2, 26)
path = lake.path(CLEANED_BARS, BTC, date)
try:
    print(lake.write(path, day_of_bars(date)).changed)
except MdpError as error:
    print(type(error).__name__, error)
"""


def test_a_full_quota_keeps_what_was_there_and_says_so(lake):
    path = lake.path(CLEANED_BARS, BTC, DATE)
    small = day_of_bars(DATE, range(3))
    lake.write(path, small)
    told = subprocess.run(
        [sys.executable, "-c", FILLER, lake.root],
        capture_output=True, text=True, check=True, preexec_fn=lambda: limited(8_192),
    )  # fmt: skip
    assert told.stdout.startswith(f"StorageFull no space left for {path}: free some disk")
    assert lake.read([path]).equals(small)
    assert files(lake.root) == ["part.parquet"]


@pytest.fixture
def tiny_disk(tmp_path):
    """A file system of 256 KiB."""
    mount = tmp_path / "tiny"
    mount.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", mount], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("mounting a small file system needs root")
    yield mount
    subprocess.run(["umount", mount], check=True)


def test_a_full_disk_keeps_what_was_there_and_says_so(tiny_disk):
    lake = Lake(tiny_disk)
    written = []

    def fill():
        for n in range(20):
            date = DATE + dt.timedelta(days=n)
            written.append((lake.write(lake.path(CLEANED_BARS, BTC, date), day_of_bars(date)).path, date))

    with pytest.raises(StorageFull, match=r"no space left for .*: free some disk or point MDP_HOME elsewhere"):
        fill()
    assert written
    for path, date in written:
        assert lake.read([path]).equals(day_of_bars(date))
    assert files(tiny_disk) == ["part.parquet"] * len(written)


@pytest.fixture
def ordinary_user():
    """Without root's powers for the time of a test, where it has them: root may write anywhere."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65_534)
    yield
    os.seteuid(0)


@pytest.fixture
def read_only(open_folder, request):
    """A lake that holds one day and that nobody may write to."""
    root = open_folder / request.node.name
    lake = Lake(root)
    path = lake.write(lake.path(CLEANED_BARS, BTC, DATE), day_of_bars(DATE)).path
    everything = [root, *root.rglob("*")]
    for item in everything:
        item.chmod(0o555 if item.is_dir() else 0o444)
    yield lake, path
    for item in everything:
        item.chmod(stat.S_IRWXU)


def test_a_read_only_lake_is_read_and_says_that_it_cannot_be_written(read_only, ordinary_user):
    lake, path = read_only
    assert lake.read([path]).equals(day_of_bars(DATE))
    assert not lake.write(path, day_of_bars(DATE)).changed
    with pytest.raises(StorageReadOnly, match=r"cannot be written .*Permission denied.*mend its permissions"):
        lake.write(path, day_of_bars(DATE, range(3)))
    with pytest.raises(StorageReadOnly):
        lake.write(lake.path(CLEANED_BARS, OTHER, DATE), day_of_bars(DATE))
    with pytest.raises(StorageReadOnly):
        lake.remove(path)
    assert lake.read([path]).equals(day_of_bars(DATE))


def test_another_error_of_the_system_stays_what_it_is(tmp_path):
    with pytest.raises(OSError, match="loop") as error, storage_errors(tmp_path):
        raise OSError(errno.ELOOP, "a loop of links")
    assert not isinstance(error.value, StorageError)
