"""A platform with data, and a browser that looks at it."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from md_platform_tests.page.chromium import browser
from md_platform_tests.page.looking import Looking
from md_platform_tests.page.page_platform import DAYS, Platform, with_servers

__all__ = ["browser"]


@pytest.fixture(scope="package")
def platform(open_folder: Path) -> Iterator[Platform]:
    """A platform for all tests here, with servers of its own, as it publishes meanwhile.

    Tests change nothing in it that another one looks at.
    """
    folder = Path(tempfile.mkdtemp(prefix="page-", dir=open_folder))
    with with_servers(folder, DAYS) as platform:
        yield platform


@pytest.fixture
def look(browser: Browser, platform: Platform) -> Iterator[Looking]:
    """A fresh window on the page; the test fails where the page said an error or asked another origin."""
    looking = Looking(browser, platform.url, platform.gateway_port)
    yield looking
    looking.close()
    assert looking.complaints == []
    assert looking.strangers == []
