"""Health in a real browser: feeds, stores, and an alert that is set and fires."""

from md_platform_tests.page.looking import Looking, have_an_alert_fire
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
    have_an_alert_fire(look, BTC)


def test_events_show_troubles_or_all(look: Looking):
    page = look.at("health")
    events = page.locator('section[aria-label="Events"]')
    events.get_by_role("button", name="All").click()
    events.locator("td", has_text="connected").first.wait_for()
