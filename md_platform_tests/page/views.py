"""Every view of the page: its address on a platform that has data, and keys that open what has no address."""

import datetime as dt
from dataclasses import dataclass

from playwright.sync_api import Page

from md_platform.domain.intervals import DAY, UTC
from md_platform_tests.page.stocked import BTC, EMPTY, ETH


@dataclass(frozen=True, slots=True)
class View:
    """`address` follows `#/`; `key` is pressed once it is shown; `shows` is a selector of what it is opened for."""

    address: str
    shows: str
    key: str = ""


def _midnight(days_ago: int) -> str:
    today = dt.datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return f"{today - days_ago * DAY:%Y-%m-%d}"


VIEWS = {
    "catalog": View("catalog", "[aria-label='Datasets'] tbody tr"),
    "catalog-instrument": View(f"catalog/{BTC}", ".calendar"),
    "catalog-day": View(f"catalog/{BTC}?day={_midnight(9)}", ".panel.evidence"),
    "catalog-empty": View(f"catalog/{EMPTY}", "section[aria-label='Load days']"),
    "chart": View(f"chart/{BTC}?tf=1h&bars=160", ".legend-box .ohlc"),
    "chart-indicators": View(
        f"chart/{BTC}?tf=1h&bars=160&ind=ema(20);bbands(20,2);rsi(14);macd(12,26,9)", ".legend-box .ohlc"
    ),
    "chart-compared": View(f"chart/{BTC}?tf=1h&bars=200&with={ETH}", ".legend-box .ohlc"),
    "chart-timeframes": View(f"chart/{BTC}?tf=1m,15m,1h,1d", ".legend-box .ohlc"),
    "chart-gap": View(f"chart/{BTC}?tf=15m&bars=96&end={_midnight(8)}T00:00:00Z", ".legend-box .ohlc"),
    "chart-picker": View(f"chart/{BTC}?tf=1h&ind=ema(20)", "dialog .found li", "i"),
    "market": View(f"market/{BTC}", ".ladder tr.ask"),
    "health": View("health", "[aria-label='Connections'] tr"),
    "exports": View("keys", "[aria-label='Exports'] form"),
    "sign-in": View("sign-in", "[name=credential]"),
    "help": View("catalog", "dialog kbd", "?"),
}


def open_view(page: Page, url: str, view: View) -> None:
    """Show `view`, whole: nothing is loading any more."""
    page.goto(f"{url}/#/{view.address}")
    if view.key:
        page.locator("main .view > *").first.wait_for()
        settled(page)
        page.keyboard.press(view.key)
    page.locator(view.shows).first.wait_for()
    settled(page)


def settled(page: Page) -> None:
    """Wait until nothing that is to be seen is loading."""
    page.locator("[aria-busy=true]:visible").first.wait_for(state="detached")
