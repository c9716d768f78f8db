"""All real processes of a trial: venue, database, Redis, the live process and its writer; started, killed, asked."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psycopg

from md_platform.embedded.ports import free_port
from md_platform.storage.migrate import migrate
from md_platform.storage.spool import Spool
from md_platform_tests.faults.listener import Listener
from md_platform_tests.faults.market import Market
from md_platform_tests.faults.servers import Server, database, redis_server

INSTRUMENTS = (
    "sandbox:BTC-USDT",
    "sandbox:ETH-USDT",
    "sandbox-coinbase:BTC-USD",
    "sandbox-coinbase:SOL-USD",
    "sandbox-kraken:BTC-USD",
    "sandbox-kraken:ETH-USD",
)
TIMES_AS_BUSY = 20
_REPOSITORY = Path(__file__).parents[2]
_READY_EVERY_S = 0.25


class Rig:
    """One of everything. Whoever makes it calls `close`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.market = Market(TIMES_AS_BUSY)
        self.home = folder / "home"
        self.port = free_port()
        self.database: Server = database(folder / "postgres")
        self.redis: Server = redis_server(folder / "redis")
        migrate(self.database.url)
        self._venue, self.venue = _started_venue(folder)
        self.frame_log = folder / "frames.jsonl"
        self.stream: subprocess.Popen[bytes] | None = None
        self.writer: subprocess.Popen[bytes] | None = None
        self.listener = Listener(self.redis.url, INSTRUMENTS, self.market)
        self.problems: Counter[str] = Counter()
        self._closing = threading.Event()
        self._asking = threading.Thread(target=self._ask_ready, daemon=True)
        self._asking.start()

    def start_stream(self, *, tls: bool = False) -> None:
        """The live process, its feeds over TLS or not."""
        arguments = ["--instruments", ",".join(INSTRUMENTS), "--port", str(self.port)]
        if tls:
            arguments += ["--ca-file", self.venue["ca_file"]]
        self.stream = self._started("stream", arguments, self.venue["wss" if tls else "ws"])

    def start_writer(self) -> None:
        """The database writer."""
        self.writer = self._started("writer", ["write"], self.venue["ws"])

    def _started(self, name: str, arguments: list[str], ws: str) -> subprocess.Popen[bytes]:
        http = self.venue["http"]
        environment = {
            **os.environ,
            "PYTHONPATH": str(_REPOSITORY),
            "MDP_HOME": str(self.home),
            "MDP_DATABASE_URL": self.database.url,
            "MDP_REDIS_URL": self.redis.url,
            "MDP_LAKE_URI": str(self.folder / "lake"),
            "MDP_VENUE_SANDBOX_REST_URL": f"{http}/binance",
            "MDP_VENUE_SANDBOX_WS_URL": f"{ws}/binance/stream",
            "MDP_VENUE_SANDBOX_COINBASE_REST_URL": f"{http}/coinbase",
            "MDP_VENUE_SANDBOX_COINBASE_WS_URL": f"{ws}/coinbase",
            "MDP_VENUE_SANDBOX_KRAKEN_REST_URL": f"{http}/kraken",
            "MDP_VENUE_SANDBOX_KRAKEN_WS_URL": f"{ws}/kraken/v2",
        }
        with self.log(name).open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "streaming", *arguments],
                env=environment,
                cwd=self.folder,
                stdout=log,
                stderr=log,
            )

    def log(self, name: str) -> Path:
        """What `stream` or `writer` says."""
        return self.folder / f"{name}.log"

    def said(self, name: str, what: str) -> int:
        """How often the log of `name` says `what`."""
        return self.log(name).read_text().count(what)

    def faults(self, *wanted: dict[str, Any]) -> None:
        """Have the venue commit `wanted`, beginning now."""
        httpx.post(f"{self.venue['http']}/control/faults", json=list(wanted)).raise_for_status()

    def hits(self) -> int:
        """How often the faults asked for have struck."""
        armed = httpx.get(f"{self.venue['http']}/control/faults").raise_for_status().json()
        return sum(each["hits"] for each in armed)

    def no_faults(self) -> None:
        """Have the venue behave."""
        httpx.delete(f"{self.venue['http']}/control/faults").raise_for_status()

    def status(self) -> dict[str, Any]:
        """What the live process says of itself; nothing while it does not answer."""
        with contextlib.suppress(httpx.HTTPError, ValueError):
            return dict(httpx.get(f"http://127.0.0.1:{self.port}/status", timeout=2).json())
        return {}

    def committed(self) -> int:
        """Last row of the spool that is stored."""
        spool = Spool(self.home / "stream" / "spool.db")
        with contextlib.closing(spool), psycopg.connect(self.database.url) as connection:
            found = connection.execute(
                "SELECT last_row FROM md.spool_progress WHERE spool = %s", (spool.id,)
            ).fetchone()
        return int(found[0]) if found else 0

    def close(self) -> None:
        """End everything."""
        self._closing.set()
        self._asking.join()
        self.listener.close()
        for process in (self.stream, self.writer, self._venue):
            if process is not None and process.poll() is None:
                process.send_signal(signal.SIGTERM)
                try:
                    process.wait(20)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
        self.redis.close()
        self.database.close()

    def _ask_ready(self) -> None:
        """Count what /readyz complains of."""
        while not self._closing.wait(_READY_EVERY_S):
            with contextlib.suppress(httpx.HTTPError, ValueError):
                self.problems.update(httpx.get(f"http://127.0.0.1:{self.port}/readyz", timeout=2).json()["problems"])


def kill(process: subprocess.Popen[bytes] | None) -> None:
    """kill -9."""
    if process is not None:
        process.kill()
        process.wait()


@contextlib.contextmanager
def running(folder: Path) -> Iterator[Rig]:
    """A rig whose live process and writer run."""
    rig = Rig(folder)
    try:
        rig.start_stream()
        rig.start_writer()
        yield rig
    finally:
        rig.close()


def until(condition: Any, timeout_s: float, what: str) -> float:
    """Seconds until `condition()`; TimeoutError that says `what` was waited for."""
    began = time.monotonic()
    while not condition():
        if time.monotonic() - began > timeout_s:
            raise TimeoutError(f"{what}: not within {timeout_s:g} s")
        time.sleep(0.05)
    return time.monotonic() - began


def _started_venue(folder: Path) -> tuple[subprocess.Popen[bytes], dict[str, str]]:
    environment = {**os.environ, "PYTHONPATH": str(_REPOSITORY)}
    with (folder / "venue.log").open("wb") as log:
        venue = subprocess.Popen(
            [sys.executable, "-m", "md_platform_tests.faults.venue", str(folder), str(TIMES_AS_BUSY)],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=log,
        )
    if venue.stdout is None:
        raise AssertionError("its output is a pipe")
    return venue, json.loads(venue.stdout.readline())
