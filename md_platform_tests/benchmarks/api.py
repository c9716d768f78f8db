"""Benchmark: `mdp api` over a year of 1m bars, and what it does with 1,000 requests a second.

    python -m md_platform_tests.benchmarks.api [--seconds 10] [--rate 1000] [--workers 2]

Into an embedded PostgreSQL and Redis of its own. Beside each figure stands the same bytes from a bare ASGI application
on the same server (uvicorn), asked by the same client: the limit of this machine. `server` is the time until the first
byte of the answer, `client` until it is a frame (Arrow) or parsed (JSON); `first` is the first of these requests, which
finds nothing remembered. Requests a second are sent on schedule,
however long answers take, and timed from when they should have been sent.
"""

import argparse
import asyncio
import datetime as dt
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import httpx
import numpy as np
import orjson
import polars as pl
import psutil
import redis

from md_platform.catalog.ledger import Ledger, PartitionRecord
from md_platform.domain.events import Bar
from md_platform.domain.instruments import Instrument
from md_platform.domain.intervals import DAY, UTC
from md_platform.domain.schemas import CLEANED_BARS
from md_platform.embedded import postgres_running, valkey_running
from md_platform.embedded.ports import free_port
from md_platform.storage.archive import Archive, Days
from md_platform.storage.lake import Lake
from md_platform.storage.live_store import LiveStore
from md_platform.storage.migrate import migrate
from md_platform_tests.benchmarks.feed_process import cpu_s

BTC = "binance:BTC-USDT"
TODAY = dt.datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
MINUTE = dt.timedelta(minutes=1)
YEAR = 365


def year_of_bars() -> pl.DataFrame:
    """525,600 bars that end two days ago; prices of ten significant digits, as venues have them."""
    count = YEAR * 1_440
    start = TODAY - (YEAR + 2) * DAY
    times = pl.datetime_range(start, start + count * MINUTE, "1m", closed="left", eager=True, time_unit="us")
    rng = np.random.default_rng(1)
    close = np.round(60_000 + np.cumsum(rng.normal(0, 10, count)), 2)
    volume = np.round(rng.exponential(12, count), 5)
    columns = {
        "instrument": BTC, "timeframe": "1m", "open_time": times, "close_time": times.dt.offset_by("1m"),
        "open": np.roll(close, 1), "high": np.maximum(close, np.roll(close, 1)) + 3.0,
        "low": np.minimum(close, np.roll(close, 1)) - 3.0, "close": close, "volume": volume,
        "quote_volume": np.round(volume * close, 4), "vwap": close, "trade_count": rng.integers(1, 2_000, count),
        "taker_buy_volume": volume / 2, "taker_buy_quote_volume": np.round(volume * close / 2, 4), "is_closed": True,
        "source": "binance", "revision": 0, "known_at": times.dt.offset_by("2d"),
    }  # fmt: skip
    return pl.DataFrame(columns).select(pl.col(name).cast(dtype) for name, dtype in CLEANED_BARS.schema.items())


