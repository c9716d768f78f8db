"""Benchmark: `mdp api` over a year of 1m bars, and what it does with 1,000 requests a second.

    python -m md_platform_tests.benchmarks.api [--seconds 10] [--rate 1000] [--workers 2]

Into an embedded PostgreSQL and Redis of its own. Beside each figure stands the same bytes from a bare ASGI application
on the same server (uvicorn), asked by the same client: the limit of this machine. `server` is the time until the first
byte of the answer, `client` until it is a frame (Arrow) or parsed (JSON); `first` is the first of these requests, which
finds nothing remembered. Requests a second are sent on schedule, however long answers take, and timed from when they
should have been sent; they and the server share the machine, `cores` says whose they are.
"""

import argparse
import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import product
from pathlib import Path

import httpx
import numpy as np
import orjson
import polars as pl
import psutil
import pyarrow as pa

from md_platform.client import MarketData
from md_platform.domain.intervals import DAY
from md_platform.embedded import postgres_running, valkey_running
from md_platform.embedded.ports import free_port
from md_platform_tests.benchmarks.api_data import BTC, TODAY, YEAR, seed
from md_platform_tests.benchmarks.api_load import called, fetch, load
from md_platform_tests.benchmarks.feed_process import cpu_s as cpu_of_all
from md_platform_tests.benchmarks.figures import Figure, print_table
from md_platform_tests.benchmarks.machine import cpu_s, machine_cpu_s


def _frame_of(content: bytes) -> object:
    with pa.ipc.open_stream(content) as stream:
        return pl.from_arrow(stream.read_all(), rechunk=False)


FORMS: dict[str, tuple[str, Callable[[bytes], object], float]] = {
    "Arrow": ("application/vnd.apache.arrow.stream", _frame_of, 100),
    "JSON": ("application/json", orjson.loads, 500),
}
"""How an answer is asked for and read, and how many ms a year may take."""
COLUMNS = {"all columns": "", "time and OHLCV": "&columns=open_time,open,high,low,close,volume"}
LATEST_P95_MS = 10
DAY_P95_MS = 20
DAYS_PER_S = 20


@contextmanager
def running(command: Sequence[str], port: int, environment: dict[str, str], path: str) -> Iterator[psutil.Process]:
    """A server process that answers at `path`, for the time of the block."""
    with subprocess.Popen(command, env={**os.environ, **environment}, stdout=subprocess.DEVNULL,
                          stderr=subprocess.DEVNULL) as process:  # fmt: skip
        try:
            deadline = time.monotonic() + 60
            while True:
                try:
                    httpx.get(f"http://127.0.0.1:{port}{path}", timeout=30)
                    break
                except httpx.TransportError:
                    if time.monotonic() > deadline or process.poll() is not None:
                        raise
                    time.sleep(0.05)
            yield psutil.Process(process.pid)
        finally:
            process.terminate()
            process.wait(30)


@contextmanager
def bare(content: bytes, folder: Path) -> Iterator[tuple[psutil.Process, int]]:
    """Process and port of a server that answers `content` whatever it is asked."""
    file, port = folder / "content", free_port()
    file.write_bytes(content)
    app = "md_platform_tests.benchmarks.api:bare_application"
    command = [sys.executable, "-m", "uvicorn", app, "--factory", "--loop", "uvloop", "--http", "httptools",
               "--log-level", "critical", "--port", str(port)]  # fmt: skip
    with running(command, port, {"MDP_BENCH_CONTENT": str(file)}, "/") as process:
        yield process, port


def bare_application() -> Callable[..., object]:
    """An ASGI application that answers the bytes of the file that MDP_BENCH_CONTENT names."""
    content = Path(os.environ["MDP_BENCH_CONTENT"]).read_bytes()

    async def application(scope: dict, receive: Callable, send: Callable) -> None:
        if scope["type"] == "http":
            await send({"type": "http.response.start", "status": 200,
                        "headers": [(b"content-length", str(len(content)).encode())]})  # fmt: skip
            await send({"type": "http.response.body", "body": content})

    return application


