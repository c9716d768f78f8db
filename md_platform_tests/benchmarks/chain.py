"""Benchmark: instruments × days from the raw layer through the archive in ranged runs, and reading a year of bars.

    python -m md_platform_tests.benchmarks.chain [--instruments 50] [--days 30] [--runs 2] [--limit PATH]

Everything is real: `mdp up` with its daemon and PostgreSQL in a temporary home, runs launched as `mdp backfill`
launches them, as many side by side as the queue lets run. With `--limit` the plain script at PATH (the same work in one process, without a platform) runs before and
after in the same session; its rows differ, because it fills missing minutes and the platform must not.
"""

import argparse
import datetime as dt
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import polars as pl
import psutil

from md_platform.catalog.chain import assets_up_to
from md_platform.catalog.ranges import PERIODS_FOLLOW, Range
from md_platform.domain.bars import vwap
from md_platform.domain.intervals import DAY, Interval, Timeframe
from md_platform.domain.schemas import BAR_COLUMNS, CLEANED_BARS, RAW_BARS
from md_platform.orchestrator import Orchestrator
from md_platform.storage.archive import Archive, Days
from md_platform.storage.lake import Lake

FIRST = dt.date(2024, 1, 1)
SOURCE = "sandbox"
LIMIT = Path(__file__).parents[3] / "shared" / "limits" / "limit_e2e.py"


def raw_bars(number: int, days: int) -> pl.DataFrame:
    """A random walk of 1m bars with 0.2 % missing, 0.2 % duplicated, 0.1 % late and 0.02 % impossible rows."""
    rng = np.random.default_rng([7, number])
    rows = days * 1_440
    start = 10 ** rng.uniform(-1, 4.5)
    tick = 10.0 ** np.floor(np.log10(start) - 4)
    path = (np.round(start * np.exp(np.cumsum(rng.standard_t(4, rows * 4) * 3e-4)) / tick) * tick).reshape(rows, 4)
    close = path[:, -1]
    opened = np.r_[path[0, 0], close[:-1]]
    volume = np.round(rng.lognormal(3, 1, rows), 3)
    bought = np.round(volume * rng.beta(5, 5, rows), 3)
    luck, order = rng.random(rows), np.arange(rows, dtype=float)
    bars = pl.DataFrame(
        {
            "open_time": int(Interval.day(FIRST).start.timestamp()) * 1_000_000 + np.arange(rows) * 60_000_000,
            "open": opened,
            "high": np.maximum(path.max(1), opened),
            "low": np.where(luck < 2e-4, close * 2, np.minimum(path.min(1), opened)),
            "close": close,
            "volume": volume,
            "quote_volume": volume * close,
            "trade_count": rng.poisson(volume * 3) + 1,
            "taker_buy_volume": bought,
            "taker_buy_quote_volume": bought * close,
            "order": np.where((luck > 0.5) & (luck < 0.501), order + 3.5, order),
        }
    ).filter(pl.Series(luck < 0.998))
    bars = pl.concat([bars, bars.sample(fraction=0.002, seed=number)]).sort("order", maintain_order=True)
    opens = pl.col("open_time").cast(pl.Datetime("us", "UTC"))
    return (
        bars.with_columns(open_time=opens, trade_count=pl.col("trade_count").cast(pl.Int64))
        .with_columns(
            vwap(),
            instrument=pl.lit(instrument_id(number)),
            timeframe=pl.lit("1m"),
            close_time=pl.col("open_time") + pl.duration(minutes=1),
            is_closed=pl.lit(value=True),
            source=pl.lit(SOURCE),
            revision=pl.lit(0, pl.Int64),
            known_at=pl.lit(Interval.day(FIRST + 400 * DAY).start).cast(pl.Datetime("us", "UTC")),
        )
        .select([column.name for column in BAR_COLUMNS])
    )


def instrument_id(number: int) -> str:
    """Id of the benchmark's `number`th instrument."""
    return f"sandbox:S{number:03d}-USDT"


def write_raw_layer(lake: Lake, instruments: int, days: int) -> None:
    """Raw files of every instrument and day, as a fetch would have left them."""
    for number in range(instruments):
        by_day = raw_bars(number, days).with_columns(day=pl.col("open_time").dt.date())
        for (day,), frame in by_day.partition_by("day", as_dict=True, include_key=False, maintain_order=True).items():
            lake.write(lake.path(RAW_BARS, instrument_id(number), day, SOURCE), frame)


