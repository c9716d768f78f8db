"""Redis and the database killed under a running API, and back: typed answers meanwhile, recovery by itself."""

import contextlib
import datetime as dt
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from fastapi import APIRouter

from md_platform.access import authenticator
from md_platform.access.keys import Keys
from md_platform.api import app as assembly
from md_platform.api.config import ApiConfig
from md_platform.api.dependencies import StoresOf, reader
from md_platform.embedded import postgres_running, valkey_running
from md_platform.embedded.home import Home
from md_platform.embedded.processes import left_over
from md_platform.storage.migrate import migrate
from md_platform_tests.api_server import served, stores_of
from md_platform_tests.waiting import eventually

router = APIRouter(dependencies=[reader()])


@router.get("/rows")
def rows(stores: StoresOf) -> int:
    return stores.ledger.partitions("raw_bars", start=dt.date(2024, 1, 1)).height


@router.get("/latest")
async def latest(stores: StoresOf) -> bool:
    return bool(await stores.redis.hgetall("md:latest:x"))


@contextlib.contextmanager
def killable(
    running: Callable[[Path], contextlib.AbstractContextManager[str]], home: Path
) -> Iterator[tuple[str, Callable]]:
    """A server's address, and what kills it with -9 and, called again, starts it anew at the same address."""
    stack = contextlib.ExitStack()
    url = stack.enter_context(running(home))

    def toggle() -> None:
        nonlocal stack
        if found := left_over(Home.at(home)):
            for _, process in found.values():
                process.kill()
                process.wait(10)
            stack.close()
        else:
            assert stack.enter_context(running(home)) == url

    try:
        yield url, toggle
    finally:
        stack.close()


def test_killed_and_back(open_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(assembly, "ROUTERS", (router,))
    monkeypatch.setattr(authenticator, "KEPT_S", 1.0)
    monkeypatch.setattr(authenticator, "KEPT_WITHOUT_REDIS_S", 1.0)
    with (
        killable(lambda home: postgres_running(home, durable=True), open_folder / "killed-postgres") as (
            database,
            toggle_database,
        ),
        killable(valkey_running, open_folder / "killed-redis") as (redis, toggle_redis),
    ):
        migrate(database)
        _, text = Keys(database).create("bot", "reader", tier="enterprise")
        with served(stores_of(tmp_path, database, redis, is_open=False), ApiConfig(is_open=False)) as api:

            def status(path: str) -> int:
                began = time.monotonic()
                answer = api.client.get(path, headers={"authorization": f"Bearer {text}"})
                assert time.monotonic() - began < 8
                assert answer.status_code < 500 or answer.headers["content-type"].startswith("application/")
                if answer.status_code == 503 and path.startswith("/api"):
                    assert answer.json()["type"] == "urn:md-platform:storage-unavailable"
                    assert answer.json()["retryable"]
                    assert "127.0.0.1" not in answer.text
                return answer.status_code

            assert (status("/api/v1/rows"), status("/api/v1/latest"), status("/readyz")) == (200, 200, 200)

            toggle_redis()
            assert (status("/api/v1/rows"), status("/api/v1/latest"), status("/readyz")) == (200, 503, 200)
            assert api.client.get("/readyz").json()["dependencies"]["redis"]["ok"] is False
            toggle_redis()
            eventually(lambda: status("/api/v1/latest") == 200, 20)

            toggle_database()
            assert status("/api/v1/rows") == 503
            assert status("/readyz") == 503
            eventually(lambda: status("/api/v1/latest") == 503, 20)  # who it is cannot be asked any more
            toggle_database()
            eventually(lambda: status("/api/v1/rows") == 200, 20)
            assert status("/api/v1/latest") == 200
        with psycopg.connect(database) as connection:
            (statuses,) = connection.execute(
                "SELECT array_agg(DISTINCT status ORDER BY status) FROM md.audit_log"
            ).fetchone() or ((),)
        assert statuses == [200, 503]
