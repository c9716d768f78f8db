"""Bars adjusted for splits and dividends: figures by hand and as published, and what must hold whatever they are."""

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from md_platform.domain.corporate_actions import CorporateAction, adjustments
from md_platform.domain.intervals import DAY
from md_platform.errors import InvalidCorporateAction
from md_platform.transforms.adjusted import adjust
from md_platform_tests.rows import DAY0, KNOWN_AT, bar_rows, daily


def action(day: int, kind: str, value: float) -> CorporateAction:
    return CorporateAction((DAY0 + day * DAY).date(), kind, value, KNOWN_AT)


def adjusted(bars: pl.DataFrame, *actions: CorporateAction) -> pl.DataFrame:
    closes = {
        each.ex_date: before["close"][-1]
        for each in actions
        if not (before := bars.filter(pl.col("open_time") < each.ex_time)).is_empty()
    }
    return adjust(bars, adjustments(actions, closes))


def test_a_split_as_it_was_published():
    """Apple, 4 for 1 on 2020-08-31: 28 August closed at 499.23, which is published as 124.81 (adjusted for splits)."""
    bars = bar_rows([daily(0, 499.23, volume=46_907_479.0), daily(3, 129.04, volume=225_702_688.0)])
    found = adjusted(bars, action(3, "split", 4.0))
    assert found["close"].round(2).to_list() == [124.81, 129.04]
    assert found["volume"].to_list() == [187_629_916.0, 225_702_688.0]
    assert found["quote_volume"].equals(bars["quote_volume"])


def test_a_dividend_leaves_the_return_of_who_was_paid():
    bars = bar_rows([daily(0, 100.0), daily(1, 99.0), daily(2, 99.0)])
    found = adjusted(bars, action(1, "dividend", 1.0))
    assert found["close"].to_list() == pytest.approx([99.0, 99.0, 99.0])
    assert found["volume"].equals(bars["volume"])


def test_what_comes_on_one_day_and_later_is_multiplied():
    bars = bar_rows([daily(0, 100.0), daily(1, 50.0), daily(2, 24.0)])
    found = adjusted(bars, action(1, "split", 2.0), action(2, "dividend", 1.0), action(2, "split", 2.0))
    assert found["close"].to_list() == pytest.approx([100 / 2 / 2 * 0.98, 50 / 2 * 0.98, 24.0])


def test_a_dividend_before_the_first_close_changes_nothing_and_one_above_it_is_refused():
    bars = bar_rows([daily(1, 10.0), daily(2, 10.0)])
    assert adjusted(bars, action(1, "dividend", 1.0)).equals(bars)
    with pytest.raises(InvalidCorporateAction, match="not less than the close before it, 10"):
        adjusted(bars, action(2, "dividend", 10.0))


@given(
    st.lists(st.floats(1.0, 1e4), min_size=2, max_size=20),
    st.dictionaries(st.integers(1, 19), st.tuples(st.sampled_from(["split", "dividend"]), st.floats(0.05, 0.9))),
)
def test_the_newest_stay_as_they_were_paid_and_bars_stay_bars(closes, said):
    bars = bar_rows([daily(n, close) for n, close in enumerate(closes)])
    found = adjusted(bars, *(action(day, kind, value) for day, (kind, value) in sorted(said.items())))
    since = pl.col("open_time") >= DAY0 + max(said, default=0) * DAY
    assert found.filter(since).equals(bars.filter(since))
    assert (found["low"] <= found["close"]).all()
    assert (found["close"] <= found["high"]).all()
    same = pl.exclude("open", "high", "low", "close", "vwap", "volume", "taker_buy_volume")
    assert found.select(same).equals(bars.select(same))
    for n in range(1, len(closes)):  # the return between two days is that of their prices but for the day's own action
        raw, now = closes[n] / closes[n - 1], found["close"][n] / found["close"][n - 1]
        kind, value = said.get(n, ("", 0.0))
        factor = {"split": 1 / (value or 1), "dividend": 1 - value / closes[n - 1], "": 1.0}[kind]
        assert now == pytest.approx(raw / factor)
