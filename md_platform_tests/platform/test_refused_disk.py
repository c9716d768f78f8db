"""A lake that refuses, met by a load: one clear line with the reason, nothing half-written, and whole once it is mended.

Wrong requests and wrong files are told in `cli`.
"""

import resource

import psutil

from md_platform_tests.platform.running import Platform

DAY = "2026-10-04"


def load(instrument: str) -> tuple[str, ...]:
    return ("backfill", instrument, "--start", DAY, "--end", "2026-10-05", "--to", "cleaned")


def test_a_full_disk(platform: Platform):
    instrument = "sandbox:XRP-USDT"
    code_server = psutil.Process(platform.pid("code-server"))
    unlimited = code_server.rlimit(resource.RLIMIT_FSIZE)
    ancestors = [code_server, *code_server.children(recursive=True)]  # of runs, which inherit it
    for process in ancestors:
        process.rlimit(resource.RLIMIT_FSIZE, (60_000, unlimited[1]))  # a day of bars takes 100 kB
    try:
        refused = platform.mdp(*load(instrument))
    finally:
        for process in ancestors:
            process.rlimit(resource.RLIMIT_FSIZE, unlimited)
    assert refused.returncode == 1
    assert f"{instrument}, {DAY}: no space left for {platform.lake.root}/raw/" in refused.stdout
    assert "free some disk or point MDP_HOME elsewhere" in refused.stdout
    assert not list((platform.lake.root / "raw").rglob(f"symbol={instrument}/date={DAY}/*"))
    assert platform.json(*load(instrument))["problems"] == []


def test_a_lake_that_is_read_only(platform: Platform):
    instrument = "sandbox:SOL-USDT"
    folder = platform.lake.root / "cleaned" / "bars" / f"symbol={instrument}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.symlink_to("/sys/kernel")  # where nobody may make a folder, root neither
    try:
        refused = platform.mdp(*load(instrument))
    finally:
        folder.unlink()
    assert refused.returncode == 1
    assert f"{folder}/date={DAY}/part.parquet cannot be written" in refused.stdout
    assert "mend its permissions or mount" in refused.stdout
    assert platform.json(*load(instrument))["problems"] == []
