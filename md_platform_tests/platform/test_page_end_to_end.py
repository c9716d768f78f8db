"""The page of a real platform, from the catalog to an alert, as one who has just installed it would go through it."""

import contextlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator

import httpx
import pytest
from playwright.sync_api import Browser

from md_platform.embedded import valkey
from md_platform.embedded.home import Home
from md_platform.embedded.platform import child_environment
from md_platform.settings import load_settings
from md_platform_tests.page.looking import Looking, have_an_alert_fire
from md_platform_tests.platform.conftest import Loaded
from md_platform_tests.platform.running import Platform

BTC, DAY = "sandbox:BTC-USDT", "2026-10-01"
_QUIET_MS = 240_000
"""The venue's market has its week-ends, when a minute may pass without a trade."""


@pytest.fixture
def streaming(platform: Platform) -> Iterator[None]:
    """The live process and its writer, as `mdp up` starts them where it streams."""
    home, settings = Home(platform.home), load_settings({**platform.environment, "MDP_INSTRUMENTS": BTC})
    redis_url = valkey.url(home)
    assert redis_url
    told = {**platform.environment, **child_environment(home, settings, platform.database_url, redis_url)}
    with contextlib.ExitStack() as stack:
        for arguments in (("--instruments", BTC), ("write",)):
            log = stack.enter_context(platform.home.with_suffix(f".{arguments[-1][:5]}.out").open("wb"))
            process = subprocess.Popen(
                [sys.executable, "-m", "streaming", *arguments], env={**os.environ, **told}, stdout=log, stderr=log
            )
            stack.callback(process.wait, 30)
            stack.callback(process.terminate)
        yield


def test_from_the_catalog_to_an_alert(platform: Platform, loaded: Loaded, streaming: None, browser: Browser):
    assert loaded.result.returncode == 0
    ports = (platform.environment[name] for name in ("MDP_API_PORT", "MDP_GATEWAY_PORT"))
    api_port, gateway_port = map(int, ports)
    look = Looking(browser, f"http://127.0.0.1:{api_port}", gateway_port)
    _browse_to_the_evidence_of_a_day(look)
    _chart_it_with_two_indicators(look)
    _see_the_bar_move(look)
    _export_what_the_api_streams(look)
    _see_what_dagster_ran(look)
    have_an_alert_fire(look, BTC)
    look.close()
    assert look.complaints == []
    assert look.strangers == []


def _browse_to_the_evidence_of_a_day(look: Looking) -> None:
    page = look.at("catalog")
    page.locator("tbody tr[data-href]").first.wait_for()
    page.keyboard.press("/")
    page.keyboard.type(BTC)
    page.locator(f'tbody a[href*="{BTC}"]').first.click()
    page.locator(f'.calendar [aria-label="{DAY}: ok"]').click()
    page.locator(".panel.evidence").wait_for()
    assert "1,440" in look.text(".panel.evidence")
    run = page.locator(".panel.evidence a", has_text="↗").get_attribute("href")
    assert httpx.get(str(run)).status_code == 200  # Dagster's own page of it


def _chart_it_with_two_indicators(look: Looking) -> None:
    page = look.page
    page.get_by_role("link", name="See it on the chart").click()
    page.locator(".legend-box .ohlc").wait_for()
    page.keyboard.press("i")
    search = page.get_by_label("Search indicators")
    for wanted in ("ema", "rsi"):
        search.fill(wanted)
        page.locator(".found button", has=page.get_by_text(wanted, exact=True)).click()
    page.keyboard.press("Escape")
    page.locator(".legend-box", has_text="ema(20)").filter(has_text="rsi(14)").wait_for()
    assert re.search(r"ema\(20\) [\d,.]+ rsi\(14\) [\d.]+", look.text(".legend-box"))


def _see_the_bar_move(look: Looking) -> None:
    page = look.at(f"chart/{BTC}?tf=1s&bars=120")
    page.locator('#live[data-state="on"]').wait_for()
    page.locator(".legend-box .ohlc").wait_for(timeout=_QUIET_MS)
    before = look.text(".legend-box .ohlc")
    page.locator(".legend-box .ohlc").filter(has_not_text=before).first.wait_for(timeout=_QUIET_MS)


def _export_what_the_api_streams(look: Looking) -> None:
    asked = {"dataset": "cleaned_bars", "start": DAY, "end": "2026-10-02", "format": "csv"}
    page = look.at("keys")
    form = page.locator('section[aria-label="Exports"] form')
    form.locator("[name=dataset]").select_option(asked["dataset"])
    form.locator("[name=ids]").select_option(BTC)
    form.locator("[name=start]").fill(asked["start"])
    form.locator("[name=end]").fill(asked["end"])
    form.get_by_role("button", name="Export").click()
    with page.expect_download() as saved:
        page.locator("td button", has_text="csv").first.click()
    streamed = httpx.get(f"{look.url}/api/v1/downloads", params={**asked, "id": BTC})
    assert saved.value.path().read_bytes() == streamed.content
    assert streamed.content.count(b"\n") == 1_440 + 1


def _see_what_dagster_ran(look: Looking) -> None:
    newest = look.at("health").locator('[aria-label="Runs"] tr').first
    newest.wait_for()
    assert newest.locator(".badge").inner_text() in {"success", "started", "starting", "queued", "not_started"}
    assert httpx.get(str(newest.locator("a").get_attribute("href"))).status_code == 200
