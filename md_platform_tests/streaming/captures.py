"""`python -m md_platform_tests.streaming.captures [PART OF A NAME ...]`: a line a capture, and what does not agree.

Each capture goes through `mdp stream --replay … --speed max` into a real Redis and through `mdp stream write` into a
real PostgreSQL. What is there then is held against what others worked out from the capture: `expected/` of
../shared/data. Links of sequences and checksums are counted by the feed's session over the same frames.
"""

import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import redis
from rich.console import Console
from rich.table import Table

from md_platform.embedded import postgres_running, valkey_running
from md_platform.storage.migrate import migrate
from md_platform.storage.spool import Spool
from md_platform_tests.streaming.capture_facts import Shown, held
from md_platform_tests.venues.recordings import Recording, recordings

_STORED_WITHIN_S = 120
_WORTH_TIMING = 40_000
"""Frames below which the time of each is mostly the start: of the process, and of indicators for each instrument."""


def shown(recording: Recording, folder: Path, redis_url: str, database_url: str) -> Shown:
    """Play `recording` into an empty Redis and an empty database; what is in them against what is known."""
    migrate(database_url)
    recording.write(folder / "capture")
    cpu_s = play(folder / "capture", folder / "home", redis_url, database_url)
    with psycopg.connect(database_url) as connection, redis.Redis.from_url(redis_url) as client:
        return held(recording, connection, client, cpu_s)


def play(capture: Path, home: Path, redis_url: str, database_url: str) -> float:
    """Run the process over a folder of captures, then the writer until it stored all. CPU s of the process."""
    env = os.environ | {"MDP_HOME": str(home), "MDP_REDIS_URL": redis_url, "MDP_DATABASE_URL": database_url}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    mdp = [sys.executable, "-m", "md_platform.cli", "stream"]
    subprocess.run([*mdp, "--replay", str(capture), "--speed", "max"], env=env, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    stream = home / "stream"
    spool = Spool(stream / "spool.db")
    last_row = max((row.id for row in spool.since(0)), default=0)
    spool.close()
    writer = subprocess.Popen([*mdp, "write"], env=env)
    try:
        _wait_until_stored(stream / "writer.beat", last_row, writer)
    finally:
        writer.send_signal(signal.SIGTERM)
        writer.wait()
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _wait_until_stored(beat: Path, last_row: int, writer: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + _STORED_WITHIN_S
    while time.monotonic() < deadline and writer.poll() is None:
        text = beat.read_text() if beat.exists() else ""
        if text.endswith("}") and json.loads(text)["row"] >= last_row:
            return
        time.sleep(0.05)
    raise TimeoutError(f"the writer did not store all {last_row} rows within {_STORED_WITHIN_S} s")


def table(results: list[Shown], start_s: float) -> Table:
    """A row a capture; `start_s` is the CPU time of a process that plays next to nothing."""
    columns = ("frames", "trades", "duplicates", "links", "checksums", "books", "candles", "rejected", "told")
    made = Table("capture", "protocol", box=None, pad_edge=False)
    for name in (*columns, "least skew ms", "µs/frame", "agrees"):
        made.add_column(name, justify="right")
    for each in results:
        each_us = (each.cpu_s - start_s) / each.frames * 1e6 if each.frames >= _WORTH_TIMING else None
        made.add_row(
            each.recording.name,
            each.recording.protocol,
            *(f"{getattr(each, name):,}" for name in columns),
            "" if each.skew_ms is None else f"{each.skew_ms:,.1f}",
            "" if each_us is None else f"{each_us:.1f}",
            "no" if each.differing else "yes",
        )
    return made


@contextmanager
def _database(server_url: str, number: int) -> Iterator[str]:
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE capture_{number}")
        yield server_url.rpartition("/")[0] + f"/capture_{number}"
        connection.execute(f"DROP DATABASE capture_{number} WITH (FORCE)")


def main() -> int:
    """Show the captures whose names hold one of the arguments, or all of them; 1 where one does not agree."""
    chosen = [each for each in recordings() if any(part in each.name for part in sys.argv[1:] or [""])]
    if not chosen:
        print("captures are not here (../shared/data), or none is named so")
        return 1
    results: list[Shown] = []
    with tempfile.TemporaryDirectory(prefix="mdp-captures-") as folder:
        home = Path(folder)
        home.chmod(0o755)
        with postgres_running(home / "postgres", durable=False) as server, valkey_running(home / "redis") as redis_url:
            for number, recording in enumerate(chosen):
                with _database(server, number) as database_url, redis.Redis.from_url(redis_url) as client:
                    client.flushall()
                    results.append(shown(recording, home / str(number), redis_url, database_url))
    Console(width=200).print(table(results, min(each.cpu_s for each in results)))
    differing = [each for each in results if each.differing]
    for each in differing:
        print(each.recording.name, *each.differing, sep="\n    ")
    print(f"{len(results) - len(differing)} of {len(results)} captures agree")
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main())
