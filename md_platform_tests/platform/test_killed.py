"""`kill -9` in the middle of a load, at random moments: the same load again ends whole, as if nothing had happened.

MDP_KILL_TRIALS says how many trials, each with its own part to kill and its own moment, random but the same each time:
so many files written, and a part of a second more; without it there are none, as each takes minutes. What a killed part itself must do is told in `embedded`.
"""

import contextlib
import os
import random
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from polars.testing import assert_frame_equal

from md_platform.catalog.chain import ARCHIVED
from md_platform.domain.schemas import DATASETS
from md_platform_tests.platform.running import Platform
from md_platform_tests.waiting import eventually

TRIALS = int(os.environ.get("MDP_KILL_TRIALS", "0"))
VICTIMS = ("run worker", "mdp up", "code-server", "run worker", "postgres", "mdp up", "sandbox", "run worker")
INSTRUMENT = "sandbox:BTC-USDT"
LOAD = ("backfill", INSTRUMENT, "--start", "2026-10-01", "--end", "2026-10-03", "--trades")


@pytest.fixture(scope="module")
def victim(open_folder: Path, installation: Path) -> Iterator[Platform]:
    """A platform to kill, of the same seed and so with the same market as the other one."""
    home = open_folder / "killed" / "home"
    home.parent.mkdir()
    platform = Platform(installation, home)
    try:
        yield platform.start()
    finally:
        platform.end()


def forget_everything(platform: Platform) -> None:
    """As if nothing had ever been loaded."""
    platform.sql("TRUNCATE md.partition_status")
    for folder in ("lake", "archive", "downloads"):
        shutil.rmtree(platform.home / folder, ignore_errors=True)


def kill(platform: Platform, victim: str) -> None:
    match victim:
        case "mdp up":
            platform.kill()
        case "run worker":
            for worker in platform.run_workers():
                with contextlib.suppress(psutil.Error):
                    worker.kill()
        case part:
            os.kill(platform.pid(part), 9)


def files(platform: Platform) -> list[Path]:
    """What of the instrument is in the lake."""
    return [path for path in platform.lake.root.rglob("part.parquet") if INSTRUMENT in str(path)]


@pytest.mark.skipif(not TRIALS, reason="a second platform and minutes: `make platform-test` does ten")
@pytest.mark.parametrize("trial", range(TRIALS or 1))
def test_a_load_that_was_killed_ends_whole_when_it_is_asked_for_again(platform, loaded, victim, trial, capsys):
    forget_everything(victim)
    luck = random.Random(trial)
    part, of_all = VICTIMS[trial % len(VICTIMS)], len(files(platform))
    enough, moment = luck.randrange(of_all), luck.uniform(0, 1)
    earlier = len(victim.runs())
    load = victim.begin(*LOAD)
    eventually(lambda: any(run["startTime"] for run in victim.runs()[earlier:]), every_s=0.1)
    eventually(lambda: len(files(victim)) >= enough, every_s=0.02)
    time.sleep(moment)
    assert load.poll() is None
    kill(victim, part)
    written = len(files(victim))
    load.kill()
    load.communicate()
    if part == "mdp up":
        victim.start()
    eventually(lambda: victim.mdp("doctor").returncode == 0)

    began = time.monotonic()
    again = victim.json(*LOAD)
    with capsys.disabled():
        print(f"\n{part} killed when {written} of {of_all} files were written;", end=" ")
        print(f"whole {time.monotonic() - began:.0f} s after the load was asked for again")
    assert again["problems"] == []
    assert not [path for path in victim.lake.root.rglob("*") if path.is_file() and path.name != "part.parquet"]
    ours, undisturbed = victim.content([INSTRUMENT]), platform.content([INSTRUMENT])
    assert ours.keys() == undisturbed.keys()
    for name, rows in ours.items():
        assert_frame_equal(rows, undisturbed[name], check_exact=True)
    for name in ARCHIVED:
        key = [column for column in DATASETS[name].key if column != "instrument"]
        assert ours[f"archive {name}"].select("symbol", *key).is_unique().all(), name
    statuses = "SELECT dataset, date, status, rows FROM md.partition_status WHERE instrument = %s ORDER BY 1, 2"
    assert victim.sql(statuses, INSTRUMENT) == platform.sql(statuses, INSTRUMENT)
    assert victim.json(*LOAD)["runs"] == []
