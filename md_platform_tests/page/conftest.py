"""A platform with data, and a browser that looks at it."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from playwright.sync_api import Browser

from md_platform_tests.page.chromium import browser
from md_platform_tests.page.looking import Looking
from md_platform_tests.page.page_platform import Platform, running

__all__ = ["browser"]

DAYS = 30


@pytest.fixture(scope="module")
def platform(open_folder: Path, module_database_url: str, _redis_server_url: str) -> Iterator[Platform]:
    """A platform for a module's tests, which change nothing in it that another one looks at.

    It ends with the module: it publishes into the Redis that all tests of this process share.
    """
    with redis.Redis.from_url(_redis_server_url) as client:
        client.flushall()
    folder = Path(tempfile.mkdtemp(prefix="page-", dir=open_folder))
    with running(folder, module_database_url, _redis_server_url, DAYS) as platform:
        yield platform


@pytest.fixture
def look(browser: Browser, platform: Platform) -> Iterator[Looking]:
    """A fresh window on the page; the test fails where the page said an error or asked another origin."""
    looking = Looking(browser, platform.url, platform.gateway_port)
    yield looking
    looking.close()
    assert looking.complaints == []
    assert looking.strangers == []
