"""A standby takes over a shard: real processes, database, Redis and venue; the venue's own history judges."""

import itertools
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import httpx
import psycopg
import pytest
import redis

from md_platform.domain.events import Trade
from md_platform.domain.wire import decode
from md_platform.sandbox.server import Endpoints
from md_platform.storage.migrate import migrate
from md_platform.storage.spool import Spool
from md_platform_tests.sandbox_server import running_sandbox
from streaming.assignment import index_of

INSTRUMENTS = ("sandbox:BTC-USDT", "sandbox:ETH-USDT", "sandbox:LINK-USDT")
REPOSITORY = Path(__file__).parents[2]
TIMES_AS_BUSY = 50  # each trades every second, also at night and on week-ends
PATIENCE_S = 90  # with three processes that start on a busy machine
ports = itertools.count(18_420 + os.getpid() % 40 * 20)


class Machines:
    """Processes of the platform by home: two homes are two machines that cannot read each other's disks."""

    def __init__(self, venue: Endpoints, database_url: str, redis_url: str, folder: Path) -> None:
        self.venue = venue
        self.database_url = database_url
        self.folder = folder
        self.redis = redis.Redis.from_url(redis_url)
        self.environment = {
            **os.environ,
            "PYTHONPATH": str(REPOSITORY),
            "MDP_DATABASE_URL": database_url,
            "MDP_REDIS_URL": redis_url,
            "MDP_INSTRUMENTS": ",".join(INSTRUMENTS),
            "MDP_LAKE_URI": str(folder / "lake"),
            "MDP_VENUE_SANDBOX_REST_URL": venue.http + "/binance",
            "MDP_VENUE_SANDBOX_WS_URL": venue.ws + "/binance/stream",
        }
        self.processes: list[subprocess.Popen[bytes]] = []

    def start(self, home: str, *arguments: str) -> subprocess.Popen[bytes]:
        if arguments != ("write",):
            arguments = (*arguments, "--port", str(next(ports)))
        with (self.folder / f"{len(self.processes)}.log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "streaming", *arguments],
                env={**self.environment, "MDP_HOME": str(self.folder / home)},
                cwd=self.folder,
                stdout=log,
                stderr=log,
            )
        self.processes.append(process)
        return process

    def end(self) -> None:
        for process in self.processes:
            if process.poll() is None:
                process.kill()
                process.wait()

    def ids_published(self, instrument: str) -> list[int]:
        entries = self.redis.xrange(f"md:log:trades:{instrument}")
        events = [event for _, fields in entries for event in decode(fields[b"m"])]
        return [event.trade_id for event in events if isinstance(event, Trade)]

    def ids_stored(self, instrument: str) -> list[int]:
        query = "SELECT trade_id FROM md.trades JOIN md.instruments USING (instrument_id) WHERE id = %s"
        with psycopg.connect(self.database_url) as connection:
            return [id_ for (id_,) in connection.execute(query, (instrument,))]

    def ids_happened(self, instrument: str, first: int, last: int) -> list[int]:
        """What the venue's history has from trade `first` to `last`."""
        found: list[int] = []
        while not found or found[-1] < last:
            query = {"symbol": instrument.split(":")[1].replace("-", ""), "fromId": found[-1] + 1 if found else first}
            answer = httpx.get(f"{self.venue.http}/binance/api/v3/aggTrades", params={**query, "limit": 1000})
            found += [trade["a"] for trade in answer.raise_for_status().json()]
        return [id_ for id_ in found if id_ <= last]

    def newest(self, instrument: str) -> bytes:
        entries = self.redis.xrevrange(f"md:log:quotes:{instrument}", count=1)
        return entries[0][0] if entries else b""

    def until_each_trades(self) -> dict[str, int]:
        """The newest trade of every instrument, as soon as there is one that is newer than at the call."""
        before = {each: max(self.ids_published(each), default=0) for each in INSTRUMENTS}
        now, deadline = before, time.monotonic() + PATIENCE_S
        while any(now[each] == before[each] for each in INSTRUMENTS):
            assert time.monotonic() < deadline, self.logs()
            time.sleep(0.2)
            now = {each: max(self.ids_published(each), default=0) for each in INSTRUMENTS}
        return now

    def until_each_publishes(self, timeout_s: float = PATIENCE_S) -> float:
        """Seconds until there is a new quote of every instrument."""
        began, before = time.monotonic(), {each: self.newest(each) for each in INSTRUMENTS}
        while any(self.newest(each) == before[each] for each in INSTRUMENTS):
            assert time.monotonic() - began < timeout_s, self.logs()
            time.sleep(0.02)
        return time.monotonic() - began

    def until_told(self, process: int, what: str) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while what not in (self.folder / f"{process}.log").read_text():
            assert time.monotonic() < deadline, self.logs()
            time.sleep(0.05)

    def logs(self) -> str:
        return "\n".join(f"== {path.name}\n{path.read_text()[-3_000:]}" for path in sorted(self.folder.glob("*.log")))

    def judge(self, since: dict[str, int]) -> None:
        """Everything that happened since is stored once, and published once, what only history had among it."""
        counted = {}
        upto = self.until_each_trades()
        deadline = time.monotonic() + PATIENCE_S
        for instrument in INSTRUMENTS:
            happened = set(self.ids_happened(instrument, since[instrument], upto[instrument]))
            while True:
                stored, published = self.ids_stored(instrument), self.ids_published(instrument)
                missing = (happened - set(stored)) | (happened - set(published))
                if not missing:
                    break
                assert time.monotonic() < deadline, f"{instrument}: {sorted(missing)} are missing\n{self.logs()}"
                time.sleep(0.2)
            assert [id_ for id_, times in Counter(stored).items() if times > 1] == []
            assert [id_ for id_, times in Counter(published).items() if times > 1] == []
            counted[instrument] = len(happened)
        print(f"each once, stored and published: {counted}")
        assert sum(counted.values()) > 30


