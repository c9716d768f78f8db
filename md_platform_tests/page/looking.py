"""A browser's window on the page, and what it noticed: errors said to the console, and requests to strangers."""

import re

from playwright.sync_api import Browser, Page, Request, WebSocket

_PATIENCE_MS = 20_000


class Looking:
    """`url` is the page's, `complaints` are console errors and exceptions, `strangers` addresses of neither the API nor
    its gateway.
    """

    def __init__(
        self, browser: Browser, url: str, gateway_port: int, *, width: int = 1440, theme: str = "light"
    ) -> None:
        self.complaints: list[str] = []
        self.strangers: list[str] = []
        self.url = url
        self._own = (url, f"ws://127.0.0.1:{gateway_port}", "blob:")
        self._context = browser.new_context(
            viewport={"width": width, "height": 900}, color_scheme="dark" if theme == "dark" else "light"
        )
        self._context.set_default_timeout(_PATIENCE_MS)
        self.page: Page = self._context.new_page()
        self.page.on("console", lambda said: self.complaints.append(said.text) if said.type == "error" else None)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", self._asked)
        self.page.on("websocket", self._asked)

    def _asked(self, request: Request | WebSocket) -> None:
        if not request.url.startswith(self._own):
            self.strangers.append(request.url)

    def at(self, address: str) -> Page:
        """The page at `address`, as catalog/sandbox:BTC-USDT."""
        self.page.goto(f"{self.url}/#/{address}")
        return self.page

    def text(self, selector: str) -> str:
        """What `selector` says, with spaces made one."""
        return re.sub(r"\s+", " ", self.page.locator(selector).first.inner_text())

    def close(self) -> None:
        """Close the window."""
        self._context.close()


def have_an_alert_fire(look: Looking, instrument: str) -> None:
    """Set a rule that fires at once, see it fire, and remove it."""
    page = look.at("health")
    alerts = page.locator('section[aria-label="Alerts"]')
    alerts.locator("[name=instrument]").select_option(instrument)
    alerts.locator("[name=compare]").select_option("above")
    alerts.locator("[name=value]").fill("1")
    alerts.get_by_role("button", name="Set alert").click()
    alerts.locator(".fired li", has_text=f"{instrument} price above 1").first.wait_for(timeout=60_000)
    alerts.get_by_role("button", name=f"Remove {instrument} price above 1").click()
    alerts.get_by_text("No rule yet").wait_for()
