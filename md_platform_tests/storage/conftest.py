"""The live store's database on both kinds of server."""

import itertools
import os
from collections.abc import Iterator

import psycopg
import pytest

from md_platform.storage.live_store import LiveStore
from md_platform.storage.migrate import migrate

_numbers = itertools.count(1)


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


@pytest.fixture(params=["plain", "timescale"])
def live_url(request: pytest.FixtureRequest) -> str:
    """A migrated database for one test: first a plain PostgreSQL, then a TimescaleDB."""
    url = request.getfixturevalue("database_url" if request.param == "plain" else "timescale_url")
    migrate(url)
    return url


@pytest.fixture
def live(live_url: str) -> Iterator[LiveStore]:
    with LiveStore(live_url) as store:
        yield store
