"""A platform with data and a browser that looks at it: Chromium, the system's or Playwright's own; without one, skipped."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from playwright.sync_api import Browser, Error, Playwright, sync_playwright

from md_platform_tests.page.looking import Looking
from md_platform_tests.page.page_platform import Platform, running

DAYS = 30


@pytest.fixture(scope="session")
def platform(open_folder: Path, postgres_url: str, _redis_server_url: str) -> Iterator[Platform]:
    """A platform for all tests of the page, which change nothing in it that another one looks at."""
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("CREATE DATABASE page")
    folder = open_folder / "page"
    folder.mkdir()
    with running(folder, postgres_url.rpartition("/")[0] + "/page", _redis_server_url, DAYS) as platform:
        yield platform


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = _launched(playwright)
        yield browser
        browser.close()


def _launched(playwright: Playwright) -> Browser:
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    try:
        return playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
    except Error:
        pytest.skip("no Chromium: `playwright install chromium`, or the system's own")


@pytest.fixture
def look(browser: Browser, platform: Platform) -> Iterator[Looking]:
    """A fresh window on the page; the test fails where the page said an error or asked another origin."""
    looking = Looking(browser, platform.url, platform.gateway_port)
    yield looking
    looking.close()
    assert looking.complaints == []
    assert looking.strangers == []
