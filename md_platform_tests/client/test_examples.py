"""The examples and the notebook, as they stand, against an API and a gateway with days of the sandbox's market."""

import asyncio
import contextlib
import datetime as dt
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest
import redis
from nbclient import NotebookClient

from md_platform.api.stores import Stores
from md_platform.catalog.ledger import Ledger, PartitionRecord
from md_platform.client import MarketData
from md_platform.domain.events import Bar, Book
from md_platform.domain.instruments import Instrument
from md_platform.domain.intervals import DAY, UTC, Interval
from md_platform.domain.schemas import CLEANED_BARS, RESAMPLED_BARS
from md_platform.domain.wire import encode
from md_platform.embedded.ports import free_port
from md_platform.storage.migrate import migrate
from md_platform.transforms.resampled import resample
from md_platform_tests.api.test_backfills import Doing
from md_platform_tests.api_server import served, stores_of
from md_platform_tests.client.gateway_process import gateway_process
from md_platform_tests.gateway.speaking import Publisher, trade
from md_platform_tests.rows import day_of_bars
from md_platform_tests.scripted_dagster import scripted_dagster

ROOT = Path(__file__).parents[2]
ID = "sandbox:BTC-USDT"
TODAY = dt.datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
DAYS = 3


def neighbours() -> int:
    """A free port whose next one is free as well."""
    while True:
        port = free_port()
        with socket.socket() as neighbour, contextlib.suppress(OSError):
            neighbour.bind(("127.0.0.1", port + 1))
            return port


def fill(stores: Stores) -> None:
    """Days of one instrument's bars, as the chain leaves them."""
    stores.ledger.register([(Instrument.parse(ID), "crypto")])
    for n in range(DAYS):
        date = (TODAY - (n + 1) * DAY).date()
        known_at = Interval.day(date).end
        bars = day_of_bars(date, instrument=ID, source="sandbox", known_at=known_at)
        for dataset, frame, inputs in (
            (CLEANED_BARS, bars, {}),
            (RESAMPLED_BARS, resample(bars, known_at), {"cleaned_bars": "sha"}),
        ):
            stores.lake.write(stores.lake.path(dataset, ID, date), frame)
            evidence = {"inputs": inputs}
            stores.ledger.record(
                [PartitionRecord(dataset.name, ID, date, "ok", frame.height, sha256="sha", evidence=evidence)]
            )


@pytest.fixture(scope="module")
def platform(tmp_path_factory, module_database_url, module_redis_url):
    """The API's address; the gateway is at the next port. Dagster is a script that does what it is asked."""
    migrate(module_database_url)
    home, port = tmp_path_factory.mktemp("home"), neighbours()
    with scripted_dagster(Doing(Ledger(module_database_url), instrument=ID)) as dagster:
        stores = stores_of(home, module_database_url, module_redis_url, dagster_port=dagster.port)
        fill(stores)
        with (
            served(stores, port=port) as api,
            gateway_process(home, module_redis_url, module_database_url, port + 1),
        ):
            yield str(api.client.base_url)


def run(example: str, url: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    argv = [sys.executable, f"examples/{example}.py", url]
    done = subprocess.run(argv, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    ("example", "said"),
    [
        ("last_prices", ID),
        ("year_of_bars", f"{DAYS * 1_440:,} bars of a minute"),
        ("backtest", "as known an hour after: 192 bars"),
        ("replay_strategy", "1440 bars"),
        ("export_bars", "1,440 rows"),
        ("price_alert", "fires when the price crosses"),
        ("signals", "more than one ATR above its average"),
        ("data_quality", "'status': 'ok'"),
        ("load_history", "partitions made"),
        ("split_adjusted", "split"),
    ],
)
def test_an_example(platform, example, said):
    assert said in run(example, platform)


def test_market_now(platform, module_redis_url):
    now_ns = time.time_ns()
    with redis.Redis.from_url(module_redis_url) as client:
        client.hset(f"md:latest:{ID}", mapping={"bid": 101, "bid_size": 1, "ask": 102, "ask_size": 3})
        client.set(f"md:latest-book:{ID}", encode([Book(ID, now_ns, now_ns, [(101.0, 1.0)], [(102.0, 3.0)], 7)]))
    assert "101.0" in run("market_now", platform)


def test_every_call_of_the_client_has_an_example():
    shown = "\n".join(path.read_text() for path in (ROOT / "examples").iterdir() if path.is_file())
    about_the_client = {"close", "run", "open", "shaped", "pages", "live_server"}
    calls = {name for name in dir(MarketData) if not name.startswith("_")} - about_the_client
    assert {name for name in calls if f".{name}(" not in shown} == set()


def test_live_bars(platform, request):
    async def say() -> None:
        publisher = Publisher(request.getfixturevalue("module_redis_url"))
        minute_ns = 60 * 10**9
        now = time.time_ns() // minute_ns * minute_ns
        for n in range(90):
            price = 100.0 + n % 40
            opened = now - (90 - n) * minute_ns // 2
            bar = Bar(ID, "1m", opened, opened + minute_ns, price, price, price, price, 1.0, price, 1, 1.0,
                      price, True, "trades", 0, time.time_ns())  # fmt: skip
            await publisher.say(bar, trade(n))
        await publisher.client.aclose()

    asyncio.run(say())
    assert "long" in run("live_bars", platform)


def test_the_notebook(platform, monkeypatch):
    monkeypatch.setenv("MDP_URL", platform)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    notebook = nbformat.read(ROOT / "examples" / "first_look.ipynb", as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells)
    NotebookClient(notebook, timeout=120).execute()
    assert notebook.cells[2].outputs
