"""The live process as it ships, at a fixed rate: CPU, lag to a Redis subscriber, and what the database writer keeps up.

`python -m streaming` with rules, quality, bars, indicators, synced spool and Redis; `python -m streaming write` into an
embedded PostgreSQL beside it. All of it, the venue and the subscriber share this machine's cores.
"""

import contextlib
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from array import array
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
import redis

from md_platform.domain.events import Trade
from md_platform.domain.wire import decode
from md_platform.embedded import postgres_running, valkey_running
from md_platform.embedded.ports import free_port
from md_platform.storage.migrate import migrate
from md_platform_tests.benchmarks.feed_venue import BASES
from md_platform_tests.benchmarks.figures import Figure

WARM_S = 10
"""Time for connecting, asking history and filling caches, not measured."""

LISTENED = BASES[::4]
"""Symbols that the subscriber listens to: redis-py would take a third of a core for all of them."""


def listen(url: str, warm_s: float, seconds: float) -> tuple[np.ndarray, np.ndarray]:
    """Milliseconds from our socket, and from the venue's sending, to here: of each trade, in order of arrival."""
    from_socket, from_venue = array("q"), array("q")
    with redis.Redis.from_url(url) as client, client.pubsub(ignore_subscribe_messages=True) as subscriber:
        subscriber.subscribe(*(f"md:trades:binance:{base}-USDT" for base in LISTENED))
        begin = time.monotonic() + warm_s
        while (now := time.monotonic()) < begin + seconds:
            message = subscriber.get_message(timeout=0.1)
            if message is None or now < begin:
                continue
            now_ns = time.time_ns()
            trades = [event for event in decode(message["data"]) if isinstance(event, Trade)]
            from_socket.extend(now_ns - trade.ts_received for trade in trades)
            from_venue.extend(now_ns - trade.ts_event for trade in trades)
    return np.array(from_socket) / 1e6, np.array(from_venue) / 1e6


@contextlib.contextmanager
def running(environment: Mapping[str, str], *arguments: str) -> Iterator[psutil.Process]:
    """`python -m streaming` for the time of the block."""
    with subprocess.Popen([sys.executable, "-m", "streaming", *arguments], env=environment) as process:
        try:
            yield psutil.Process(process.pid)
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                raise


def cpu_s(process: psutil.Process) -> float:
    """CPU of a process and of its children so far."""
    every = [process.cpu_times(), *(child.cpu_times() for child in process.children())]
    return sum(times.user + times.system for times in every)


def server(name: str) -> psutil.Process:
    """The server of this name that the block started."""
    return next(child for child in psutil.Process().children(recursive=True) if child.name().startswith(name))


def bench_process(addresses: Mapping[str, str], folder: Path, rate: int, seconds: int) -> list[Figure]:
    """Print what the process takes at `rate` messages a second."""
    with valkey_running(folder / "redis") as redis_url, postgres_running(folder / "postgres") as database_url:
        migrate(database_url)
        port = free_port()
        environment = {
            **os.environ,
            "MDP_HOME": str(folder / "home"),
            "MDP_REDIS_URL": redis_url,
            "MDP_DATABASE_URL": database_url,
            "MDP_STREAM_PORT": str(port),
            "MDP_VENUE_BINANCE_REST_URL": addresses["http"],
            "MDP_VENUE_BINANCE_WS_URL": f"{addresses['wss']}/{rate * (seconds + 10 * WARM_S)}/{rate}/stream",
        }
        instruments = ",".join(f"binance:{base}-USDT" for base in BASES)
        asked = ("--instruments", instruments, "--channels", "trades", "--ca-file", addresses["ca_file"])
        with (
            running(environment, *asked) as stream,
            running(environment, "write") as writer,
            ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool,
        ):
            until_streaming(port)
            heard = pool.submit(listen, redis_url, WARM_S, seconds)
            time.sleep(WARM_S)
            parts = {
                "live process": stream,
                "writer": writer,
                "redis": server("valkey"),
                "postgres": server("postgres"),
            }
            began, before, first = (
                time.perf_counter(),
                {name: cpu_s(part) for name, part in parts.items()},
                status(port),
            )
            time.sleep(seconds)
            wall, after, last = (
                time.perf_counter() - began,
                {name: cpu_s(part) for name, part in parts.items()},
                status(port),
            )
            load = os.getloadavg()[0]
            spent = {name: after[name] - before[name] for name in parts}
            _print(rate, wall, spent, first, last)
            from_socket, from_venue = heard.result()
            _print_lags(from_socket, from_venue)
            print(f"  load {load:.1f} on {os.cpu_count()} cores")
            messages, sixth = _events(last) - _events(first), len(from_socket) // 6
            growth = np.median(from_socket[-sixth:]) / np.median(from_socket[:sixth])
            return [
                Figure(
                    "the live process as it ships, µs of CPU a message", spent["live process"] / messages * 1e6, 4.0
                ),
                Figure("messages a second received", messages / wall, 0.99 * rate, is_least=True),
                Figure("core that the live process takes for them", spent["live process"] / wall, 0.5),
                Figure("socket → Redis subscriber, ms at p50", float(np.percentile(from_socket, 50)), 6.0),
                Figure("socket → Redis subscriber, ms at p99", float(np.percentile(from_socket, 99)), 6.0),
                Figure("its median in the last sixth, × that in the first", float(growth), 1.5),
            ]


def status(port: int) -> dict[str, Any]:
    return dict(httpx.get(f"http://127.0.0.1:{port}/status", timeout=30).json())


def _events(status: Mapping[str, Any]) -> int:
    return sum(connection["events"] for connection in status["connections"].values())


def until_streaming(port: int, timeout_s: float = 60) -> None:
    deadline = time.monotonic() + timeout_s
    while True:
        with contextlib.suppress(httpx.HTTPError):
            if _events(status(port)):
                return
        if time.monotonic() > deadline:
            raise TimeoutError(f"the live process does not stream after {timeout_s:g} s")
        time.sleep(0.2)


def _print(
    rate: int, wall: float, spent: Mapping[str, float], first: Mapping[str, Any], last: Mapping[str, Any]
) -> None:
    messages = _events(last) - _events(first)
    print(f"the process as it ships, for {wall:.0f} s at {rate:,}/s: {messages / wall:,.0f} messages/s received")
    for name, cpu in spent.items():
        print(f"  {name:14} {cpu / messages * 1e6:7.2f} µs/message   {cpu / wall:5.2f} core")
    stored = (last["writer"] or {}).get("stored", 0) - (first["writer"] or {}).get("stored", 0)
    print(
        f"  writer stored {stored / wall:,.0f} rows/s and is {(last['writer'] or {}).get('behind_s', 0):.1f} s behind"
        f" (at first {(first['writer'] or {}).get('behind_s', 0):.1f})"
    )
    print(f"  duplicates {last['duplicates']}, dropped {last['dropped']}, problems {last['problems']}")


def _print_lags(from_socket: np.ndarray, from_venue: np.ndarray) -> None:
    sixth = len(from_socket) // 6
    for name, lags in (("socket", from_socket), ("sending", from_venue)):
        p50, p99 = np.percentile(lags, (50, 99))
        first, last = np.median(lags[:sixth]), np.median(lags[-sixth:])
        print(
            f"  {name} → Redis subscriber: p50 {p50:.2f} ms, p99 {p99:.2f} ms;"
            f" median of the first sixth {first:.2f}, of the last {last:.2f}"
        )
