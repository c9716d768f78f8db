"""Benchmark: the gateway's connections, what each holds in memory, and what a send costs beside a bare socket's.

    python -m md_platform_tests.benchmarks.gateway [--connections 10000] [--channels 100] [--sends 80000] [--seconds 15]

Gateways, clients, Redis and publisher are processes of their own on this machine. Each trade goes to
connections / channels clients. Late is from publishing (the trade's ts_received) to the client's callback.
"""

import argparse
import asyncio
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil

from md_platform.embedded import valkey_running
from md_platform.embedded.ports import free_port
from md_platform_tests.benchmarks.gateway_load import publish

HERE = "md_platform_tests.benchmarks"
_OWN = 3  # connections of a gateway that are not clients': it listens, and has two to Redis


@contextlib.contextmanager
def gateways(redis_url: str, count: int) -> Iterator[tuple[int, list[psutil.Process]]]:
    """A port that `count` gateways share."""
    port = free_port()
    environment = {
        **os.environ,
        "MDP_REDIS_URL": redis_url,
        "MDP_DATABASE_URL": "postgresql://nobody@127.0.0.1:9/none",  # asked for history alone
        "MDP_GATEWAY_PORT": str(port),
    }
    argv = [sys.executable, "-m", "md_platform.cli", "gateway"]
    started = [subprocess.Popen(argv, env=environment, stderr=subprocess.DEVNULL) for _ in range(count)]
    try:
        deadline = time.monotonic() + 30
        while sum(len(psutil.Process(each.pid).net_connections()) > 0 for each in started) < count:
            if time.monotonic() > deadline:
                raise RuntimeError("the gateways did not start")
            time.sleep(0.2)
        yield port, [psutil.Process(each.pid) for each in started]
    finally:
        for each in started:
            each.kill()
            each.wait()


class Clients:
    """The clients' process; ready when all are subscribed."""

    def __init__(self, port: int, connections: int, channels: int) -> None:
        argv = [sys.executable, "-m", f"{HERE}.gateway_clients", *map(str, (port, connections, channels))]
        self.process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        if self.process.stdout is None or self.process.stdout.readline() != "ready\n":
            raise RuntimeError("the clients did not connect")

    def say(self, line: str) -> None:
        """`begin` or `end`."""
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def measured(self, seconds: float, servers: Sequence[psutil.Process]) -> dict[str, Any]:
        """What came in so long, and the CPU seconds of each server meanwhile."""
        assert self.process.stdout is not None
        before = [cpu_s(each) for each in servers]
        self.say("begin")
        time.sleep(seconds)
        spent = [cpu_s(each) - was for each, was in zip(servers, before, strict=True)]
        self.say("end")
        return {**json.loads(self.process.stdout.readline()), "cpu_s": spent}

    def end(self) -> None:
        """Disconnect all."""
        self.process.kill()
        self.process.wait()


def cpu_s(process: psutil.Process) -> float:
    """CPU that it has used, kernel included."""
    times = process.cpu_times()
    return times.user + times.system


def fan_out(redis_url: str, given: argparse.Namespace, count: int) -> float:
    """Run `count` gateways on one port; CPU of a send in µs."""
    with gateways(redis_url, count) as (port, processes):
        empty = [each.memory_info().rss for each in processes]
        clients = Clients(port, given.connections, given.channels)
        try:
            full = [each.memory_info().rss for each in processes]
            each_has = [len(each.net_connections()) - _OWN for each in processes]
            held = sum(full) - sum(empty)
            print(
                f"{count} gateway(s): {given.connections:,} connections {each_has}, "
                f"{held / given.connections / 1024:.1f} KiB each, {sum(full) / 2**20:.0f} MiB in all"
            )
            per_s = given.sends * count / (given.connections / given.channels)
            with publishing(redis_url, given.channels, per_s):
                time.sleep(2)
                found = clients.measured(given.seconds, processes)
            shown(found, count, given.seconds)
            return sum(found["cpu_s"]) / found["received"] * 1e6
        finally:
            clients.end()


def raw(given: argparse.Namespace) -> float:
    """The same by bare sockets; CPU of a send in µs."""
    argv = [sys.executable, "-m", f"{HERE}.gateway_raw", *map(str, (given.connections, given.channels, given.sends))]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        try:
            assert server.stdout is not None
            clients = Clients(int(server.stdout.readline()), given.connections, given.channels)
            try:
                time.sleep(2)
                found = clients.measured(given.seconds, [psutil.Process(server.pid)])
            finally:
                clients.end()
        finally:
            server.kill()
            server.wait()
    print("bare sockets:")
    shown(found, 1, given.seconds)
    return sum(found["cpu_s"]) / found["received"] * 1e6


def shown(found: dict[str, Any], count: int, seconds: float) -> None:
    """Print one run."""
    cores = " + ".join(f"{each / seconds:.2f}" for each in found["cpu_s"])
    late = ", ".join(f"{name[:-3]} {value:.2f} ms" for name, value in found.items() if name.endswith("_ms"))
    rate = found["received"] / found["seconds"]
    print(f"  {rate:,.0f} sends/s ({rate / count:,.0f} a process), {cores} cores, late {late}")
    print(f"  {sum(found['cpu_s']) / found['received'] * 1e6:.2f} µs CPU a send")


@contextlib.contextmanager
def publishing(redis_url: str, channels: int, per_s: float) -> Iterator[None]:
    """Trades for the time of the block."""
    loop = asyncio.new_event_loop()
    task = loop.create_task(publish(redis_url, channels, per_s))

    def run() -> None:
        with contextlib.suppress(asyncio.CancelledError):
            loop.run_until_complete(task)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        loop.call_soon_threadsafe(task.cancel)
        thread.join()
        loop.close()


def main() -> None:
    """Run all of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--connections", type=int, default=10_000)
    parser.add_argument("--channels", type=int, default=100)
    parser.add_argument("--sends", type=int, default=80_000, help="a second and gateway")
    parser.add_argument("--seconds", type=float, default=15.0)
    parser.add_argument(
        "--gateways", type=int, default=2, help="at the end so many share a port and a half of the rate"
    )
    given = parser.parse_args()
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory(prefix="mdp-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # Redis is another user's, where we are root
        with valkey_running(folder / "redis") as redis_url:
            bare_us = raw(given)
            ours_us = fan_out(redis_url, given, 1)
            print(f"  {ours_us / bare_us:.2f} × a bare socket's send")
            given.sends //= given.gateways
            fan_out(redis_url, given, given.gateways)


if __name__ == "__main__":
    main()