@pytest.fixture
def machines(database_url: str, redis_url: str, tmp_path: Path) -> Iterator[Machines]:
    migrate(database_url)
    with running_sandbox(activity=TIMES_AS_BUSY) as venue:
        found = Machines(venue, database_url, redis_url, tmp_path)
        try:
            yield found
        finally:
            found.end()


def serving(machines: Machines, standby_home: str) -> tuple[subprocess.Popen[bytes], dict[str, int]]:
    """A shard that is served, with a standby beside it; and the first trade of each instrument that must be there."""
    active = machines.start("one", "--shard", "0/1")
    machines.start("one", "write")
    machines.until_each_publishes()
    machines.start(standby_home, "--standby", "--shards", "1")
    if standby_home != "one":
        machines.start(standby_home, "write")
    machines.until_told(2, "standing by")
    return active, machines.until_each_trades()


@pytest.mark.parametrize("standby_home", ["one", "two"])
def test_a_standby_serves_within_ten_seconds_of_a_kill_and_nothing_is_lost_or_twice(
    standby_home: str, machines: Machines
) -> None:
    active, since = serving(machines, standby_home)
    if standby_home == "two":  # the whole machine is gone, with what its spool held
        machines.processes[1].kill()
    active.kill()
    active.wait()
    took_s = machines.until_each_publishes()
    print(f"served {took_s:.2f} s after the kill")
    assert took_s < 10
    machines.judge(since)


def test_a_process_that_was_stopped_ends_itself_and_publishes_nothing_more(machines: Machines) -> None:
    active, since = serving(machines, "one")
    position = f"md:spool:{Spool(machines.folder / 'one' / 'stream' / 'shard-0' / 'spool.db').id}"
    active.send_signal(signal.SIGSTOP)
    took_s = machines.until_each_publishes()
    assert took_s < 10
    time.sleep(20 - took_s)
    token = machines.redis.hget("md:shard:0/1", "token")
    reached = machines.redis.get(position)
    active.send_signal(signal.SIGCONT)
    began = time.monotonic()
    while active.poll() is None:
        assert time.monotonic() - began < 10, machines.logs()
        time.sleep(0.05)
    assert active.returncode != 0
    print(f"taken over after {took_s:.2f} s; the old one ended {time.monotonic() - began:.2f} s after it woke")
    assert "another process serves shard 0/1" in (machines.folder / "0.log").read_text()
    assert machines.redis.get(position) == reached
    assert machines.redis.hget("md:shard:0/1", "token") == token
    machines.until_each_publishes()
    machines.judge(since)


def test_a_changed_number_of_shards_loses_nothing(machines: Machines) -> None:
    assert [index_of(each, 2) for each in INSTRUMENTS] != [index_of(each, 3) for each in INSTRUMENTS]
    machines.start("one", "write")
    two = [machines.start("one", "--shard", f"{index}/2") for index in range(2)]
    machines.until_each_publishes()
    since = machines.until_each_trades()
    for process in two:
        process.send_signal(signal.SIGTERM)
    assert [process.wait(PATIENCE_S) for process in two] == [0, 0]
    for index in range(3):
        machines.start("one", "--shard", f"{index}/3")
    machines.judge(since)
