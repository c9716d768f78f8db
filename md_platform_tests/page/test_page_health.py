"""Health in a real browser: feeds, stores, and an alert that is set and fires."""

from md_platform_tests.page.looking import Looking
from md_platform_tests.page.stocked import BTC, EMPTY


def test_feeds_and_stores_tell_how_they_are(look: Looking):
    page = look.at("health")
    page.locator('[aria-label="Connections"] tbody tr').nth(2).wait_for()
    said = look.text('[aria-label="Feeds"]')
    assert "streaming for" in said
    assert said.count("connected") == 3
    page.locator('[aria-label="Connections"] tbody td:nth-child(3)').filter(has_text=".").first.wait_for()  # a rate
    assert look.text('[aria-label="Stores"]').count("answers") == 3
    assert (
        "not streamed" in page.locator('[aria-label="Instruments"] tr', has_text=EMPTY.partition(":")[2]).inner_text()
    )


def test_an_alert_is_set_fires_and_is_removed(look: Looking):
    page = look.at("health")
    alerts = page.locator('section[aria-label="Alerts"]')
    alerts.locator("[name=instrument]").select_option(BTC)
    alerts.locator("[name=compare]").select_option("above")
    alerts.locator("[name=value]").fill("1")
    alerts.get_by_role("button", name="Set alert").click()
    alerts.locator(".fired li", has_text=f"{BTC} price above 1").first.wait_for(timeout=60_000)
    alerts.get_by_role("button", name=f"Remove {BTC} price above 1").click()
    alerts.get_by_text("No rule yet").wait_for()


def test_events_show_troubles_or_all(look: Looking):
    page = look.at("health")
    events = page.locator('section[aria-label="Events"]')
    events.get_by_role("button", name="All").click()
    events.locator("td", has_text="connected").first.wait_for()
