"""The chart in a real browser: indicators, gaps with their cause, zoom, the bar that moves, drawings, files."""

import datetime as dt
import re

import httpx

from md_platform.domain.intervals import DAY, UTC
from md_platform_tests.page.looking import Looking
from md_platform_tests.page.page_platform import Platform
from md_platform_tests.page.stocked import BTC, EMPTY, ETH

DRAWN = ".foot .muted"


def _drawn(look: Looking) -> str:
    look.page.get_by_text("loaded", exact=False).first.wait_for()
    return look.text(DRAWN)


def _canvas(look: Looking) -> tuple[float, float, float, float]:
    box = look.page.locator(".canvas").first.bounding_box()
    assert box
    return box["x"], box["y"], box["width"], box["height"]


def test_two_indicators_are_chosen_and_one_is_changed(look: Looking):
    page = look.at(f"chart/{BTC}?tf=1h")
    _drawn(look)
    page.keyboard.press("i")
    search = page.get_by_label("Search indicators")
    for wanted in ("ema", "rsi"):
        search.fill(wanted)
        page.locator(".found button", has=page.get_by_text(wanted, exact=True)).click()
    period = page.locator(".used form").first.get_by_label("period")
    period.fill("50")
    period.blur()
    page.keyboard.press("Escape")
    page.locator(".legend-box", has_text="ema(50)").filter(has_text="rsi(14)").wait_for()
    assert re.search(r"ema\(50\) [\d,.]+ rsi\(14\) [\d.]+", look.text(".legend-box"))
    assert "ind=ema%2850%29%3Brsi%2814%29" in page.url
    page.reload()
    page.locator(".legend-box", has_text="ema(50)").wait_for()


def test_a_gap_tells_its_cause(look: Looking):
    end = dt.datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - 8 * DAY
    page = look.at(f"chart/{BTC}?tf=1h&bars=24&end={end.isoformat().replace('+00:00', 'Z')}")
    _drawn(look)
    x, y, width, height = _canvas(look)
    page.wait_for_timeout(800)
    for n in range(24):  # the gap is the bar of 11:00, somewhere left of the middle
        page.mouse.move(x + width * (0.2 + n * 0.02), y + height / 2)
        if "venue outage" in look.text(".legend-box"):
            break
    assert "11:00 – " in look.text(".legend-box")
    assert "venue outage" in look.text(".legend-box")


def test_zooming_in_loads_finer_bars(look: Looking):
    page = look.at(f"chart/{BTC}?tf=1m&bars=40000")
    assert "1m drawn in" in _drawn(look)
    x, y, width, height = _canvas(look)
    page.mouse.move(x + width * 0.7, y + height * 0.4)
    for _ in range(45):
        page.mouse.wheel(0, -400)
        page.wait_for_timeout(30)
    page.locator(DRAWN, has_text=re.compile(r"UTC · 1m · ")).first.wait_for()


def test_the_running_bar_moves(look: Looking):
    page = look.at(f"chart/{BTC}?tf=1s&bars=60")
    page.locator('#live[data-state="on"]').wait_for()
    _drawn(look)
    before = look.text(".legend-box .ohlc")
    page.locator(".legend-box .ohlc").filter(has_not_text=before).first.wait_for()


def test_what_is_saved_as_csv_is_what_the_api_answers(look: Looking, platform: Platform):
    end = dt.datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - DAY
    page = look.at(f"chart/{BTC}?tf=1h&bars=48&end={end.isoformat().replace('+00:00', 'Z')}")
    _drawn(look)
    with page.expect_request(re.compile("format=csv")) as asked, page.expect_download() as saved:
        page.get_by_role("button", name="CSV").click()
    assert saved.value.path().read_bytes() == httpx.get(asked.value.url).content
    with page.expect_download() as picture:
        page.get_by_role("button", name="PNG").click()
    assert picture.value.path().read_bytes().startswith(b"\x89PNG")


def test_drawings_are_kept_in_the_browser(look: Looking):
    page = look.at(f"chart/{BTC}?tf=1h")
    _drawn(look)
    x, y, width, height = _canvas(look)
    page.get_by_role("button", name="Level").click()
    page.mouse.click(x + width / 2, y + height / 3)
    page.get_by_role("button", name="Line", exact=True).click()
    page.mouse.click(x + width / 4, y + height / 3)
    page.mouse.click(x + width / 2, y + height / 2)
    assert page.locator(".marks li").count() == 2
    page.reload()
    page.locator(".marks li").nth(1).wait_for()
    page.get_by_role("button", name="Remove Level").click()
    assert page.locator(".marks li").count() == 1


def test_instruments_are_compared_and_timeframes_stand_in_step(look: Looking):
    page = look.at(f"chart/{BTC}?tf=15m,1h&with={ETH}")
    page.locator(".legend-box", has_text=ETH).nth(1).wait_for()
    assert page.locator(".window").count() == 2
    with page.expect_download() as saved:
        page.get_by_role("button", name="PNG").click()
    shown = page.locator(".window .canvas").first.evaluate("each => each.clientWidth * devicePixelRatio")
    assert int.from_bytes(saved.value.path().read_bytes()[16:20]) >= 2 * shown  # its width: both are in it
    x, y, width, height = _canvas(look)
    page.mouse.move(x + width / 2, y + height / 2)
    page.wait_for_timeout(300)
    first, second = (page.locator(".legend-box").nth(n).inner_text() for n in range(2))
    assert re.search(r"15m\s+(\S+ \d\d)", first)[1] == re.search(r"1h\s+(\S+ \d\d)", second)[1]


def test_an_instrument_without_bars_says_where_to_look(look: Looking):
    page = look.at(f"chart/{EMPTY}")
    page.get_by_text("No bars in this range").wait_for()
