"""Validation rules: known good and bad rows, and the batch and live interpreters agreeing on whatever comes."""

import math

import polars as pl
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from md_platform.domain.rules import BAR_RULES, TRADE_RULES, Rule, broken_rule, broken_rule_of

GOOD = {
    "open": 10.0,
    "high": 12.0,
    "low": 9.0,
    "close": 11.0,
    "volume": 5.0,
    "quote_volume": 52.0,
    "trade_count": 3,
    "taker_buy_volume": 2.0,
}
TRADE = {"price": 10.0, "size": 0.5, "trade_count": 1}
INTEGERS = {"trade_count"}


def in_batch(rows, rules):
    schema = {name: pl.Int64 if name in INTEGERS else pl.Float64 for name in rows[0]}
    return pl.DataFrame(rows, schema=schema).with_columns(broken_rule(rules))["rule"].to_list()


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({}, None),
        ({"open": 0.0}, "open_not_positive"),
        ({"high": -1.0}, "high_not_positive"),
        ({"low": -0.0}, "low_not_positive"),
        ({"close": math.nan}, "close_not_positive"),
        ({"close": None}, "close_not_positive"),
        ({"open": math.inf}, "open_not_positive"),
        ({"high": 10.5}, "high_below_body"),
        ({"low": 10.5}, "low_above_body"),
        ({"high": 8.0, "low": 8.5, "open": 8.0, "close": 8.0}, "high_below_body"),
        ({"volume": -0.1}, "volume_negative"),
        ({"volume": math.nan}, "volume_negative"),
        ({"volume": None}, "volume_negative"),
        ({"volume": 0.0, "taker_buy_volume": 0.0}, None),
        ({"quote_volume": None}, None),
        ({"quote_volume": -1.0}, "quote_volume_negative"),
        ({"quote_volume": math.nan}, "quote_volume_negative"),
        ({"trade_count": None}, None),
        ({"trade_count": -1}, "trade_count_negative"),
        ({"taker_buy_volume": None}, None),
        ({"taker_buy_volume": 5.1}, "taker_buy_volume_above_volume"),
        ({"open": -1.0, "volume": -1.0}, "open_not_positive"),  # the first rule that breaks is named
    ],
)
def test_bars(change, rule):
    row = GOOD | change
    assert broken_rule_of(row, BAR_RULES) == rule
    assert in_batch([row], BAR_RULES) == [rule]


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({}, None),
        ({"price": 0.0}, "price_not_positive"),
        ({"price": -math.inf}, "price_not_positive"),
        ({"size": 0.0}, "size_not_positive"),
        ({"size": None}, "size_not_positive"),
        ({"trade_count": 0}, "trade_count_not_positive"),
    ],
)
def test_trades(change, rule):
    row = TRADE | change
    assert broken_rule_of(row, TRADE_RULES) == rule
    assert in_batch([row], TRADE_RULES) == [rule]


odd_floats = st.none() | st.sampled_from([0.0, -0.0, 1.0, 2.0, -1.0, math.nan, math.inf, -math.inf]) | st.floats()
odd_counts = st.none() | st.integers(-2, 3) | st.integers(-(2**53), 2**53)


def rows_like(row):
    columns = {name: odd_counts if name in INTEGERS else odd_floats for name in row}
    mostly_good = {name: st.just(value) | columns[name] for name, value in row.items()}
    return st.lists(st.fixed_dictionaries(mostly_good) | st.fixed_dictionaries(columns), min_size=1, max_size=8)


@given(rows_like(GOOD))
def test_batch_and_live_agree_on_bars(rows):
    assert in_batch(rows, BAR_RULES) == [broken_rule_of(row, BAR_RULES) for row in rows]


@given(rows_like(TRADE))
def test_batch_and_live_agree_on_trades(rows):
    assert in_batch(rows, TRADE_RULES) == [broken_rule_of(row, TRADE_RULES) for row in rows]


@example([GOOD | {"volume": math.nan}], (Rule("first", "taker_buy_volume", "<=", ("volume",)),))
@example([GOOD | {"volume": math.inf}], (Rule("first", "taker_buy_volume", "<=", ("volume",)),))
@given(
    rows_like(GOOD),
    st.lists(
        st.builds(
            Rule,
            st.sampled_from(["first", "second", "third"]),
            st.sampled_from(list(GOOD)),
            st.sampled_from([">", ">=", "<="]),
            st.lists(st.sampled_from(list(GOOD)) | st.floats(-2, 2), max_size=3).map(tuple),
            st.booleans(),
        ),
        max_size=4,
    ).map(tuple),
)
def test_batch_and_live_agree_on_rules_yet_to_be_written(rows, rules):
    assert in_batch(rows, rules) == [broken_rule_of(row, rules) for row in rows]
