"""Benchmark: events of a spool into the live store, idempotently, as rows a second and per CPU-second of the writer.

    python -m md_platform_tests.benchmarks.store [--rows 1000000] [--batch 20000] [--timescale URL]

Into an embedded PostgreSQL of its own with everything synced, and into a fresh database on the TimescaleDB of
`--timescale` (or MDP_TEST_TIMESCALE_URL) where it is given. `trades` are trades alone; `mixed` is what feeds send: of
100 events 40 trades, 55 quotes, 3 books of 20 levels, 2 bars; `again` are the same trades once more under the next
rows of the spool, so that every one of them is found to be there; `replayed` is the spool read again from its start.
"""

import argparse
import contextlib
import os
import random
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import psycopg

from md_platform.domain.events import Bar, Book, Quote, Trade
from md_platform.embedded import postgres_running
from md_platform.storage.live_rows import Stored
from md_platform.storage.live_store import LiveStore
from md_platform.storage.migrate import migrate
from md_platform_tests.benchmarks.figures import Figure, print_table

INSTRUMENTS = [f"binance:C{n}-USDT" for n in range(50)]
STEP_NS = 10_000  # 100,000 events a second
MINUTE_NS = 60_000_000_000


def trades(count: int, *, text_ids: bool = False) -> list[Stored]:
    """Trades of 50 instruments, ending now."""
    rng = random.Random(1)
    start = time.time_ns() - count * STEP_NS
    return [
        _trade(rng, start + n * STEP_NS, f"{rng.getrandbits(96):024x}" if text_ids else 10**10 + n)
        for n in range(count)
    ]


def mixed(count: int) -> list[Stored]:
    """What feeds send."""
    rng = random.Random(2)
    start = time.time_ns() - count * STEP_NS
    found: list[Stored] = []
    for n in range(count):
        at, kind = start + n * STEP_NS, n % 100
        name, price = rng.choice(INSTRUMENTS), round(rng.random() * 1_000, 2)
        if kind < 40:
            found.append(_trade(rng, at, 10**10 + n))
        elif kind < 95:
            found.append(Quote(name, at, at + 1_234_567, price, round(rng.random(), 5), price + 0.01, 1.5, n))
        elif kind < 98:
            bids = [(price - level / 100, round(rng.random(), 5)) for level in range(20)]
            asks = [(price + level / 100, round(rng.random(), 5)) for level in range(1, 21)]
            found.append(Book(name, at, at + 1_234_567, bids, asks, n))
        else:
            opened = at // MINUTE_NS * MINUTE_NS
            found.append(
                Bar(name, "1m", opened, opened + MINUTE_NS, price, price, price, price, 1.5, 1.5 * price, 3, 0.5,
                    0.5 * price, True, "trades", n, at)
            )  # fmt: skip
    return found


def _trade(rng: random.Random, at: int, trade_id: int | str) -> Trade:
    late = rng.randrange(1_000_000, 20_000_000)
    side = rng.choice(("buy", "sell"))
    price, size = round(rng.random() * 1_000, 2), round(rng.random(), 5)
    return Trade(rng.choice(INSTRUMENTS), at // 1_000_000 * 1_000_000, at + late, trade_id, price, size, side)


class Measured(NamedTuple):
    """Rows by time, and the next row of the spool."""

    rows_per_s: float
    rows_per_cpu_s: float
    next_row: int


def measure(
    name: str, store: LiveStore, events: Sequence[Stored], batch: int, spool: uuid.UUID, first: int = 1
) -> Measured:
    """Write `events` as rows `first` and on of `spool`, and print what it took."""
    stored = duplicate = 0
    wall, cpu = time.perf_counter(), time.process_time()
    row = first
    for n in range(0, len(events), batch):
        written = store.write(events[n : n + batch], spool, row)
        stored += written.stored.total()
        duplicate += written.duplicate.total()
        row += 1
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    total = len(events)
    print(
        f"  {name:24} {total / wall:>10,.0f} rows/s {total / cpu:>12,.0f} rows/CPU-s   {stored:,} new, {duplicate:,} known"
    )
    return Measured(total / wall, total / cpu, row)


def run(url: str, count: int, batch: int) -> list[Figure]:
    """All measurements on an empty database."""
    migrate(url)
    spool = uuid.uuid4()
    with LiveStore(url) as store:
        store.write([_trade(random.Random(0), time.time_ns(), 1)], spool, 1)
        plain = trades(count)
        new = measure("trades", store, plain, batch, spool, 2)
        row = measure("trades again", store, plain[: count // 4], batch, spool, new.next_row).next_row
        measure("trades replayed", store, plain, batch, spool, 2)
        del plain
        row = measure("trades with text ids", store, trades(count // 2, text_ids=True), batch, spool, row).next_row
        measure("mixed", store, mixed(count // 2), batch, spool, row)
    return [
        Figure("rows stored idempotently a second", new.rows_per_s, 100_000, is_least=True),
        Figure("rows stored idempotently a second of the writer's CPU", new.rows_per_cpu_s, 300_000, is_least=True),
    ]


def embedded(count: int, batch: int) -> list[Figure]:
    """All measurements on an embedded PostgreSQL of its own."""
    with tempfile.TemporaryDirectory(prefix="mdp-bench-") as folder:
        Path(folder).chmod(0o755)
        with postgres_running(Path(folder) / "home") as url:
            print("embedded PostgreSQL, synced:")
            return run(url, count, batch)


@contextlib.contextmanager
def fresh_database(server: str) -> Iterator[str]:
    """An empty database on `server` for the time of the block."""
    name = f"bench_{os.getpid()}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    try:
        yield server.rpartition("/")[0] + f"/{name}"
    finally:
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


def main() -> None:
    """Read the command line and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--batch", type=int, default=20_000)
    parser.add_argument("--timescale", default=os.environ.get("MDP_TEST_TIMESCALE_URL"))
    options = parser.parse_args()
    print_table(embedded(options.rows, options.batch))
    if options.timescale:
        with fresh_database(options.timescale) as url:
            print("TimescaleDB:")
            print_table(run(url, options.rows, options.batch))


if __name__ == "__main__":
    main()
