"""A client of a real API whose stores hold what `filled` puts there, open to everybody."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from md_platform.client import MarketData
from md_platform.storage.migrate import migrate
from md_platform_tests.api_server import served, stores_of
from md_platform_tests.client.filled import fill


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def server(home, module_database_url, module_redis_url) -> Iterator[MarketData]:
    migrate(module_database_url)
    stores = stores_of(home, module_database_url, module_redis_url)
    fill(stores)
    with served(stores) as running, MarketData(str(running.client.base_url)) as client:
        yield client
