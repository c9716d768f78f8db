"""History, then live, of hundreds of subscriptions while a venue misbehaves: the venue's own history judges.

Real processes: the live process and its writer with the sandbox, PostgreSQL, Redis, and two gateways on one port.
"""

import asyncio
import itertools
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import redis

from md_platform.sandbox.server import Endpoints
from md_platform.storage.migrate import migrate
from md_platform_tests.gateway.speaking import Client, connected
from md_platform_tests.sandbox_server import running_sandbox

INSTRUMENTS = ("sandbox:BTC-USDT", "sandbox:ETH-USDT", "sandbox:SOL-USDT")
REPOSITORY = Path(__file__).parents[2]
TIMES_AS_BUSY = 40
"""So that each instrument trades more than once a second in the quietest hour of the week."""
SUBSCRIPTIONS = 200
SECONDS = 45
_SETTLES_S = 20
ports = itertools.count(19_220 + os.getpid() % 40 * 20)


class Platform:
    """Its processes, and the venue."""

    def __init__(self, venue: Endpoints, database_url: str, redis_url: str, folder: Path) -> None:
        self.venue = venue
        self.folder = folder
        self.redis = redis.Redis.from_url(redis_url)
        self.gateway_port = next(ports)
        self.environment = {
            **os.environ,
            "PYTHONPATH": str(REPOSITORY),
            "MDP_HOME": str(folder / "home"),
            "MDP_DATABASE_URL": database_url,
            "MDP_REDIS_URL": redis_url,
            "MDP_INSTRUMENTS": ",".join(INSTRUMENTS),
            "MDP_GATEWAY_PORT": str(self.gateway_port),
            "MDP_VENUE_SANDBOX_REST_URL": venue.http + "/binance",
            "MDP_VENUE_SANDBOX_WS_URL": venue.ws + "/binance/stream",
        }
        self.processes: list[subprocess.Popen[bytes]] = []

    def start(self, module: str, *arguments: str) -> subprocess.Popen[bytes]:
        with (self.folder / f"{len(self.processes)}.log").open("wb") as log:
            argv = [sys.executable, "-m", module, *arguments]
            process = subprocess.Popen(argv, env=self.environment, cwd=self.folder, stdout=log, stderr=log)
        self.processes.append(process)
        return process

    def until(self, holds, what: str) -> None:
        deadline = time.monotonic() + 60
        while not holds():
            assert time.monotonic() < deadline, f"{what}\n{self.logs()}"
            time.sleep(0.1)

    def logs(self) -> str:
        return "\n".join(f"== {path.name}\n{path.read_text()[-2_000:]}" for path in sorted(self.folder.glob("*.log")))

    def answers(self) -> bool:
        try:
            return httpx.get(f"http://127.0.0.1:{self.gateway_port}/readyz", timeout=5).is_success
        except httpx.HTTPError:
            return False

    def happened(self, instrument: str, first: int, last: int) -> list[int]:
        """What the venue's history has from trade `first` to `last`."""
        found: list[int] = []
        while not found or found[-1] < last:
            query = {"symbol": instrument.split(":")[1].replace("-", ""), "fromId": found[-1] + 1 if found else first}
            answer = httpx.get(f"{self.venue.http}/binance/api/v3/aggTrades", params={**query, "limit": 1000})
            found += [trade["a"] for trade in answer.raise_for_status().json()]
        return [id_ for id_ in found if id_ <= last]

    def end(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait()


@pytest.fixture
def platform(database_url: str, redis_url: str, tmp_path: Path) -> Iterator[Platform]:
    migrate(database_url)
    with running_sandbox(activity=TIMES_AS_BUSY) as venue:
        found = Platform(venue, database_url, redis_url, tmp_path)
        try:
            found.start("streaming", "--port", str(next(ports)))
            found.start("streaming", "write")
            gateways = [found.start("md_platform.cli", "gateway") for _ in range(2)]
            found.until(found.answers, "no gateway answers")
            found.until(
                lambda: all(found.redis.xlen(f"md:log:trades:{each}") > 20 for each in INSTRUMENTS), "no trades"
            )
            assert all(each.poll() is None for each in gateways), found.logs()
            yield found
        finally:
            found.end()


async def subscriber(platform: Platform, number: int, since_ns: int) -> tuple[str, bool, Client]:
    """Subscribes some time later, with history by time or by count, and reads until the time is over."""
    instrument = INSTRUMENTS[number % len(INSTRUMENTS)]
    await asyncio.sleep(random.Random(number).uniform(0, SECONDS * 0.4))
    async with connected(platform.gateway_port) as client:
        past = {"since": since_ns} if number % 2 else {"last": 30 + number}
        await client.ask("subscribe", channel="trades", instruments=[instrument], **past)
        await client.next("history", timeout_s=30)
        until = since_ns / 1e9 + SECONDS
        try:
            await client.until(lambda: False, timeout_s=max(1.0, until - time.time()))
        except TimeoutError:
            return instrument, "since" in past, client
    raise AssertionError("it reads until the time is over")


def events(client: Client) -> list[list]:
    return [event for message in client.told("history", "data") for event in message["data"]]


async def misbehaving(platform: Platform) -> None:
    """The venue cuts its connections, and leaves trades out; the live process repairs it from history."""
    async with httpx.AsyncClient() as http:
        for kind in ("disconnect", "gap", "disconnect"):
            await asyncio.sleep(SECONDS / 12)
            fault = {"kind": kind, "protocol": "binance", "surface": "live", "duration_s": 0.2}
            answer = await http.post(f"{platform.venue.http}/control/faults", json=fault)
            answer.raise_for_status()


def test_two_hundred_subscriptions_miss_nothing_and_get_nothing_twice(platform: Platform) -> None:
    since_ns = time.time_ns()

    async def main() -> list[tuple[str, bool, Client]]:
        faults = asyncio.create_task(misbehaving(platform))
        found = await asyncio.gather(*(subscriber(platform, n, since_ns) for n in range(SUBSCRIPTIONS)))
        await faults
        return list(found)

    found = asyncio.run(main())
    counted = Counter[str]()
    for instrument in INSTRUMENTS:
        clients = [client for each, _, client in found if each == instrument]
        # a hole is seen after two seconds and history asked; more than once where the venue fails
        times = {event[4]: event[2] for client in clients for event in events(client)}
        last = max(id_ for id_, at_ns in times.items() if at_ns < since_ns + (SECONDS - _SETTLES_S) * 1e9)
        happened = platform.happened(instrument, min(times), last)
        assert len({client.ids[0] for each, by_time, client in found if by_time and each == instrument}) == 1
        for client in clients:
            twice = [id_ for id_, times in Counter(client.ids).items() if times > 1]
            others = sum(any(other.ids.count(id_) > 1 for id_ in twice) for other in clients)
            assert twice == [], f"{instrument}: {twice}, {others} clients had them twice\n{platform.logs()}"
            missing = set(happened[happened.index(client.ids[0]) :]) - set(client.ids)
            others = sum(not missing - set(other.ids) for other in clients)
            assert missing == set(), f"{instrument}: {missing}, which {others} others have\n{platform.logs()}"
            assert client.told("gap", "error") == []
            assert client.told("history")[-1]["whole"]
            numbers = [message["seq"] for message in client.told("data")]
            assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
            counted["trades"] += len(client.ids)
            counted["notices"] += len(client.told("notice"))
    print(f"{SUBSCRIPTIONS} subscriptions, each trade once: {dict(counted)}")
    assert counted["notices"] > 0
    assert counted["trades"] > 10 * SUBSCRIPTIONS


def test_a_live_process_that_is_killed_and_started_again_goes_on_with_the_numbers(platform: Platform) -> None:
    async def main() -> None:
        async with connected(platform.gateway_port) as client:
            await client.ask("subscribe", channel="trades", instruments=[INSTRUMENTS[0]], last=10)
            await client.next("history")
            await client.next("data", timeout_s=20)
            platform.processes[0].send_signal(signal.SIGKILL)
            platform.processes[0].wait()
            platform.start("streaming", "--port", str(next(ports)))
            before = client.ids[-1]
            await client.until(lambda: client.ids[-1] > before and client.told("notice"), timeout_s=40)
            await asyncio.sleep(8)  # history is asked when a hole has settled
            await client.until(lambda: client.told("data")[-1] is client.messages[-1], timeout_s=20)
            numbers = [message["seq"] for message in client.told("data")]
            assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
            assert len(set(client.ids)) == len(client.ids)
            assert client.told("gap") == []

    asyncio.run(main())
