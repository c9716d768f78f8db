"""Redis, then the database, killed while clients ask: each answer is whole, says what it lacks, or is a typed error."""

import datetime as dt
import random
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import httpx
import psycopg
from redis import Redis

from md_platform.access.keys import Keys
from md_platform.api.config import ApiConfig
from md_platform.api.metrics import IN_FLIGHT
from md_platform.catalog.ledger import Ledger
from md_platform.domain.instruments import Instrument
from md_platform.domain.wire import encode
from md_platform.embedded import postgres_running, valkey_running
from md_platform.storage.live_store import LiveStore
from md_platform.storage.migrate import migrate
from md_platform_tests.api.test_stores_away import killable
from md_platform_tests.api_server import served, stores_of
from md_platform_tests.live_rows import BTC, MINUTE, bar
from md_platform_tests.waiting import eventually

CLIENTS = 8
LOADED_S = 1.5
STORED, PUBLISHED = 10, 1
SLOWEST_S = 12.0
"""What waits for a database that comes back may wait for the pool (5 s) and once more."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A request under load and what came of it."""

    path: str
    began: float
    seconds: float
    answer: httpx.Response

    @property
    def is_degraded(self) -> bool:
        return "x-degraded" in self.answer.headers


def fill(database_url: str, redis_url: str) -> tuple[str, list[str]]:
    """Ten minutes of yesterday are stored, the eleventh is published only. Where the bars are, and all other paths."""
    start = dt.datetime.now(dt.UTC).replace(hour=0, minute=0, second=0, microsecond=0) - dt.timedelta(days=1)
    start_s = int(start.timestamp())
    opened = [(start_s + 60 * n) * 10**9 for n in range(STORED + PUBLISHED)]
    bars = [bar(n, open_time=at, close_time=at + MINUTE, known_at=at + MINUTE) for n, at in enumerate(opened)]
    Ledger(database_url).register([(Instrument.parse(BTC, native="BTCUSDT"), "crypto")])
    with LiveStore(database_url) as store:
        store.write(bars[:STORED], uuid.uuid4(), 1)
    with Redis.from_url(redis_url) as client:
        client.xadd(f"md:log:bars:{BTC}:1m", {"m": encode(bars[STORED:])})
        fields = [
            "price",
            "size",
            "open_24h",
            "high_24h",
            "low_24h",
            "volume_24h",
            "quote_volume_24h",
            "change_24h",
            "whole_24h",
        ]
        now_ns = time.time_ns()
        client.hset(f"md:latest:{BTC}", mapping=dict.fromkeys(fields, 1.0) | {"trade_ts": now_ns, "ts_24h": now_ns})
    span = f"start={start:%Y-%m-%d}&end={start_s + 3_600}"
    return f"/api/v1/bars/{BTC}?{span}", [
        f"/api/v1/latest/{BTC}",
        f"/api/v1/trades/{BTC}?{span}",
        f"/api/v1/stats/{BTC}?timeframe=1m&{span}",
        f"/api/v1/indicators/{BTC}/ema?params=3&{span}",
        f"/api/v1/udf/history?symbol={BTC}&resolution=1&from={start_s}&to={start_s + 3_600}",
        "/api/v1/instruments",
    ]


def asking(client: httpx.Client, paths: list[str], seed: int, stop: threading.Event) -> list[Asked]:
    """One after the other, any of `paths`, until told to stop."""
    found, choice = [], random.Random(seed)
    while not stop.is_set():
        path, began = choice.choice(paths), time.monotonic()
        answer = client.get(path)
        found.append(Asked(path, began, time.monotonic() - began, answer))
    return found


def outcome(each: Asked) -> str:
    """Of which kind an answer is; an AssertionError where it is of none that may be."""
    answer = each.answer
    if answer.status_code == 503:
        problem = answer.json()
        assert answer.headers["content-type"] == "application/problem+json"
        assert (problem["type"], problem["retryable"]) == ("urn:md-platform:storage-unavailable", True), problem
        assert "retry-after" in answer.headers
        return "refused"
    assert answer.status_code == 200, f"{each.path}: {answer.text}"
    if each.path.startswith("/api/v1/bars"):
        lacks = PUBLISHED if each.is_degraded else 0
        assert len(answer.json()["data"]["open_time"]) == STORED + PUBLISHED - lacks, answer.text
    return "degraded" if each.is_degraded else "whole"


Span = tuple[float, float]


def loaded(
    url: str, key: str, paths: list[str], toggles: dict[str, Callable[[], None]]
) -> tuple[list[Asked], dict[str, Span]]:
    """What clients asked while each store was killed and came back; and when it was how."""
    spans, stop = {}, threading.Event()
    options = {"base_url": url, "headers": {"authorization": f"Bearer {key}"}, "timeout": 30}
    with (
        ThreadPoolExecutor(CLIENTS) as pool,
        httpx.Client(**options, limits=httpx.Limits(max_connections=2 * CLIENTS)) as client,
    ):

        def is_whole() -> bool:
            return all(outcome(Asked(path, 0, 0, client.get(path))) == "whole" for path in paths)

        def for_a_while(name: str) -> None:
            began = time.monotonic()
            time.sleep(LOADED_S)
            spans[name] = (began, time.monotonic())

        loads = [pool.submit(asking, client, paths, seed, stop) for seed in range(CLIENTS)]
        try:
            eventually(is_whole, 20)
            for_a_while("before")
            for name, toggle in toggles.items():
                toggle()
                for_a_while(f"without {name}")
                toggle()
                eventually(is_whole, 20)
                for_a_while(f"with {name} again")
        finally:
            stop.set()
        return [each for load in loads for each in load.result()], spans


def test_under_load_every_answer_is_whole_or_says_what_it_lacks(open_folder: Path, tmp_path: Path):
    with (
        killable(lambda home: postgres_running(home, durable=True), open_folder / "loaded-postgres") as (
            database,
            toggle_database,
        ),
        killable(valkey_running, open_folder / "loaded-redis") as (redis, toggle_redis),
    ):
        migrate(database)
        bars, others = fill(database, redis)
        _, key = Keys(database).create("bot", "reader", tier="enterprise")
        with served(stores_of(tmp_path, database, redis, is_open=False), ApiConfig(is_open=False)) as api:
            toggles = {"redis": toggle_redis, "database": toggle_database}
            asked, spans = loaded(str(api.client.base_url), key, [bars, *others], toggles)
            eventually(lambda: IN_FLIGHT._value.get() == 0, 20)
            with psycopg.connect(database) as connection:
                busy = connection.execute("SELECT count(*) FROM pg_stat_activity WHERE state <> 'idle'").fetchone()
            assert busy == (1,), "only this one asks"
    found = {
        name: Counter(outcome(each) for each in asked if start <= each.began and each.began + each.seconds <= end)
        for name, (start, end) in spans.items()
    }
    slowest_s = max(each.seconds for each in asked)
    print(f"{len(asked):,} requests of {CLIENTS} clients, the slowest {slowest_s:.2f} s: {found}")
    assert set(map(outcome, asked)) == {"whole", "degraded", "refused"}
    assert slowest_s < SLOWEST_S
    for name, outcomes in found.items():
        if name.startswith("without"):
            assert outcomes["degraded" if "redis" in name else "refused"] > 0, found
        else:
            assert set(outcomes) == {"whole"}, found
