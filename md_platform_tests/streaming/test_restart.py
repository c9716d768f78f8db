"""A process that is killed and started again goes on with the day's bars as if it had never stopped: real processes."""

import contextlib
import datetime as dt
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import redis

from md_platform.domain.events import Bar, DayStatistics
from md_platform.domain.intervals import UTC
from md_platform.domain.wire import decode
from md_platform.embedded.ports import free_port
from md_platform.storage.migrate import migrate
from md_platform_tests.sandbox_server import running_sandbox

ETH = "sandbox:ETH-USDT"
TIMES_AS_BUSY = 3  # no minute without a trade, also at night and on week-ends
REPOSITORY = Path(__file__).parents[2]


@contextlib.contextmanager
def process(environment: dict[str, str], log: Path, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as out:
        started = subprocess.Popen(
            [sys.executable, "-m", "streaming", *arguments], env=environment, cwd=log.parent, stdout=out, stderr=out
        )
    try:
        yield started
    finally:
        started.kill()
        started.wait()


def published(client: redis.Redis, timeframe: str, after: bytes = b"-") -> list[Bar]:
    entries = client.xrange(f"md:log:bars:{ETH}:{timeframe}", after)
    return [event for _, fields in entries for event in decode(fields[b"m"]) if isinstance(event, Bar)]


def until_published(client: redis.Redis, timeframe: str, since_ns: int, *, is_closed: bool, timeout_s: float) -> Bar:
    deadline = time.monotonic() + timeout_s
    while True:
        found = [bar for bar in published(client, timeframe) if bar.known_at >= since_ns and bar.is_closed is is_closed]
        if found:
            return found[-1]
        assert time.monotonic() < deadline, f"no {timeframe} bar within {timeout_s} s"
        time.sleep(0.1)


def until_told(client: redis.Redis, since_ns: int, timeout_s: float) -> DayStatistics:
    """The first statistics of a minute that ended since."""
    deadline = time.monotonic() + timeout_s
    while True:
        for _, fields in client.xrange(f"md:log:day:{ETH}"):
            for event in decode(fields[b"m"]):
                if isinstance(event, DayStatistics) and event.at >= since_ns:
                    return event
        assert time.monotonic() < deadline, f"no statistics within {timeout_s} s"
        time.sleep(0.1)


def happened(http: str, start: dt.datetime) -> list[tuple[int, float]]:
    """Fills and size of each trade since `start`."""
    found: list[dict[str, object]] = []
    query: dict[str, object] = {"startTime": int(start.timestamp() * 1000)}
    while True:
        page = httpx.get(
            f"{http}/binance/api/v3/aggTrades", params={"symbol": "ETHUSDT", "limit": 1000, **query}
        ).json()
        found += page
        if len(page) < 1000:
            return [(each["l"] - each["f"] + 1, float(each["q"])) for each in found]  # type: ignore[operator, arg-type]
        query = {"fromId": page[-1]["a"] + 1}


@pytest.mark.parametrize("with_database", [True, False])
def test_bars_of_the_day_go_on_after_a_kill(
    database_url: str, redis_url: str, tmp_path: Path, *, with_database: bool
) -> None:
    migrate(database_url)
    with (
        running_sandbox(activity=TIMES_AS_BUSY) as venue,
        contextlib.ExitStack() as running,
        redis.Redis.from_url(redis_url) as client,
    ):
        environment = {
            **os.environ,
            "PYTHONPATH": str(REPOSITORY),
            "MDP_HOME": str(tmp_path / "home"),
            "MDP_LAKE_URI": str(tmp_path / "lake"),
            "MDP_REDIS_URL": redis_url,
            "MDP_STREAM_PORT": str(free_port()),
            "MDP_VENUE_SANDBOX_REST_URL": venue.http + "/binance",
            "MDP_VENUE_SANDBOX_WS_URL": venue.ws + "/binance/stream",
        }
        if with_database:
            environment["MDP_DATABASE_URL"] = database_url
            running.enter_context(process(environment, tmp_path / "writer.log", "write"))
        with process(environment, tmp_path / "first.log", "--instruments", ETH) as first:
            until_published(client, "1d", 0, is_closed=False, timeout_s=120)
            first.send_signal(signal.SIGKILL)
            first.wait()
        killed_ns = time.time_ns()
        with process(environment, tmp_path / "second.log", "--instruments", ETH):
            day = until_published(client, "1d", killed_ns, is_closed=False, timeout_s=90)
            midnight = dt.datetime.fromtimestamp(day.open_time / 1e9, UTC)
            counted, size = 0, 0.0
            for fills, each in happened(venue.http, midnight):
                if counted == day.trade_count:
                    break
                counted, size = counted + fills, size + each
            assert counted == day.trade_count
            assert day.volume == pytest.approx(size, rel=1e-9)
            statistics = until_told(client, killed_ns, 90)
        minutes = {bar.open_time: bar for bar in published(client, "1m") if bar.is_closed}
        volume = sum(bar.volume for at, bar in minutes.items() if at < statistics.at)
        assert statistics.volume == pytest.approx(volume, rel=1e-9)
        if with_database:  # else nobody remembers what was said
            keys = [(bar.open_time, bar.revision) for bar in published(client, "1m") if bar.is_closed]
            assert len(keys) - len(set(keys)) <= 2
