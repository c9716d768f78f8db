"""The market in a real browser: prices that move, the book, trades, maps of correlation and performance."""

import re

from md_platform_tests.page.looking import Looking
from md_platform_tests.page.stocked import BTC, EMPTY


def test_prices_move_and_flash(look: Looking):
    page = look.at(f"market/{BTC}")
    page.locator('#live[data-state="on"]').wait_for()
    page.locator("td.flash-up, td.flash-down").first.wait_for(timeout=60_000)
    row = page.locator('tr[aria-selected="true"]')
    assert re.fullmatch(r"[\d,]+\.\d\d", row.locator("td").nth(1).inner_text())
    assert re.fullmatch(r"[▲▼■] \d+\.\d\d %", row.locator("td").nth(2).inner_text())
    row.locator("svg.spark").wait_for()


def test_the_book_is_ordered_and_trades_are_listed(look: Looking):
    page = look.at(f"market/{BTC}")
    page.locator(".ladder tr.ask").first.wait_for()
    prices = page.locator(".ladder tr.ask td:first-child, .ladder tr.bid td:first-child").all_inner_texts()
    values = [float(text.replace(",", "")) for text in prices]
    assert values == sorted(values, reverse=True)
    assert len(values) >= 10
    page.locator(".tape tr").first.wait_for()
    assert page.locator("svg.figure").count() == 2


def test_correlation_and_performance_are_shown(look: Looking):
    page = look.at(f"market/{BTC}")
    page.locator('[aria-label="Correlation"] td').first.wait_for()
    diagonal = page.locator('[aria-label="Correlation"] tbody tr').first.locator("td").first
    assert diagonal.inner_text() == "1.00"
    assert page.locator('[aria-label="Performance"] tbody tr').count() == 3


def test_an_instrument_of_which_nothing_came_says_so(look: Looking):
    page = look.at(f"market/{EMPTY}")
    page.get_by_text("No order book").wait_for()
    look.complaints.clear()  # the browser's own line about the 404 of the book
