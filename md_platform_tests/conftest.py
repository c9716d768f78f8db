"""What every test may ask for: a fresh database on a real PostgreSQL, and a real Redis-protocol server.

One server of each kind per test process, started when first asked for, so that tests run side by side under xdist.
"""

import itertools
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import redis
from xdist.scheduler import LoadFileScheduling

from md_platform.embedded import postgres_running, valkey_running

HERE = Path(__file__).parent
_numbers = itertools.count(1)


PLATFORMS = ("platform", "faults")
"""Packages that start whole platforms: one worker has them all, as two platforms at once are too much for two cores."""

LONGEST_FIRST = (*PLATFORMS, "page", "embedded", "api", "assets", "streaming", "client", "gateway")
"""Packages whose tests wait for processes; what computes alone fills in behind them."""


class HeaviestFirst(LoadFileScheduling):
    """A file of tests stays on one worker of xdist, and so do all PLATFORMS, and the page with its one platform.

    xdist's own groups do nothing under pytest 9.2 (pytest-xdist issue 1386).
    """

    def _split_scope(self, nodeid: str) -> str:
        package = nodeid.removeprefix(f"{HERE.name}/").partition("/")[0]
        if package in PLATFORMS:
            return "platforms"
        return package if package == "page" else super()._split_scope(nodeid)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> HeaviestFirst:
    config.option.loadscopereorder = False  # by the number of tests, which says nothing of the time they take
    return HeaviestFirst(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin what takes longest, so that no worker is left alone with it at the end."""
    packages = {name: place for place, name in enumerate(LONGEST_FIRST)}
    items.sort(key=lambda item: packages.get(item.path.relative_to(HERE).parts[0], len(packages)))


@pytest.fixture(scope="session")
def open_folder() -> Iterator[Path]:
    """A folder that an unprivileged user may pass through, as pytest's own temporary ones may not be."""
    folder = Path(tempfile.mkdtemp(prefix="mdp-tests-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres_url(open_folder: Path) -> Iterator[str]:
    """The server's own database: ask for `database_url` instead, unless you create databases."""
    with postgres_running(open_folder / "postgres", durable=False) as url:
        yield url


@pytest.fixture
def database_url(postgres_url: str) -> Iterator[str]:
    """An empty database for one test."""
    yield from _fresh(postgres_url)


@pytest.fixture(scope="module")
def module_database_url(postgres_url: str) -> Iterator[str]:
    """An empty database for one test module."""
    yield from _fresh(postgres_url)


def _fresh(server_url: str) -> Iterator[str]:
    name = f"test_{next(_numbers)}"
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    yield server_url.rpartition("/")[0] + f"/{name}"
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def timescale_url() -> Iterator[str]:
    """An empty database for one test on the TimescaleDB that MDP_TEST_TIMESCALE_URL (a superuser's) names."""
    server = os.environ.get("MDP_TEST_TIMESCALE_URL")
    if not server:
        pytest.skip("MDP_TEST_TIMESCALE_URL names no TimescaleDB")
    name = f"test_{os.getpid()}_{next(_numbers)}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    yield server.rpartition("/")[0] + f"/{name}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="session")
def _redis_server_url(open_folder: Path) -> Iterator[str]:
    with valkey_running(open_folder / "redis") as url:
        yield url


@pytest.fixture
def redis_url(_redis_server_url: str) -> str:
    """A Redis-protocol server, empty when the test begins."""
    return _emptied(_redis_server_url)


@pytest.fixture(scope="module")
def module_redis_url(_redis_server_url: str) -> str:
    """A Redis-protocol server, empty when the test module begins."""
    return _emptied(_redis_server_url)


def _emptied(url: str) -> str:
    with redis.Redis.from_url(url) as client:
        client.flushall()
    return url
