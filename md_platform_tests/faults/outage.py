"""A database or Redis that is away for long: memory of the live process meanwhile, and how it is caught up after.

    python -m md_platform_tests.faults.outage [--away database|redis] [--rate 10000] [--minutes 3]

As many trades as 500 a second are in an hour, in three minutes: what waits is on disk, so memory must not grow with it.
Exit code 1 where the live process took more than GROWTH_MB, or a trade is not stored or published in the end.
"""

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import psycopg

from md_platform.embedded.ports import free_port
from md_platform.storage.migrate import migrate
from md_platform_tests.benchmarks.feed_process import running
from md_platform_tests.benchmarks.feed_venue import BASES
from md_platform_tests.faults.follower import Follower
from md_platform_tests.faults.rig import until
from md_platform_tests.faults.servers import database, redis_server

GROWTH_MB = 100
_WARM_S = 15.0
_LOOK_EVERY_S = 1.0
_MB = 1 << 20


def main() -> int:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=int, default=10_000, help="trades a second")
    parser.add_argument("--minutes", type=float, default=3.0, help="for how long")
    parser.add_argument("--away", choices=("database", "redis"), default="database", help="what is killed")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mdp-outage-") as folder:
        Path(folder).chmod(0o755)  # PostgreSQL may run as another user
        return 0 if _tried(Path(folder), arguments.away, arguments.rate, arguments.minutes * 60) else 1


def _tried(folder: Path, away: str, rate: int, away_s: float) -> bool:
    postgres, redis = database(folder / "postgres"), redis_server(folder / "redis")
    migrate(postgres.url)
    follower = Follower(redis.url)
    killed, arrived = (postgres, lambda: _stored(postgres.url)) if away == "database" else (redis, follower.trades)
    sent = int(rate * (away_s + 3 * _WARM_S))
    with _venue(folder) as addresses:
        environment = {
            **os.environ,
            "MDP_HOME": str(folder / "home"),
            "MDP_REDIS_URL": redis.url,
            "MDP_DATABASE_URL": postgres.url,
            "MDP_STREAM_PORT": str(free_port()),
            "MDP_VENUE_BINANCE_REST_URL": addresses["http"],
            "MDP_VENUE_BINANCE_WS_URL": f"{addresses['ws']}/{sent}/{rate}/stream",
        }
        asked = ("--instruments", ",".join(f"binance:{base}-USDT" for base in BASES), "--channels", "trades")
        with running(environment, "write"), running(environment, *asked) as stream:
            until(lambda: arrived() > 0, 120, "the first trades")
            time.sleep(_WARM_S)
            before_mb, at_kill = stream.memory_info().rss / _MB, arrived()
            killed.kill()
            most_mb = _most_memory_mb(stream, away_s)
            killed.start()
            back = time.monotonic()
            found = _caught_up(arrived, back, sent)
            after_mb = stream.memory_info().rss / _MB
        follower.close()
        for server in (postgres, redis):
            server.close()
    print(f"{away} away for {away_s:.0f} s at {rate:,} trades/s, {at_kill:,} arrived before")
    print(
        f"  live process: {before_mb:.0f} MB before, at most {most_mb:.0f} MB while it was away, {after_mb:.0f} MB after"
    )
    print(f"  {found}")
    return most_mb - before_mb < GROWTH_MB and found.endswith("lost 0")


def _most_memory_mb(process: psutil.Process, seconds: float) -> float:
    most = 0.0
    for _ in range(int(seconds / _LOOK_EVERY_S)):
        time.sleep(_LOOK_EVERY_S)
        most = max(most, process.memory_info().rss / _MB)
    return most


def _caught_up(arrived: Callable[[], int], back: float, sent: int) -> str:
    """Watch the trades arrive until all that were sent are there; how fast that was, and what never came."""
    first = last = arrived()
    fastest, grew_at = 0.0, time.monotonic()
    while True:
        time.sleep(_LOOK_EVERY_S)
        now = arrived()
        grew_at = time.monotonic() if now > last else grew_at
        fastest = max(fastest, (now - last) / _LOOK_EVERY_S)
        last = now
        if last >= sent or time.monotonic() - grew_at > 30:
            break
    took_s = grew_at - back
    return (
        f"{last - first:,} trades arrived in {took_s:.0f} s after it was back ({(last - first) / took_s:,.0f}/s, at most"
        f" {fastest:,.0f}/s); sent {sent:,}, lost {sent - last:,}"
    )


def _stored(url: str) -> int:
    with psycopg.connect(url) as connection:
        found = connection.execute("SELECT count(*) FROM md.trades").fetchone()
    return int(found[0]) if found else 0


@contextlib.contextmanager
def _venue(folder: Path) -> Iterator[dict[str, str]]:
    command = [sys.executable, "-m", "md_platform_tests.benchmarks.feed_venue", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as venue:
        if venue.stdout is None:
            raise AssertionError("its output is a pipe")
        try:
            yield json.loads(venue.stdout.readline())
        finally:
            venue.kill()


if __name__ == "__main__":
    sys.exit(main())
