"""Stocked lake, sandbox, live process, writer, gateway and API, each a process of its own; a scripted Dagster."""

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import httpx

from md_platform.catalog.ledger import Ledger, PartitionRecord
from md_platform.catalog.ranges import Range
from md_platform.domain.intervals import DAY
from md_platform.embedded import postgres_running, valkey_running
from md_platform.embedded.ports import free_port
from md_platform.storage.migrate import migrate
from md_platform_tests.api_server import stores_of
from md_platform_tests.page.stocked import BTC, ETH, SOL, stock
from md_platform_tests.sandbox_server import running_sandbox
from md_platform_tests.scripted_dagster import ScriptedRun, scripted_dagster

DAYS = 30
"""Of bars, to look at."""

_START_S = 90
_CODE = str(Path(__file__).parents[2])


@dataclass(frozen=True)
class Platform:
    """Where it is: `url` of the API and the page."""

    url: str
    gateway_port: int
    environment: Mapping[str, str]

    @contextlib.contextmanager
    def process(self, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
        """`python -m ARGUMENTS` beside the others until the block ends."""
        process = subprocess.Popen([sys.executable, "-m", *arguments], env=self.environment)
        try:
            yield process
        finally:
            process.terminate()
            process.wait(20)


@contextlib.contextmanager
def with_servers(folder: Path, days: int) -> Iterator[Platform]:
    """A platform with servers of its own below `folder`, which other users may pass through."""
    with (
        valkey_running(folder / "redis") as redis_url,
        postgres_running(folder / "postgres", durable=False) as database_url,
        running(folder, database_url, redis_url, days) as platform,
    ):
        yield platform


@contextlib.contextmanager
def running(folder: Path, database_url: str, redis_url: str, days: int, **settings: str) -> Iterator[Platform]:
    """A platform on these servers, with so many days of bars; `settings` as MDP_AUTH="required"."""
    migrate(database_url)
    stores = stores_of(folder, database_url, redis_url)
    stock(stores, days)
    with running_sandbox() as venue, scripted_dagster(lambda run: _load(stores.ledger, run)) as dagster:
        api_port, gateway_port = free_port(), free_port()
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("MDP_")},
            "PYTHONPATH": _CODE,
            "MDP_HOME": str(folder / "home"),
            "MDP_LAKE_URI": str(folder / "lake"),
            "MDP_ARCHIVE_URI": str(folder / "archive"),
            "MDP_DATABASE_URL": database_url,
            "MDP_REDIS_URL": redis_url,
            "MDP_INSTRUMENTS": f"{BTC},{ETH},{SOL}",
            "MDP_API_PORT": str(api_port),
            "MDP_GATEWAY_PORT": str(gateway_port),
            "MDP_STREAM_PORT": str(free_port()),
            "MDP_DAGSTER_PORT": str(dagster.port),
            "MDP_VENUE_SANDBOX_REST_URL": f"{venue.http}/binance",
            "MDP_VENUE_SANDBOX_WS_URL": f"{venue.ws}/binance/stream",
            "MDP_VENUE_SANDBOX_COINBASE_REST_URL": f"{venue.http}/coinbase",
            "MDP_VENUE_SANDBOX_COINBASE_WS_URL": f"{venue.ws}/coinbase",
            "MDP_VENUE_SANDBOX_KRAKEN_REST_URL": f"{venue.http}/kraken",
            "MDP_VENUE_SANDBOX_KRAKEN_WS_URL": f"{venue.ws}/kraken/v2",
            **settings,
        }
        (folder / "home").mkdir(exist_ok=True)
        platform = Platform(f"http://127.0.0.1:{api_port}", gateway_port, environment)
        with contextlib.ExitStack() as stack:
            for arguments in (
                ("streaming", "--instruments", environment["MDP_INSTRUMENTS"]),
                ("streaming", "write"),
                ("md_platform.cli", "gateway"),
                ("md_platform.cli", "alerts", "run"),
                ("md_platform.cli", "api"),
            ):
                stack.enter_context(platform.process(*arguments))
            _wait(platform.url)
            _wait(f"http://127.0.0.1:{gateway_port}")
            yield platform


def _load(ledger: Ledger, run: ScriptedRun) -> None:
    """What a run does: it records its partitions."""
    asked = Range.of_run(run.tags)
    is_daily = not run.assets[0].startswith(("weekly", "monthly"))
    dates = [asked.first + n * DAY for n in range((asked.last - asked.first).days + 1 if is_daily else 1)]
    ledger.record(
        [
            PartitionRecord(asset, asked.instruments[0], date, "ok", 1_440, run_id=run.id)
            for asset in run.assets
            for date in dates
        ]
    )
    run.status = "SUCCESS"


def _wait(url: str) -> None:
    deadline = time.monotonic() + _START_S
    while True:
        with contextlib.suppress(httpx.HTTPError):
            if httpx.get(f"{url}/healthz").is_success:
                return
        assert time.monotonic() < deadline, f"{url} does not answer"
        time.sleep(0.1)
