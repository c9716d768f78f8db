"""Benchmark: the page in Chromium, over a year of 1m bars: how soon it shows, how smoothly it pans, what it weighs.

    python -m md_platform_tests.benchmarks.page

A platform of its own, each part a process, streams meanwhile. Times are the browser's, from the start of the navigation
to the frame after the content is in the document; each in a browser that has kept nothing. Frames and long tasks while
panning are read from Chromium's own trace.
"""

import json
import statistics
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page

from md_platform.embedded import postgres_running, valkey_running
from md_platform_tests.benchmarks.figures import Figure, print_table
from md_platform_tests.page.chromium import launched
from md_platform_tests.page.page_platform import Platform, running
from md_platform_tests.page.stocked import BTC

_YEAR = 365
_ROUNDS = 5
_DRAGS = 3
_DRAG_PX = 1_000
_PANNING = ("devtools.timeline", "toplevel", "disabled-by-default-devtools.timeline.frame")
# Resolves with the time of the first frame that has the element, after which nothing is loading.
_SHOWN = """selector => new Promise(resolve => {
  const look = () => document.querySelector(selector)?.checkVisibility()
    && ![...document.querySelectorAll("[aria-busy=true]")].some(each => each.checkVisibility())
    ? resolve(performance.now()) : requestAnimationFrame(look);
  look();
})"""
_FRAMES = """() => { window.frames_ = []; const see = at => { window.frames_.push(at); window.seeing = requestAnimationFrame(see); };
  window.seeing = requestAnimationFrame(see); }"""


@contextmanager
def fresh_page(browser: Browser) -> Iterator[Page]:
    """A page in a window that has kept nothing."""
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    try:
        yield context.new_page()
    finally:
        context.close()


def shown_ms(browser: Browser, url: str, selector: str) -> float:
    """Median of how long the view at `url` takes to show `selector`."""
    times = []
    for _ in range(_ROUNDS):
        with fresh_page(browser) as page:
            page.goto(url, wait_until="commit")
            times.append(page.evaluate(_SHOWN, selector))
    return statistics.median(times)


def weight_kib(browser: Browser, url: str, selector: str) -> tuple[float, float]:
    """KiB over the wire, with headers: of the page's own files, and of all."""
    sizes: dict[str, float] = {}
    urls: dict[str, str] = {}
    with fresh_page(browser) as page:
        network = page.context.new_cdp_session(page)
        network.send("Network.enable")
        network.on("Network.responseReceived", lambda each: urls.update({each["requestId"]: each["response"]["url"]}))
        network.on("Network.loadingFinished", lambda each: sizes.update({each["requestId"]: each["encodedDataLength"]}))
        page.goto(url)
        page.evaluate(_SHOWN, selector)
        page.wait_for_load_state("networkidle")
    own = sum(size for id_, size in sizes.items() if "/api/" not in urls.get(id_, "/api/"))
    return own / 1_024, sum(sizes.values()) / 1_024


def panning(browser: Browser, url: str) -> tuple[float, float]:
    """Drag the chart back through time: frames a second, and ms of the longest task of the page's main thread."""
    with fresh_page(browser) as page:
        page.goto(url)
        page.evaluate(_SHOWN, ".legend-box .ohlc")
        box = page.locator(".canvas").bounding_box()
        assert box
        x, y = box["x"] + 100, box["y"] + box["height"] / 2
        browser.start_tracing(page=page, categories=list(_PANNING))
        page.evaluate(_FRAMES)
        for _ in range(_DRAGS):
            page.mouse.move(x, y)
            page.mouse.down()
            for step in range(0, _DRAG_PX, 10):
                page.mouse.move(x + step, y)
            page.mouse.up()
        frames = page.evaluate("() => { cancelAnimationFrame(window.seeing); return window.frames_ }")
        trace = json.loads(browser.stop_tracing())["traceEvents"]
    return (len(frames) - 1) / (frames[-1] - frames[0]) * 1_000, longest_task_ms(trace)


def longest_task_ms(trace: list[dict[str, Any]]) -> float:
    """Of the main thread of the page that was traced."""
    mains = {
        (each["pid"], each["tid"])
        for each in trace
        if each["name"] == "thread_name" and each["args"]["name"] == "CrRendererMain"
    }
    return max(
        each["dur"] / 1_000
        for each in trace
        if each["name"] == "RunTask" and "dur" in each and (each["pid"], each["tid"]) in mains
    )


def figures(browser: Browser, platform: Platform) -> Iterator[Figure]:
    """What is measured, beside its limit."""
    catalog = f"{platform.url}/#/catalog"
    year = f"{platform.url}/#/chart/{BTC}?tf=1m&bars={_YEAR * 1_440}"
    bars = ".legend-box .ohlc"
    yield Figure("first view, the catalog, ms", shown_ms(browser, catalog, "tbody tr[data-href]"), 1_000)
    yield Figure("chart of a year of 1m bars, ms", shown_ms(browser, year, bars), 1_500)
    frames, longest = panning(browser, f"{platform.url}/#/chart/{BTC}?tf=1m&bars=1440")
    yield Figure("panning a day of 1m bars, frames a second", frames, 55, is_least=True)
    yield Figure("  its longest task, ms", longest, 100)
    frames, longest = panning(browser, year)
    yield Figure("panning the year, frames a second", frames, 55, is_least=True)
    yield Figure("  its longest task, ms", longest, 100)
    own, whole = weight_kib(browser, catalog, "tbody tr[data-href]")
    yield Figure("first view: files of the page, KiB", own, 60)
    yield Figure("  with what it asked the API, KiB", whole, 120)
    own, whole = weight_kib(browser, year, bars)
    yield Figure("chart: files of the page, KiB", own, 150)
    yield Figure("  with what it asked the API, KiB", whole, 600)


def main() -> None:
    """Stock, serve, look."""
    with tempfile.TemporaryDirectory(prefix="mdp-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        with (
            valkey_running(folder / "redis") as redis_url,
            postgres_running(folder / "postgres") as database_url,
            running(folder, database_url, redis_url, _YEAR) as platform,
            launched() as browser,
        ):
            print_table(figures(browser, platform))


if __name__ == "__main__":
    main()