def timed(what: str, process: psutil.Process, port: int, path: str, rate: int, seconds: float) -> list[float]:
    """Warm up, load, print; latencies in ms."""
    asyncio.run(load(port, path, rate, 2))
    ours = psutil.Process()
    before = (time.perf_counter(), cpu_of_all(process), cpu_s(ours), machine_cpu_s())
    latencies = asyncio.run(load(port, path, rate, seconds))
    after = (time.perf_counter(), cpu_of_all(process), cpu_s(ours), machine_cpu_s())
    wall, served, asked, every = (now - then for now, then in zip(after, before, strict=True))
    p50, p95, p99 = np.percentile(latencies, [50, 95, 99])
    print(
        f"  {what:34} p50 {p50:7.2f} ms   p95 {p95:7.2f}   p99 {p99:7.2f}   {served / len(latencies) * 1e6:6.0f} µs CPU each"
        f"   cores: server {served / wall:.2f}, clients {asked / wall:.2f}, all else {(every - served - asked) / wall:.2f}"
    )
    return latencies


def year(port: int, folder: Path) -> Iterator[Figure]:
    """A year of bars in each form, beside the bare bytes."""
    start, end = TODAY - (YEAR + 2) * DAY, TODAY - 2 * DAY
    path = f"/api/v1/bars/{BTC}?timeframe=1m&start={start:%Y-%m-%d}&end={end:%Y-%m-%d}"
    print(f"a year of 1m bars, {YEAR * 1_440:,} rows:")
    for what, form in product(COLUMNS, FORMS):
        accept, parse, limit_ms = FORMS[form]
        url = f"http://127.0.0.1:{port}{path}{COLUMNS[what]}"
        first, server, client, content = fetch(url, accept, parse, 7)
        with bare(content, folder) as (_, other):
            _, least, least_client, _ = fetch(f"http://127.0.0.1:{other}/", accept, parse, 7)
        print(
            f"  {what:14} {form:6} {len(content) / 2**20:6.1f} MiB   first {first:6.1f} ms   server {server:6.1f} ms"
            f"   client {client:6.1f} ms   (the bytes alone: {least:.1f} and {least_client:.1f})"
        )
        yield Figure(f"a year, {what}, as {form}: ms of the server", server, limit_ms)
        yield Figure(f"a year, {what}, as {form}: ms until a client has it", client, limit_ms)
    with MarketData(f"http://127.0.0.1:{port}") as market:
        ours = called(lambda: market.bars(BTC, "1m", start, end), 7)
    print(f"  bars() of the Python client: {ours:.1f} ms")
    yield Figure("a year, all columns, bars() of the Python client: ms", ours, FORMS["Arrow"][2])


def requests(process: psutil.Process, port: int, folder: Path, rate: int, seconds: float) -> Iterator[Figure]:
    """Requests on schedule, beside the bare bytes."""
    print(f"requests on schedule, for {seconds:g} s:")
    day, last = f"/api/v1/bars/{BTC}?timeframe=1m&limit=1440", f"/api/v1/latest/{BTC}"
    for what, path, each, limit_ms in (
        ("latest price", last, rate, LATEST_P95_MS),
        ("24 hours of 1m bars, up to now", day, DAYS_PER_S, DAY_P95_MS),
    ):
        latencies = timed(f"{what}, {each:,}/s", process, port, path, each, seconds)
        with bare(httpx.get(f"http://127.0.0.1:{port}{path}").content, folder) as (limit, other):
            timed("  the bytes alone", limit, other, "/", each, seconds)
        yield Figure(f"{what}, {each:,}/s, ms at p95", float(np.percentile(latencies, 95)), limit_ms)
        yield Figure(f"{what}, requests answered a second", len(latencies) / seconds, 0.999 * each, is_least=True)


def main() -> None:
    """Seed, serve, measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--rate", type=int, default=1_000)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mdp-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        with valkey_running(folder / "redis") as redis_url, postgres_running(folder / "postgres") as database_url:
            seed(folder, database_url, redis_url)
            port = free_port()
            environment = {
                "MDP_HOME": str(folder / "home"), "MDP_REDIS_URL": redis_url, "MDP_DATABASE_URL": database_url,
                "MDP_LAKE_URI": str(folder / "lake"), "MDP_ARCHIVE_URI": str(folder / "archive"),
                "MDP_API_PORT": str(port),
            }  # fmt: skip
            command = [sys.executable, "-m", "md_platform.cli", "api", "--workers", str(options.workers)]
            with running(command, port, environment, "/healthz") as process:
                figures = [*year(port, folder), *requests(process, port, folder, options.rate, options.seconds)]
    print(f"  load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    print_table(figures)


if __name__ == "__main__":
    main()
