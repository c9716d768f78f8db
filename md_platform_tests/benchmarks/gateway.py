"""Benchmark: the gateway's connections, what each holds in memory, and what a send costs beside a bare socket's.

    python -m md_platform_tests.benchmarks.gateway [--connections 10000] [--channels 100] [--sends 80000] [--seconds 15]

Gateways, clients, Redis and publisher are processes of their own on this machine; `cores` says what each of them took.
Each trade goes to connections / channels clients. Late is from publishing (the trade's ts_received) to the client.
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
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from md_platform.embedded import valkey_running
from md_platform.embedded.ports import free_port
from md_platform_tests.benchmarks.feed_process import server
from md_platform_tests.benchmarks.figures import Figure, print_table
from md_platform_tests.benchmarks.gateway_load import publish
from md_platform_tests.benchmarks.machine import cpu_s, machine_cpu_s

HERE = "md_platform_tests.benchmarks"
SENDS_PER_S = 79_000
P99_MS = 5
TIMES_A_BARE_SEND = 1.5
HELD_KIB = 30
LEAST_SHARE = 0.45
"""What the gateway with fewer of the connections has of them, where two share a port."""

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


@dataclass(frozen=True)
class Run:
    """What clients told, and CPU seconds: of each process that sends, and of those beside it."""

    told: Mapping[str, Any]
    servers_cpu_s: Sequence[float]
    others_cpu_s: Mapping[str, float]

    @property
    def sends_per_s(self) -> float:
        """Of all processes together."""
        return float(self.told["received"] / self.told["seconds"])

    @property
    def send_us(self) -> float:
        """CPU of a send."""
        return float(sum(self.servers_cpu_s) / self.told["received"] * 1e6)

    def show(self, count: int) -> None:
        """Print it."""
        seconds = self.told["seconds"]
        late = ", ".join(f"{name[:-3]} {value:.2f} ms" for name, value in self.told.items() if name.endswith("_ms"))
        servers = " + ".join(f"{each / seconds:.2f}" for each in self.servers_cpu_s)
        others = ", ".join(f"{name} {each / seconds:.2f}" for name, each in self.others_cpu_s.items())
        print(f"  {self.sends_per_s:,.0f} sends/s ({self.sends_per_s / count:,.0f} a process), late {late}")
        print(f"  {self.send_us:.2f} µs CPU a send; cores: {servers} of who sends, {others}")


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

    def measured(self, seconds: float, servers: Sequence[psutil.Process], others: Mapping[str, psutil.Process]) -> Run:
        """What came in so long, and the CPU that each process took meanwhile; the clients' own is among `others`."""
        assert self.process.stdout is not None
        every = {**others, "clients": psutil.Process(self.process.pid)}
        before, before_others = [cpu_s(each) for each in servers], {name: cpu_s(each) for name, each in every.items()}
        machine = machine_cpu_s()
        self.say("begin")
        time.sleep(seconds)
        spent = [cpu_s(each) - was for each, was in zip(servers, before, strict=True)]
        beside = {name: cpu_s(each) - before_others[name] for name, each in every.items()}
        beside["all else on the machine"] = machine_cpu_s() - machine - sum(spent) - sum(beside.values())
        self.say("end")
        return Run(json.loads(self.process.stdout.readline()), spent, beside)

    def end(self) -> None:
        """Disconnect all."""
        self.process.kill()
        self.process.wait()


def fan_out(redis_url: str, given: argparse.Namespace, count: int) -> tuple[Run, float, list[int]]:
    """Run `count` gateways on one port; what came, KiB of a connection, and how many each has."""
    with gateways(redis_url, count) as (port, processes):
        empty = [each.memory_info().rss for each in processes]
        clients = Clients(port, given.connections, given.channels)
        try:
            full = [each.memory_info().rss for each in processes]
            each_has = [len(each.net_connections()) - _OWN for each in processes]
            held_kib = (sum(full) - sum(empty)) / given.connections / 1024
            print(
                f"{count} gateway(s): {given.connections:,} connections {each_has}, "
                f"{held_kib:.1f} KiB each, {sum(full) / 2**20:.0f} MiB in all"
            )
            per_s = given.sends / (given.connections / given.channels)
            with publishing(redis_url, given.channels, per_s):
                time.sleep(2)
                run = clients.measured(
                    given.seconds, processes, {"redis": server("valkey"), "publisher": psutil.Process()}
                )
            run.show(count)
            return run, held_kib, each_has
        finally:
            clients.end()


def raw(given: argparse.Namespace) -> Run:
    """The same by bare sockets."""
    argv = [sys.executable, "-m", f"{HERE}.gateway_raw", *map(str, (given.connections, given.channels, given.sends))]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as sender:
        try:
            assert sender.stdout is not None
            clients = Clients(int(sender.stdout.readline()), given.connections, given.channels)
            try:
                time.sleep(2)
                run = clients.measured(given.seconds, [psutil.Process(sender.pid)], {})
            finally:
                clients.end()
        finally:
            sender.kill()
            sender.wait()
    print("bare sockets:")
    run.show(1)
    return run


@contextlib.contextmanager
def publishing(redis_url: str, channels: int, per_s: float) -> Iterator[None]:
    """Trades for the time of the block."""
    stop = threading.Event()
    thread = threading.Thread(target=lambda: asyncio.run(publish(redis_url, channels, per_s, stop)))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def main() -> None:
    """Run all of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--connections", type=int, default=10_000)
    parser.add_argument("--channels", type=int, default=100)
    parser.add_argument("--sends", type=int, default=80_000, help="a second, in all")
    parser.add_argument("--seconds", type=float, default=15.0)
    parser.add_argument("--gateways", type=int, default=2, help="at the end so many share a port and the rate")
    given = parser.parse_args()
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory(prefix="mdp-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # Redis is another user's, where we are root
        with valkey_running(folder / "redis") as redis_url:
            bare = raw(given)
            one, held_kib, _ = fan_out(redis_url, given, 1)
            _, _, each_has = fan_out(redis_url, given, given.gateways)
    print_table(
        [
            Figure("connections held by one gateway", given.connections, 10_000, is_least=True),
            Figure("KiB of memory a connection", held_kib, HELD_KIB),
            Figure("sends a second of one gateway", one.sends_per_s, SENDS_PER_S, is_least=True),
            Figure("publish → client, ms at p99", one.told["p99_ms"], P99_MS),
            Figure("CPU of a send, × a bare socket's", one.send_us / bare.send_us, TIMES_A_BARE_SEND),
            Figure(
                f"least share of {given.gateways} gateways on one port, of the connections",
                min(each_has) / given.connections * given.gateways / 2,
                LEAST_SHARE,
                is_least=True,
            ),
        ]
    )


if __name__ == "__main__":
    main()
