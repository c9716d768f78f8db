"""Soak: the live process and its writer at a steady rate for a long time, judged by the server's log of what it sent.

    python -m md_platform_tests.benchmarks.soak [--minutes 30] [--rate 20000] [--cut-every 300] [--warm-up 16]

A venue in a process of its own sends trades of 20 symbols and hangs up every `--cut-every` seconds. Redis and
PostgreSQL are real, the writer is on, and a subscriber listens to all trades. Every 10 s: memory of the processes,
lag from socket to Redis, what waits in the spool. At the end the memory's slope after the warm-up, and whether each
trade that was sent is stored once and was published once, in order: exit 1 where not.
"""

import argparse
import contextlib
import json
import multiprocessing
import multiprocessing.sharedctypes
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import numpy as np
import psutil
import psycopg
import redis

from md_platform.domain.events import Trade
from md_platform.domain.wire import decode
from md_platform.embedded import postgres_running, valkey_running
from md_platform.embedded.ports import free_port
from md_platform.storage.migrate import migrate
from md_platform_tests.benchmarks.feed_process import cpu_s, running, status, until_streaming
from md_platform_tests.benchmarks.feed_venue import BASES

SAMPLE_EVERY_S = 10
SETTLES_WITHIN_S = 120

Counter = multiprocessing.sharedctypes.Synchronized


class Sample(NamedTuple):
    """The processes at one time."""

    at_s: float
    live_mb: float
    writer_mb: float
    lag_p50_ms: float
    lag_p99_ms: float
    waiting: int
    sent: int
    core: float


def listen(url: str, published: "Counter[int]", misplaced: "Counter[int]") -> None:
    """Count trades as they are published, and those whose id is not the one after the last, until killed."""
    last: dict[str, int] = {}
    with redis.Redis.from_url(url) as client, client.pubsub(ignore_subscribe_messages=True) as subscriber:
        subscriber.psubscribe("md:trades:*")
        while True:
            message = subscriber.get_message(timeout=1)
            for trade in decode(message["data"]) if message else ():
                if isinstance(trade, Trade):
                    number = int(trade.trade_id)
                    misplaced.value += number != last.get(trade.instrument, number - 1) + 1
                    last[trade.instrument] = number
                    published.value += 1