def seed(folder: Path, database_url: str, redis_url: str) -> None:
    """A year in the archive, the last two days in the live store, last values in Redis."""
    migrate(database_url)
    bars, ledger = year_of_bars(), Ledger(database_url)
    ledger.register([(Instrument.parse(BTC, native="BTCUSDT"), "crypto")])
    archive, lake = Archive(str(folder / "archive")), Lake(folder / "lake")
    records = []
    for (month,), rows in bars.group_by(pl.col("open_time").dt.strftime("%Y-%m"), maintain_order=True):
        dates = sorted(set(rows["open_time"].dt.date()))
        archive.replace(
            CLEANED_BARS.name, rows, "open_time", [Days((BTC,), dates[0], dates[-1])], {"month": str(month)}
        )
        for date in dates:
            lake.write(lake.path(CLEANED_BARS, BTC, date), rows.filter(pl.col("open_time").dt.date() == date))
            records += [
                PartitionRecord(name, BTC, date, "ok", 1_440, sha256=f"{date}", evidence={"inputs": {}})
                for name in (CLEANED_BARS.name, f"archive_{CLEANED_BARS.name}")
            ]
    ledger.record(records)
    now = dt.datetime.now(UTC)
    minutes = int((now - (TODAY - 2 * DAY)) / MINUTE)
    live = [_live_bar(int((TODAY - 2 * DAY + n * MINUTE).timestamp()) * 10**9) for n in range(minutes)]
    with LiveStore(database_url) as store:
        store.write(live, uuid4(), 1)
    at = time.time_ns()
    with redis.Redis.from_url(redis_url) as client:
        client.hset(f"md:latest:{BTC}", mapping={"price": 60_000.5, "size": 0.5, "trade_ts": at, "bid": 60_000.0,
                    "bid_size": 1.5, "ask": 60_001.0, "ask_size": 0.2, "open_24h": 59_000, "high_24h": 61_000,
                    "low_24h": 58_000, "volume_24h": 5e3, "quote_volume_24h": 3e8, "change_24h": 0.015, "ts_24h": at,
                    "whole_24h": 1})  # fmt: skip


def _live_bar(opened: int) -> Bar:
    return Bar(BTC, "1m", opened, opened + 60 * 10**9, 60_000.0, 60_010.5, 59_990.25, 60_001.0, 12.5, 750_000.0, 900, 6.0,
               360_000.0, True, "trades", 0, opened + 60 * 10**9)  # fmt: skip


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


def bare(content: bytes, folder: Path) -> Sequence[str]:
    """The command of a server that answers `content` whatever it is asked; `{port}` is to be put in."""
    (folder / "content").write_bytes(content)
    app = "md_platform_tests.benchmarks.api:bare_application"
    return [sys.executable, "-m", "uvicorn", app, "--factory", "--loop", "uvloop", "--http", "httptools",
            "--log-level", "critical"]  # fmt: skip


def bare_application() -> Callable[..., object]:
    """An ASGI application that answers the bytes of the file that MDP_BENCH_CONTENT names."""
    content = Path(os.environ["MDP_BENCH_CONTENT"]).read_bytes()

    async def application(scope: dict, receive: Callable, send: Callable) -> None:
        if scope["type"] == "http":
            await send({"type": "http.response.start", "status": 200,
                        "headers": [(b"content-length", str(len(content)).encode())]})  # fmt: skip
            await send({"type": "http.response.body", "body": content})

    return application


def fetch(url: str, accept: str, parse: Callable[[bytes], object], times: int) -> tuple[float, float, float, bytes]:
    """Ms until the first byte: of the first request, the median of `times` later ones; until it is parsed; the content."""
    earliest = 0.0
    server, client, content = [], [], b""
    with httpx.Client(timeout=60, headers={"accept": accept, "accept-encoding": "identity"}) as session:
        for n in range(times + 1):
            began = time.perf_counter()
            with session.stream("GET", url) as answer:
                first = time.perf_counter()
                content = b"".join(answer.iter_raw(1 << 20))
            assert answer.status_code == 200, content[:500]
            parse(content)
            if not n:
                earliest = (first - began) * 1_000
            else:
                server.append((first - began) * 1_000)
                client.append((time.perf_counter() - began) * 1_000)
    return earliest, statistics.median(server), statistics.median(client), content


