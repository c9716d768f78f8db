"""What the page shows when something is wrong: the API is away or slow, nobody is signed in, a key has ended."""

import pytest
from playwright.sync_api import Browser

from md_platform.access.keys import Keys
from md_platform.api.config import ApiConfig
from md_platform.storage.migrate import migrate
from md_platform_tests.api_server import served, stores_of
from md_platform_tests.page.looking import Looking
from md_platform_tests.page.stocked import BTC


def test_while_the_api_is_away_the_page_says_so_and_comes_back_by_itself(look: Looking):
    page = look.at("catalog")
    page.locator("tbody tr[data-href]").first.wait_for()
    page.context.set_offline(True)
    page.locator("tbody tr[data-href]", has_text="BTC-USDT").click()
    page.locator('.banner[data-kind="away"]').wait_for()
    page.get_by_role("alert").get_by_text("The API does not answer").wait_for()
    page.context.set_offline(False)
    page.locator(".calendar").wait_for()
    assert page.locator(".banner").count() == 0
    look.complaints.clear()  # the browser's own lines about being offline


def test_a_slow_api_is_told(look: Looking):
    page = look.at("catalog")
    page.locator("tbody tr[data-href]").first.wait_for()
    page.route("**/api/v1/datasets/*/coverage*", lambda route: (page.wait_for_timeout(3_500), route.continue_()))
    page.locator("tbody tr[data-href]", has_text="BTC-USDT").click()
    page.locator('.banner[data-kind="slow"]').wait_for()
    page.locator(".calendar").wait_for()
    assert page.locator(".banner").count() == 0
    assert BTC in look.text("h1")


def test_nothing_may_run_inline_or_come_from_elsewhere(look: Looking):
    page = look.at("catalog")
    page.locator("tbody tr[data-href]").first.wait_for()
    page.evaluate("""() => {
      const script = document.createElement("script");
      script.textContent = "window.hasRun = true";
      document.head.append(script);
      return fetch("http://localhost:9/").catch(() => null);
    }""")
    assert page.evaluate("window.hasRun") is None
    assert sum("Content Security Policy" in said for said in look.complaints) >= 2
    look.complaints.clear()
    look.strangers.clear()


@pytest.fixture
def closed(tmp_path, database_url, redis_url, browser: Browser):
    migrate(database_url)
    with served(stores_of(tmp_path, database_url, redis_url, is_open=False), ApiConfig(is_open=False)) as running:
        look = Looking(browser, str(running.client.base_url).rstrip("/"), 8001)
        yield look, Keys(database_url)
        look.close()


def test_one_signs_in_with_a_key_and_is_told_when_it_has_ended(closed):
    look, keys = closed
    key, text = keys.create("desk", "trader", tier="enterprise")
    page = look.at("catalog")
    page.get_by_text("This platform asks who you are.").wait_for()
    page.locator("#main").get_by_role("link", name="Sign in").click()
    page.get_by_label("API key or token").fill("mdp_wrong")
    page.get_by_role("button", name="Sign in").click()
    page.get_by_text("Not accepted").wait_for()
    page.get_by_label("API key or token").fill(text)
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("heading", name="desk").wait_for()
    page.get_by_role("button", name=f"End key {key.id}").click()
    page.get_by_text("Your credential is not valid any more.").wait_for()
    assert look.strangers == []
