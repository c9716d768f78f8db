"""The live store's database on both kinds of server."""

from collections.abc import Iterator

import pytest

from md_platform.storage.live_store import LiveStore
from md_platform.storage.migrate import migrate


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
