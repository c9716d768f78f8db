"""Benchmark: CPU of a live feed per message, ours beside cryptofeed and ccxt.pro; and of the whole process as it ships.

    python -m md_platform_tests.benchmarks.feed [--rounds 5] [--rate 100000] [--seconds 60]

A venue in a process of its own sends aggregated trades of 20 symbols over loopback, with TLS by a test authority. Each
round runs every client once, each in a process of its own, so that all of them meet the machine alike: figures are
medians over rounds, ratios are of the same round. CPU is the client's, kernel included, from the first message to the
last. Then the live process, database writer, Redis and PostgreSQL run at a fixed rate: see `feed_process`.
"""

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from md_platform_tests.benchmarks.feed_process import bench_process
from md_platform_tests.benchmarks.figures import Figure, print_table

HERE = "md_platform_tests.benchmarks"
RUNS = (
    ("ours", "ws", 1_000_000, 0),
    ("ours", "wss", 1_000_000, 0),
    ("cryptofeed", "wss", 200_000, 0),
    ("ours", "wss", 30_000, 5_000),
    ("ccxt", "wss", 30_000, 5_000),
)
"""Client, how it connects (cryptofeed takes nothing but TLS), messages, and how many a second: 0 is without limit.

ccxt.pro gives its caller only part of a stream that is faster than itself, so it gets one that it can hold; ours at
that rate is there to see what reads of few messages cost.
"""
SOCKET_TO_BAR_US = 1.6
TIMES_CHEAPER = {"cryptofeed": 5.0, "ccxt": 20.0}


@contextlib.contextmanager
def venue(folder: Path) -> Iterator[dict[str, str]]:
    """Addresses of the venue for the time of the block."""
    argv = [sys.executable, "-m", f"{HERE}.feed_venue", str(folder)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield json.loads(process.stdout.readline())
        finally:
            process.kill()


def us_per_message(client: str, addresses: dict[str, str], scheme: str, count: int, rate: int) -> float:
    """One run of a client; an error where it did not handle what it was sent."""
    argv = [sys.executable, "-m", f"{HERE}.feed_clients", client, addresses["http"], addresses[scheme]]
    done = subprocess.run(
        [*argv, addresses["ca_file"], str(count), str(rate)], capture_output=True, text=True, timeout=120, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{client} failed:\n{done.stderr}")
    found = json.loads(done.stdout.splitlines()[-1])
    if found["missed"] > 0.1 * count:
        raise RuntimeError(f"{client} missed {found['missed']} of {count} messages")
    return found["cpu_s"] / found["messages"] * 1e6


def compare(addresses: dict[str, str], rounds: int) -> list[Figure]:
    """Print what each client costs, and how often that is ours over TLS at full speed."""
    figures = []
    spent = [[us_per_message(client, addresses, *how) for client, *how in RUNS] for _ in range(rounds)]
    pair = next(n for n, (client, scheme, _, rate) in enumerate(RUNS) if (client, scheme, rate) == ("ours", "wss", 0))
    print(f"socket → bar, medians of {rounds} rounds, load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    print("client       over   messages/s   µs/message     least   × ours over TLS")
    for n, (client, scheme, _, rate) in enumerate(RUNS):
        each = [costs[n] for costs in spent]
        ratio = statistics.median(costs[n] / costs[pair] for costs in spent)
        speed = f"{rate:,}" if rate else "unlimited"
        print(f"{client:12} {scheme:4} {speed:>12} {statistics.median(each):12.2f} {min(each):9.2f} {ratio:17.1f}")
        if client in TIMES_CHEAPER:
            figures.append(Figure(f"{client}: × our CPU a message", ratio, TIMES_CHEAPER[client], is_least=True))
        elif not rate:
            name = f"socket → bar over {scheme}, µs of CPU a message"
            figures.append(Figure(name, statistics.median(each), SOCKET_TO_BAR_US))
    return figures


def measured(rounds: int, rate: int, seconds: int) -> list[Figure]:
    """Run both; 0 rounds: only the process, 0 seconds: only the clients."""
    figures = []
    with tempfile.TemporaryDirectory(prefix="mdp-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # PostgreSQL is another user's, where we are root
        with venue(folder) as addresses:
            if rounds:
                figures += compare(addresses, rounds)
            if seconds:
                figures += bench_process(addresses, folder, rate, seconds)
    return figures


def main() -> None:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="0: only the process")
    parser.add_argument("--rate", type=int, default=100_000, help="messages a second for the process")
    parser.add_argument("--seconds", type=int, default=60, help="how long it is measured; 0: only the clients")
    given = parser.parse_args()
    print_table(measured(given.rounds, given.rate, given.seconds))


if __name__ == "__main__":
    main()
