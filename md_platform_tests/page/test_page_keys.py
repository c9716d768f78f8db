"""Exports and keys in a real browser: a file that equals the API's, a key that is made and ended, signing in."""

import datetime as dt
import re

import httpx

from md_platform.domain.intervals import DAY, UTC
from md_platform_tests.page.looking import Looking
from md_platform_tests.page.page_platform import Platform
from md_platform_tests.page.stocked import BTC


def test_an_exported_file_is_what_the_api_streams(look: Looking, platform: Platform):
    today = dt.datetime.now(UTC).date()
    asked = {"dataset": "cleaned_bars", "start": f"{today - 3 * DAY}", "end": f"{today}", "format": "csv"}
    page = look.at("keys")
    form = page.locator('section[aria-label="Exports"] form')
    form.locator("[name=ids]").select_option(BTC)
    form.locator("[name=dataset]").select_option(asked["dataset"])
    form.locator("[name=start]").fill(asked["start"])
    form.locator("[name=end]").fill(asked["end"])
    form.get_by_role("button", name="Export").click()
    with page.expect_download() as saved:
        page.locator("td button", has_text="csv").first.click()
    streamed = httpx.get(f"{platform.url}/api/v1/downloads", params={**asked, "id": BTC})
    assert saved.value.path().read_bytes() == streamed.content
    assert streamed.content.count(b"\n") == 3 * 1_440 + 1


def test_a_key_is_made_lets_in_and_is_ended(look: Looking, platform: Platform):
    page = look.at("keys")
    keys = page.locator('section[aria-label="Keys"]').first
    keys.locator("[name=name]").fill("desk")
    keys.get_by_role("button", name="Make key").click()
    text = keys.locator(".made code").inner_text()
    assert re.fullmatch(r"mdp_[0-9a-f]{12}_[0-9a-f]{48}", text)
    keys.get_by_role("button", name=f"End key {text[4:16]}").click()
    keys.locator("tr", has_text=text[4:16]).filter(has_text="ended").wait_for()
