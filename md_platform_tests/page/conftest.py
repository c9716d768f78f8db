"""A platform with data, and a browser that looks at it."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from md_platform.embedded import postgres_running, valkey_running
from md_platform_tests.page.chromium import browser
from md_platform_tests.page.looking import Looking
from md_platform_tests.page.page_platform import Platform, running

__all__ = ["browser"]

DAYS = 30


@pytest.fixture(scope="package")
def platform(open_folder: Path) -> Iterator[Platform]:
    """A platform for all tests here, with servers of its own, as it publishes meanwhile.

    Tests change nothing in it that another one looks at.
    """
    folder = Path(tempfile.mkdtemp(prefix="page-", dir=open_folder))
    with (
        valkey_running(folder / "redis") as redis_url,
        postgres_running(folder / "postgres", durable=False) as database_url,
        running(folder, database_url, redis_url, DAYS) as platform,
    ):
        yield platform


@pytest.fixture
def look(browser: Browser, platform: Platform) -> Iterator[Looking]:
    """A fresh window on the page; the test fails where the page said an error or asked another origin."""
    looking = Looking(browser, platform.url, platform.gateway_port)
    yield looking
    looking.close()
    assert looking.complaints == []
    assert looking.strangers == []
