"""Chromium for tests: the machine's own, else Playwright's.

python -m md_platform_tests.page.chromium     # says which one starts; fails where none does
"""

import contextlib
import shutil
import sys
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Error, sync_playwright

_NAMES = ("chromium", "chromium-browser", "google-chrome")


@contextlib.contextmanager
def launched() -> Iterator[Browser]:
    """A browser for the time of the block; Playwright's Error where none starts.

    Playwright runs an event loop of its own in this thread: no asyncio.run may come before the block ends.
    """
    found = next(filter(None, map(shutil.which, _NAMES)), None)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A browser for a module's tests; without one, they are skipped."""
    with contextlib.ExitStack() as stack:
        try:
            found = stack.enter_context(launched())
        except Error:
            pytest.skip("no Chromium: `make chromium` gets one where it can")
        yield found


if __name__ == "__main__":
    try:
        with launched() as browser:
            print(f"Chromium {browser.version}")
    except Error:
        sys.exit(1)
