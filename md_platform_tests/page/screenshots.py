"""Pictures of every view, in both themes and two widths.

    python -m md_platform_tests.page.screenshots FOLDER [--views market health] [--url http://127.0.0.1:8000]

Without `--url` of the platform that the tests look at, which is started for it: its days are good and bad ones.
"""

import argparse
import contextlib
import tempfile
from collections.abc import Iterable
from pathlib import Path

from playwright.sync_api import Error

from md_platform_tests.page.chromium import launched
from md_platform_tests.page.page_platform import DAYS, with_servers
from md_platform_tests.page.views import VIEWS, open_view

WIDTHS = {1440: 900, 390: 844}
THEMES = ("light", "dark")


def take(url: str, folder: Path, names: Iterable[str]) -> None:
    """Write `NAME-WIDTH-THEME.png` of the views in `names`."""
    folder.mkdir(parents=True, exist_ok=True)
    with launched() as browser:
        for width, height in WIDTHS.items():
            for theme in THEMES:
                context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=theme)
                context.set_default_timeout(20_000)
                for name in names:
                    page = context.new_page()
                    try:
                        open_view(page, url, VIEWS[name])
                        page.wait_for_timeout(500)  # prices move, the canvas is drawn
                    except Error as error:
                        print(f"{name} {width} {theme}: {error.message.splitlines()[0]}")
                    page.screenshot(path=folder / f"{name}-{width}-{theme}.png", full_page=True)
                    page.close()
                context.close()


def main() -> None:
    """Take them all, or those that are named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--url")
    parser.add_argument("--views", nargs="+", choices=VIEWS, default=list(VIEWS))
    options = parser.parse_args()
    with contextlib.ExitStack() as stack:
        url = options.url
        if not url:
            servers = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mdp-pictures-")))
            servers.chmod(0o755)  # PostgreSQL is another user's, where we are root
            url = stack.enter_context(with_servers(servers, DAYS)).url
        take(url, options.folder, options.views)


if __name__ == "__main__":
    main()
