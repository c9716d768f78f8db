"""Every view, in both themes, by axe-core: nothing that keeps people out, nothing said to the console."""

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

from md_platform_tests.page.looking import Looking
from md_platform_tests.page.views import VIEWS, open_view

_WHAT_A_THEME_CHANGES = {"resultTypes": ["violations"], "runOnly": ["color-contrast", "link-in-text-block"]}


def _violations(page: Page, options: dict) -> list[str]:
    found = Axe().run(page, options=options).response["violations"]
    return [
        f"{each['id']} ({each['impact']}): {node['target']} {node['html'][:200]}"
        for each in found
        if each["impact"] in ("serious", "critical")
        for node in each["nodes"]
    ]


@pytest.mark.parametrize("name", VIEWS)
def test_a_view_keeps_nobody_out(look: Looking, name: str):
    page = look.page
    open_view(page, look.url, VIEWS[name])
    assert _violations(page, {"resultTypes": ["violations"]}) == []
    page.emulate_media(color_scheme="dark")
    page.locator('html[data-theme="dark"]').wait_for()
    assert _violations(page, _WHAT_A_THEME_CHANGES) == []
