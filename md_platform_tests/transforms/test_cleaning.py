"""Cleaning: what is kept, what is set aside and why, and that nothing is lost between the two."""

import datetime as dt
import math

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from md_platform.domain.intervals import UTC
from md_platform.transforms.cleaned import choose_source, clean_bars, clean_trades
from md_platform_tests.rows import bar, bar_rows, trade, trade_rows

ODD = [None, -1.0, 0.0, math.nan, math.inf]


def minutes_of(frame):
    return [f"{moment:%M:%S}" for moment in frame["open_time"]]


@pytest.mark.parametrize(
    ("wrong", "rule"),
    [
        (bar(None), "time_missing"),
        (bar(1.5), "off_grid"),
        (bar(1, is_closed=False), "not_closed"),
        (bar(1, open=0.0), "open_not_positive"),
        (bar(1, high=-1.0), "high_not_positive"),
        (bar(1, low=math.nan), "low_not_positive"),
        (bar(1, None), "close_not_positive"),
        (bar(1, 10.0, high=9.0, low=8.0), "high_below_body"),
        (bar(1, 10.0, low=10.5), "low_above_body"),
        (bar(1, volume=-1.0), "volume_negative"),
        (bar(1, quote_volume=-1.0), "quote_volume_negative"),
        (bar(1, trade_count=-1), "trade_count_negative"),
        (bar(1, taker_buy_volume=4.5), "taker_buy_volume_above_volume"),
    ],
)
def test_a_bar_that_breaks_a_rule_is_set_aside_by_its_name(wrong, rule):
    cleaned = clean_bars(bar_rows([bar(0), wrong, bar(2)]))
    assert minutes_of(cleaned.kept) == ["00:00", "02:00"]
    assert_frame_equal(cleaned.rejected, bar_rows([wrong]).with_columns(rule=pl.lit(rule)))


def test_the_exact_edges_of_validity_are_kept():
    flat = bar(0, 10.0, high=10.0, low=10.0, volume=0.0, quote_volume=0.0, trade_count=0, taker_buy_volume=0.0)
    unsaid = bar(1, quote_volume=None, vwap=None, trade_count=None, taker_buy_volume=None, taker_buy_quote_volume=None)
    cleaned = clean_bars(bar_rows([flat, unsaid]))
    assert cleaned.kept.rows(named=True) == [flat, unsaid]
    assert cleaned.rejected.is_empty()


def test_of_repeated_bars_the_last_received_counts():
    cleaned = clean_bars(bar_rows([bar(0, 10.0), bar(1, 11.0), bar(0, 12.0), bar(0, 13.0)]))
    assert cleaned.kept["close"].to_list() == [13.0, 11.0]
    assert cleaned.rejected.select("close", "rule").rows() == [(10.0, "duplicate"), (12.0, "duplicate")]


def test_an_invalid_repetition_does_not_drive_out_a_valid_bar():
    cleaned = clean_bars(bar_rows([bar(0, 10.0), bar(0, 11.0, volume=-1.0)]))
    assert cleaned.kept["close"].to_list() == [10.0]
    assert cleaned.rejected["rule"].to_list() == ["volume_negative"]


def test_the_newest_revision_counts_and_older_ones_are_no_rejects():
    cleaned = clean_bars(bar_rows([bar(0, 10.0), bar(1, 20.0), bar(0, 11.0, revision=1), bar(0, 12.0, revision=2)]))
    assert cleaned.kept.select("close", "revision").rows() == [(12.0, 2), (20.0, 0)]
    assert cleaned.rejected.is_empty()


def test_a_late_bar_finds_its_place_and_is_counted():
    cleaned = clean_bars(bar_rows([bar(2), bar(0), bar(1), bar(3)]))
    assert minutes_of(cleaned.kept) == ["00:00", "01:00", "02:00", "03:00"]
    assert cleaned.reordered == 2


def test_a_missing_minute_stays_missing():
    assert minutes_of(clean_bars(bar_rows([bar(0), bar(5)])).kept) == ["00:00", "05:00"]


@pytest.mark.parametrize(
    ("wrong", "rule"),
    [
        (trade(None, "7"), "time_missing"),
        (trade(1, None), "id_missing"),
        (trade(1, "7", 0.0), "price_not_positive"),
        (trade(1, "7", None), "price_not_positive"),
        (trade(1, "7", size=0.0), "size_not_positive"),
        (trade(1, "7", size=math.inf), "size_not_positive"),
        (trade(1, "7", trade_count=0), "trade_count_not_positive"),
        (trade(0, "1", 11.0), "duplicate"),
    ],
)
def test_a_trade_that_breaks_a_rule_is_set_aside_by_its_name(wrong, rule):
    cleaned = clean_trades(trade_rows([trade(0, "1"), wrong, trade(2, "2")]))
    assert cleaned.kept["trade_id"].to_list() == ["1", "2"]
    assert cleaned.kept["price"].to_list() == [10.0, 10.0]  # of repeated trades the first received counts
    assert cleaned.rejected.rows(named=True) == [{**wrong, "rule": rule}]


