"""An API on a fresh database and Redis, open to everybody."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from md_platform.storage.migrate import migrate
from md_platform_tests.api_server import Served, served, stores_of


@pytest.fixture
def api(tmp_path: Path, database_url: str, redis_url: str) -> Iterator[Served]:
    migrate(database_url)
    with served(stores_of(tmp_path, database_url, redis_url)) as running:
        yield running
