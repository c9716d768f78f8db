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