def test_trades_of_one_instant_are_ordered_by_number_not_by_letter():
    ids = ["10", "9", "100", "x2", "x10"]
    cleaned = clean_trades(trade_rows([trade(0, name) for name in ids]))
    assert [name for name in cleaned.kept["trade_id"] if name.isdigit()] == ["9", "10", "100"]
    assert [name for name in cleaned.kept["trade_id"] if not name.isdigit()] == ["x10", "x2"]


def test_trades_from_several_connections_are_put_in_order():
    cleaned = clean_trades(trade_rows([trade(3, "3"), trade(1, "1"), trade(2, "2")]))
    assert cleaned.kept["trade_id"].to_list() == ["1", "2", "3"]
    assert cleaned.reordered == 2


prices = st.sampled_from([10.0, 11.0, *ODD]) | st.floats()
any_bars = st.lists(
    st.builds(
        lambda minute, close, volume, is_closed, revision: bar(
            minute, close, volume=volume, is_closed=is_closed, revision=revision
        ),
        st.sampled_from([0, 1, 2, 2.5, None, 1_440]),
        prices,
        st.sampled_from([4.0, *ODD]),
        st.booleans(),
        st.integers(0, 2),
    ),
    max_size=30,
)
any_trades = st.lists(
    st.builds(
        lambda second, name, price, size: trade(second, name, price, size=size),
        st.sampled_from([0, 1, 0.5, None, 86_400]),
        st.sampled_from(["1", "2", "10", "x", None]),
        prices,
        st.sampled_from([0.5, *ODD]),
    ),
    max_size=30,
)


def as_multiset(frame):
    return sorted(map(repr, frame.rows()))


@given(any_bars)
def test_every_bar_is_kept_or_set_aside_or_superseded(rows):
    raw = bar_rows(rows)
    cleaned = clean_bars(raw)
    newest = {}
    for row in rows:
        newest[row["open_time"]] = max(row["revision"], newest.get(row["open_time"], 0))
    superseded = raw.filter([row["revision"] < newest[row["open_time"]] for row in rows]) if rows else raw
    together = pl.concat([cleaned.kept, cleaned.rejected.drop("rule"), superseded])
    assert as_multiset(together) == as_multiset(raw)
    assert cleaned.rejected["rule"].null_count() == 0
    assert cleaned.kept["open_time"].is_sorted()
    assert cleaned.kept["open_time"].n_unique() == cleaned.kept.height
    assert cleaned.kept.schema == raw.schema


@given(any_bars)
def test_what_is_clean_stays_as_it_is(rows):
    once = clean_bars(bar_rows(rows))
    twice = clean_bars(once.kept)
    assert twice.kept.equals(once.kept)
    assert twice.rejected.is_empty()
    assert twice.reordered == 0


@given(any_trades)
def test_every_trade_is_kept_or_set_aside(rows):
    raw = trade_rows(rows)
    cleaned = clean_trades(raw)
    assert as_multiset(pl.concat([cleaned.kept, cleaned.rejected.drop("rule")])) == as_multiset(raw)
    assert cleaned.rejected["rule"].null_count() == 0
    assert cleaned.kept["ts_event"].is_sorted()
    assert cleaned.kept["trade_id"].n_unique() == cleaned.kept.height
    assert clean_trades(cleaned.kept).kept.equals(cleaned.kept)


def test_several_days_are_cleaned_as_each_by_itself():
    rows = [bar(n, 10.0 + n % 7, volume=-1.0 if n % 50 == 0 else 4.0) for n in range(1_400, 1_500)]
    together = clean_bars(bar_rows(rows)).kept
    midnight = dt.datetime(2024, 2, 27, tzinfo=UTC)
    apart = [
        clean_bars(bar_rows(row for row in rows if (row["open_time"] < midnight) == is_first)).kept
        for is_first in (True, False)
    ]
    assert together.equals(pl.concat(apart))


@pytest.mark.parametrize(
    ("rows", "chosen", "reason"),
    [
        ({"binance": 1_440}, "binance", "only source: binance 1440 of 1440"),
        ({"binance": 1_400, "import": 1_440}, "import", "binance 1400 of 1440, import 1440 of 1440"),
        ({"binance": 1_440, "import": 1_440}, "binance", "binance 1440 of 1440, import 1440 of 1440"),
        ({"binance": 0, "import": 0}, "binance", "binance 0 of 1440, import 0 of 1440"),
    ],
)
def test_the_fullest_source_is_chosen_the_preferred_one_of_equals(rows, chosen, reason):
    choice = choose_source(rows, 1_440)
    assert (choice.source, choice.reason) == (chosen, reason)