@contextlib.contextmanager
def venue(folder: Path, cut_every_s: float) -> Iterator[dict[str, str]]:
    """Addresses of the venue for the time of the block."""
    argv = [sys.executable, "-m", "md_platform_tests.benchmarks.soak_venue", str(folder), str(cut_every_s)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield json.loads(process.stdout.readline())
        finally:
            process.kill()


def sent(folder: Path) -> dict[str, int]:
    """The last line of the server's log."""
    return dict(json.loads((folder / "sent.log").read_text().splitlines()[-1]))


def stored(database_url: str) -> dict[str, tuple[int, int]]:
    """By instrument: rows of trades, and ids from the first to the last of them."""
    query = "SELECT id, count(*), max(trade_id) - min(trade_id) + 1 FROM md.trades JOIN md.instruments USING (instrument_id)"
    with psycopg.connect(database_url) as connection:
        return {id_: (rows, ids) for id_, rows, ids in connection.execute(f"{query} GROUP BY id")}


def soak(folder: Path, given: argparse.Namespace) -> bool:
    """Run it; whether nothing was lost and nothing came twice."""
    context = multiprocessing.get_context("spawn")
    published, misplaced = context.Value("q", 0), context.Value("q", 0)
    count = given.minutes * 60 * given.rate
    with (
        valkey_running(folder / "redis") as redis_url,
        postgres_running(folder / "postgres") as database_url,
        venue(folder, given.cut_every) as addresses,
    ):
        migrate(database_url)
        port = free_port()
        environment = {
            **os.environ,
            "MDP_HOME": str(folder / "home"),
            "MDP_REDIS_URL": redis_url,
            "MDP_DATABASE_URL": database_url,
            "MDP_STREAM_PORT": str(port),
            "MDP_VENUE_BINANCE_REST_URL": addresses["http"],
            "MDP_VENUE_BINANCE_WS_URL": f"{addresses['ws']}/{count}/{given.rate}/stream",
        }
        listener = context.Process(target=listen, args=(redis_url, published, misplaced), daemon=True)
        listener.start()
        _until_heard(redis_url)
        instruments = ",".join(f"binance:{base}-USDT" for base in BASES)
        with (
            running(environment, "write") as writer,
            running(environment, "--instruments", instruments, "--channels", "trades") as stream,
        ):
            until_streaming(port)
            samples = list(_samples(folder, port, stream, writer, count, published))
            last = status(port)
        listener.kill()
        _print_slopes(samples, given.warm_up * 60)
        return _judged(sent(folder), published.value, misplaced.value, stored(database_url), last)


def _until_heard(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        while not client.pubsub_numpat():
            time.sleep(0.05)


def _samples(
    folder: Path, port: int, stream: psutil.Process, writer: psutil.Process, count: int, published: "Counter[int]"
) -> Iterator[Sample]:
    """What is seen every 10 s until everything is sent, published and stored, or does not come; printed as well."""
    print("     s   live MB   writer MB   core   lag p50    p99 ms   spool waits         sent    published", flush=True)
    began, spent, done_at = time.monotonic(), cpu_s(stream), float("inf")
    while True:
        time.sleep(SAMPLE_EVERY_S)
        try:
            told = status(port)
        except httpx.TimeoutException:
            print("       no answer: is the machine overloaded?", flush=True)
            continue
        log, now_cpu = sent(folder), cpu_s(stream)
        lag, at = told["lag_ms"].get("redis", {}), time.monotonic()
        waiting = (told["writer"] or {}).get("waiting_messages", 0)
        sample = Sample(
            at - began,
            stream.memory_info().rss / 1e6,
            sum(each.memory_info().rss for each in (writer, *writer.children())) / 1e6,
            lag.get("p50", 0.0),
            lag.get("p99", 0.0),
            waiting,
            log["sent"],
            (now_cpu - spent) / SAMPLE_EVERY_S,
        )
        spent = now_cpu
        print(
            f"{sample.at_s:6.0f} {sample.live_mb:9.1f} {sample.writer_mb:11.1f} {sample.core:6.2f} {sample.lag_p50_ms:9.2f}"
            f" {sample.lag_p99_ms:9.2f} {waiting:13,} {sample.sent:12,} {published.value:12,}",
            flush=True,
        )
        yield sample
        if log["sent"] >= count:
            done_at = min(done_at, at)
            if (published.value >= count and not waiting) or at - done_at > SETTLES_WITHIN_S:
                return


def _print_slopes(samples: list[Sample], warm_up_s: float) -> None:
    warm = [sample for sample in samples if sample.at_s >= warm_up_s]
    if len(warm) < 3:
        return
    hours = np.array([sample.at_s for sample in warm]) / 3_600
    for name, values in (("live", [each.live_mb for each in warm]), ("writer", [each.writer_mb for each in warm])):
        print(
            f"memory of {name}: {values[0]:.1f} to {values[-1]:.1f} MB, slope {np.polyfit(hours, values, 1)[0]:+.1f} MB/hour"
        )
    half = len(warm) // 2
    for name, part in (("first", warm[:half]), ("second", warm[half:])):
        p50, p99 = (np.median([getattr(each, field) for each in part]) for field in ("lag_p50_ms", "lag_p99_ms"))
        print(f"lag in the {name} half, medians of samples: p50 {p50:.2f} ms, p99 {p99:.2f} ms")


def _judged(
    log: dict[str, int], published: int, misplaced: int, rows: dict[str, tuple[int, int]], last: dict[str, Any]
) -> bool:
    total = sum(count for count, _ in rows.values())
    missing = sum(ids - count for count, ids in rows.values())
    print(f"sent {log['sent']:,} over {log['connections']} connections")
    print(f"stored {total:,}, missing between them {missing:,}; published {published:,}, out of place {misplaced:,}")
    print(f"duplicates seen {last['duplicates']:,}, dropped {last['dropped']}, notices {last['notices']}")
    return log["sent"] == total == published and not missing and not misplaced


def main() -> None:
    """Run it, exit 1 where something was lost or came twice."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=int, default=30)
    parser.add_argument("--rate", type=int, default=20_000, help="messages a second")
    parser.add_argument("--cut-every", type=float, default=300, help="seconds after which a connection is cut")
    parser.add_argument(
        "--warm-up",
        type=float,
        default=16,
        help="minutes that the memory's slope leaves out: those in which what is remembered of seconds fills",
    )
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mdp-soak-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # PostgreSQL is another user's, where we are root
        is_whole = soak(folder, given)
    print("each trade once" if is_whole else "NOT each trade once")
    sys.exit(not is_whole)


if __name__ == "__main__":
    main()