@contextmanager
def platform(home: Path) -> Iterator[Orchestrator]:
    """A real `mdp up` in `home`, ended at the end."""
    port = _free_port()
    environment = {
        **os.environ,
        "MDP_HOME": str(home),
        "MDP_DAGSTER_PORT": str(port),
        "MDP_API_PORT": str(_free_port()),
        "MDP_GATEWAY_PORT": str(_free_port()),
        "MDP_SANDBOX_PORT": str(_free_port()),
        "MDP_FIRST_LOAD_DAYS": "0",
        "MDP_STREAM": "false",
    }
    with (home / "up.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "md_platform.cli", "up"], env=environment, stdout=log, stderr=subprocess.STDOUT
        )
        try:
            while b"; open http" not in (home / "up.log").read_bytes():
                if process.poll() is not None:
                    raise SystemExit((home / "up.log").read_text())
                time.sleep(0.2)
            yield Orchestrator(f"http://127.0.0.1:{port}")
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class PeakMemory(threading.Thread):
    """Largest resident set of any one process below this one, in MiB, sampled until `stop`."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.mib = 0.0
        self.stop = threading.Event()

    def run(self) -> None:
        while not self.stop.wait(0.2):
            for process in psutil.Process().children(recursive=True):
                with suppress(psutil.NoSuchProcess):
                    self.mib = max(self.mib, process.memory_info().rss / 2**20)


def bench_chain(instruments: int, days: int, runs: int) -> float:
    """Seconds from the first step's start to the last step's end of all runs; prints each step of the first."""
    with tempfile.TemporaryDirectory(prefix="mdp-bench-") as folder:
        home = Path(folder)
        began = time.perf_counter()
        write_raw_layer(Lake(home / "lake"), instruments, days)
        print(f"raw layer written in {time.perf_counter() - began:.1f} s, not counted")
        names = [instrument_id(number) for number in range(instruments)]
        with platform(home) as orchestrator:
            orchestrator.register("crypto", names)
            assets = [name for name in assets_up_to("archive") if name != "raw_bars"]
            memory = PeakMemory()
            memory.start()
            began = time.perf_counter()
            width = -(-instruments // runs)
            ranges = [
                Range(tuple(names[n : n + width]), FIRST, FIRST + (days - 1) * DAY)
                for n in range(0, instruments, width)
            ]
            run_ids = [orchestrator.launch("crypto", assets, wanted, {PERIODS_FOLLOW: "yes"}) for wanted in ranges]
            statuses = {run.status for run in orchestrator.wait(run_ids, lambda _: None)}
            wall = time.perf_counter() - began
            memory.stop.set()
            steps = [_steps(orchestrator, run_id) for run_id in run_ids]
        for name, start, end in steps[0]:
            print(f"  {name:32s} {end - start:6.2f} s")
        every = [step for run in steps for step in run]
        seconds = max(end for _, _, end in every) - min(start for _, start, _ in every)
        archive = Archive(str(home / "archive"))
        whole = Interval(Interval.day(FIRST).start, Interval.day(FIRST + days * DAY).start)
        rows = {}
        for dataset in ("cleaned_bars", "resampled_bars", "indicators"):
            frame = archive.read(dataset, names, whole, "open_time")
            rows[dataset] = 0 if frame is None else frame.height
        print(
            f"{'/'.join(statuses)}: {instruments} instruments x {days} days in {seconds:.1f} s,"
            f" {wall:.1f} s with queue and start, {len(steps)} runs"
        )
        print(f"rows archived {rows}, peak memory of one process {memory.mib:.0f} MiB")
        return seconds


def _steps(orchestrator: Orchestrator, run_id: str) -> list[tuple[str, float, float]]:
    query = "query($id: ID!) { runOrError(runId: $id) { ... on Run { stepStats { stepKey startTime endTime } } } }"
    stats = orchestrator.query(query, {"id": run_id})["runOrError"]["stepStats"]
    return sorted(((s["stepKey"], s["startTime"], s["endTime"]) for s in stats), key=lambda step: step[1])


def bench_limit(script: Path, instruments: int, days: int, folder: str) -> float:
    """Seconds of the plain script for the same work."""
    command = [sys.executable, str(script), "--symbols", str(instruments), "--days", str(days), "--outdir", folder]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    total = next(line for line in output.splitlines() if line.startswith("TOTAL"))
    print(total)
    print(next(line for line in output.splitlines() if line.startswith("rows cleaned")))
    found = re.search(r"wall ([\d.]+)s", total)
    assert found is not None
    return float(found[1])


def bench_year() -> None:
    """Milliseconds to read one instrument's year of 1m bars out of an archive of five."""
    with tempfile.TemporaryDirectory(prefix="mdp-bench-") as folder:
        archive = Archive(folder)
        names = [instrument_id(number) for number in range(5)]
        for number, name in enumerate(names):
            frame = raw_bars(number, 366).unique("open_time").sort("open_time")
            days = [Days((name,), FIRST, FIRST + 365 * DAY)]
            archive.replace(CLEANED_BARS.name, frame, CLEANED_BARS.time, days, {})
        year = Interval(Interval.day(FIRST).start, Interval.day(FIRST + 366 * DAY).start)
        times = []
        for _ in range(7):
            began = time.perf_counter()
            read = archive.read(CLEANED_BARS.name, [names[2]], year, CLEANED_BARS.time, Timeframe.M1)
            times.append((time.perf_counter() - began) * 1_000)
        rows = 0 if read is None else read.height
        print(
            f"one instrument, one year of 1m bars: {rows} rows in {sorted(times)[len(times) // 2]:.0f} ms (median of 7)"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--instruments", type=int, default=50)
    parser.add_argument("--days", type=int, default=30)
    parser.add_argument("--runs", type=int, default=2, help="ranged runs that share the instruments")
    parser.add_argument("--limit", type=Path, default=LIMIT, help="plain script to compare with")
    wanted = parser.parse_args()
    bench_year()
    limits = []
    with tempfile.TemporaryDirectory(prefix="mdp-limit-") as folder:
        if wanted.limit.exists():
            limits.append(bench_limit(wanted.limit, wanted.instruments, wanted.days, folder))
        seconds = bench_chain(wanted.instruments, wanted.days, wanted.runs)
        if wanted.limit.exists():
            limits.append(bench_limit(wanted.limit, wanted.instruments, wanted.days, folder))
            print(f"ratio to the plain script: {seconds / (sum(limits) / len(limits)):.2f}")


if __name__ == "__main__":
    main()