async def load(port: int, path: str, rate: int, seconds: float, connections: int = 32) -> list[float]:
    """Latencies in ms of `rate` requests a second, sent on schedule over keep-alive connections."""
    request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept: application/json\r\n\r\n".encode()
    waiting: asyncio.Queue[float] = asyncio.Queue()
    latencies: list[float] = []

    async def one() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while (due := await waiting.get()) >= 0:
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200"), head
            lower = head.lower()
            at = lower.index(b"content-length:") + len(b"content-length:")
            await reader.readexactly(int(lower[at : lower.index(b"\r", at)]))
            latencies.append((time.perf_counter() - due) * 1_000)
        writer.close()

    workers = [asyncio.create_task(one()) for _ in range(connections)]
    began = time.perf_counter()
    for n in range(int(rate * seconds)):
        due = began + n / rate
        if (wait := due - time.perf_counter()) > 0:
            await asyncio.sleep(wait)
        waiting.put_nowait(due)
    for _ in workers:
        waiting.put_nowait(-1.0)
    await asyncio.gather(*workers)
    return latencies


def shown(name: str, latencies: Sequence[float], cpu_s: float) -> str:
    """A line of the table."""
    p50, p95, p99 = np.percentile(latencies, [50, 95, 99])
    each_us = cpu_s / len(latencies) * 1e6
    return f"  {name:34} p50 {p50:7.2f} ms   p95 {p95:7.2f}   p99 {p99:7.2f}   {each_us:6.0f} µs CPU each"


def measured_load(name: str, process: psutil.Process, port: int, path: str, rate: int, seconds: float) -> None:
    """Warm up, load, print."""
    asyncio.run(load(port, path, rate, 2))
    before = cpu_s(process)
    latencies = asyncio.run(load(port, path, rate, seconds))
    print(shown(name, latencies, cpu_s(process) - before))


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
                measure(process, port, folder, options.rate, options.seconds)
            print(f"  load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")


def measure(process: psutil.Process, port: int, folder: Path, rate: int, seconds: float) -> None:
    """All measurements of the API at `port`, each beside its limit."""
    api = f"http://127.0.0.1:{port}/api/v1"
    start, end = TODAY - (YEAR + 2) * DAY, TODAY - 2 * DAY
    year = f"{api}/bars/{BTC}?timeframe=1m&start={start:%Y-%m-%d}&end={end:%Y-%m-%d}"
    print(f"a year of 1m bars ({YEAR * 1_440:,} rows, {len(CLEANED_BARS.schema)} columns):")
    forms = {
        "Arrow": ("application/vnd.apache.arrow.stream", pl.read_ipc_stream, 100),
        "JSON": ("application/json", orjson.loads, 500),
    }
    for form, (accept, parse, target) in forms.items():
        first, server, client, content = fetch(year, accept, parse, 7)
        limit, limit_client = _limit(content, folder, lambda url, a=accept, p=parse: fetch(url, a, p, 7)[1:3])
        print(
            f"  {form:6} {len(content) / 2**20:6.1f} MiB   first {first:6.1f} ms   server {server:6.1f} ms   client {client:6.1f} ms"
            f"   (target {target}; the bytes alone: {limit:.1f} and {limit_client:.1f})"
        )
    day = f"/api/v1/bars/{BTC}?timeframe=1m&limit=1440"
    last = f"/api/v1/latest/{BTC}"
    print(f"requests on schedule, for {seconds:g} s:")
    for what, path, each in (("latest price", last, rate), ("24 hours of 1m bars, up to now", day, 20)):
        content = httpx.get(f"http://127.0.0.1:{port}{path}").content
        measured_load(f"{what}, {each}/s", process, port, path, each, seconds)
        other = free_port()
        (folder / "content").write_bytes(content)
        with running([*bare(content, folder), "--port", str(other)], other,
                     {"MDP_BENCH_CONTENT": str(folder / "content")}, "/") as limit_process:  # fmt: skip
            measured_load("  the bytes alone", limit_process, other, "/", each, seconds)


def _limit(content: bytes, folder: Path, ask: Callable[[str], tuple[float, float]]) -> tuple[float, float]:
    port = free_port()
    with running([*bare(content, folder), "--port", str(port)], port,
                 {"MDP_BENCH_CONTENT": str(folder / "content")}, "/"):  # fmt: skip
        return ask(f"http://127.0.0.1:{port}/")


if __name__ == "__main__":
    main()
