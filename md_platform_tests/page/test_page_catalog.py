"""The catalog in a real browser: instruments found, days shown by status, the evidence of one, a load asked for."""

import datetime as dt

from md_platform.domain.intervals import DAY, UTC
from md_platform_tests.page.conftest import DAYS
from md_platform_tests.page.looking import Looking
from md_platform_tests.page.stocked import BTC, EMPTY, TO_LOAD


def _ago(days: int) -> str:
    return (dt.datetime.now(UTC) - days * DAY).date().isoformat()


def test_instruments_are_found_by_search_and_opened_by_keys(look: Looking):
    page = look.at("catalog")
    page.locator("tbody tr[data-href]").nth(4).wait_for()
    page.keyboard.press("/")
    page.keyboard.type("btc")
    assert page.locator("tbody tr[data-href]").count() == 1
    page.keyboard.press("Escape")
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    page.locator(".calendar").wait_for()
    assert look.text("h1") == BTC
    assert "search=btc" in page.url


def test_a_day_opens_its_evidence(look: Looking):
    page = look.at(f"catalog/{BTC}")
    page.locator(".calendar").wait_for()
    assert page.locator(".calendar [data-date]").count() == DAYS
    assert page.locator(f'[data-date="{_ago(5)}"]').get_attribute("aria-label") == f"{_ago(5)}: missing"
    page.locator(f'[data-date="{_ago(9)}"]').click()
    page.locator(".evidence .facts").wait_for()
    said = look.text(".evidence")
    for words in ("degraded", "11:00 – 12:00", "60 rows, venue outage", "price_positive", "2 rows", "5b1d6c1e"):
        assert words in said
    assert f"day={_ago(9)}" in page.url


def test_the_calendar_is_walked_by_arrows(look: Looking):
    page = look.at(f"catalog/{BTC}?day={_ago(9)}")
    page.locator(f'[data-date="{_ago(9)}"]').focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    page.locator(f'[data-date="{_ago(8)}"][aria-pressed="true"]').wait_for()


def test_a_missing_day_is_known_and_a_load_is_watched_to_its_end(look: Looking):
    page = look.at(f"catalog/{BTC}")
    page.get_by_text(f"{_ago(5)} is missing").wait_for()
    page = look.at(f"catalog/{TO_LOAD}")
    page.get_by_text("Nothing is kept of this yet").wait_for()
    page.get_by_role("button", name="Load these days").click()
    page.locator('.job .badge[data-status="done"]').wait_for()
    page.reload()
    page.locator(f'.calendar [aria-label="{_ago(1)}: ok"]').wait_for()


def test_an_instrument_without_data_says_so(look: Looking):
    page = look.at(f"catalog/{EMPTY}")
    page.get_by_text("Nothing is kept of this yet").wait_for()


def test_an_unknown_instrument_is_told_as_the_api_tells_it(look: Looking):
    page = look.at("catalog/sandbox:NO-SUCH")
    page.get_by_role("alert").wait_for()
    assert "NO-SUCH" in look.text("[role=alert]")
    assert look.complaints  # the browser's own line about the 404
    look.complaints.clear()


def test_the_view_shows_its_request_and_the_same_in_python(look: Looking):
    page = look.at(f"catalog/{BTC}")
    page.locator(".calendar").wait_for()
    page.locator("details.code > summary").first.click()
    assert f'md.coverage("cleaned_bars", "{BTC}")' in look.text("details.code")
