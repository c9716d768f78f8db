"""Fetching again: the same content changes nothing, other content is a new revision, nothing stored is lost."""

import datetime as dt
import math

import polars as pl
from hypothesis import example, given
from hypothesis import strategies as st

from md_platform.transforms.cleaned import clean_bars, clean_trades
from md_platform.transforms.revisions import merge_bars, merge_trades
from md_platform_tests.rows import KNOWN_AT, bar, bar_rows, trade, trade_rows

HOUR = dt.timedelta(hours=1)


def fetched(fetch, *pairs):
    """What fetch number `fetch` gave, from pairs of (minute, close)."""
    return bar_rows(bar(minute, close, known_at=KNOWN_AT + fetch * HOUR) for minute, close in pairs)


def story(frame):
    """(minute, close, revision, number of the fetch that brought it) of every row."""
    return [
        (
            row["open_time"] and row["open_time"].minute,
            row["close"],
            row["revision"],
            (row["known_at"] - KNOWN_AT) // HOUR,
        )
        for row in frame.rows(named=True)
    ]


def test_the_first_fetch_is_stored_as_it_came():
    first = fetched(0, (0, 10.0), (1, 11.0))
    assert merge_bars(None, first).equals(first)
    assert merge_bars(first.clear(), first).equals(first)


def test_the_same_again_keeps_revision_and_first_sight():
    first = fetched(0, (0, 10.0), (1, 11.0))
    assert merge_bars(first, fetched(1, (0, 10.0), (1, 11.0))).equals(first)


def test_a_changed_bar_is_appended_as_its_next_revision():
    stored = merge_bars(fetched(0, (0, 10.0), (1, 11.0)), fetched(1, (0, 10.0), (1, 12.0), (2, 13.0)))
    assert story(stored) == [(0, 10.0, 0, 0), (1, 11.0, 0, 0), (1, 12.0, 1, 1), (2, 13.0, 0, 1)]


def test_a_change_taken_back_is_a_revision_too():
    stored = fetched(0, (0, 10.0))
    for fetch, close in enumerate([11.0, 10.0, 10.0], start=1):
        stored = merge_bars(stored, fetched(fetch, (0, close)))
    assert story(stored) == [(0, 10.0, 0, 0), (0, 11.0, 1, 1), (0, 10.0, 2, 2)]


def test_a_running_bar_that_closed_is_a_change():
    running = bar_rows([bar(0, is_closed=False)])
    assert merge_bars(running, bar_rows([bar(0)])).select("is_closed", "revision").rows() == [(False, 0), (True, 1)]


def test_what_the_source_no_longer_says_stays_stored():
    first = fetched(0, (0, 10.0), (1, 11.0))
    assert merge_bars(first, fetched(1, (1, 11.0))).equals(first)
    assert merge_bars(first, first.clear()).equals(first)


def test_a_bar_that_a_source_gives_twice_with_two_contents_comes_to_rest():
    stored = fetched(0, (0, 10.0))
    both = fetched(1, (0, 10.0), (0, 11.0))
    once = merge_bars(stored, both)
    assert merge_bars(once, fetched(2, (0, 10.0), (0, 11.0))).equals(once)
    assert clean_bars(once).kept["close"].to_list() == [11.0]


def test_a_bar_that_a_source_gave_twice_and_now_once_is_what_it_says_now():
    stored = merge_bars(fetched(0, (0, 10.0), (0, 11.0)), fetched(1, (0, 10.0)))
    assert story(stored) == [(0, 10.0, 0, 0), (0, 11.0, 0, 0), (0, 10.0, 1, 1)]
    assert clean_bars(stored).kept["close"].to_list() == [10.0]


def test_unknown_values_are_equal_to_themselves():
    odd = bar_rows([bar(0, None), bar(1, math.nan), bar(None), bar(2, quote_volume=None)])
    assert merge_bars(odd, odd.with_columns(known_at=pl.lit(KNOWN_AT + HOUR))).equals(odd)


contents = st.lists(
    st.tuples(st.sampled_from([0, 1, 2, None]), st.sampled_from([10.0, 11.0, 12.0, math.nan, None])), max_size=8
)
once_per_minute = st.dictionaries(st.integers(0, 4), st.sampled_from([10.0, 11.0, math.nan]), max_size=5)


@example([[(0, 10.0)], [(0, 10.0), (0, 11.0)]])
@given(st.lists(contents, max_size=5))
def test_any_fetch_repeated_changes_nothing_and_loses_nothing(fetches):
    stored = None
    for fetch, pairs in enumerate(fetches):
        before = stored
        stored = merge_bars(before, fetched(fetch, *pairs))
        if before is not None and not before.is_empty():
            assert stored.head(before.height).equals(before)
        assert merge_bars(stored, fetched(fetch + 100, *pairs)).equals(stored)


@given(st.lists(once_per_minute, min_size=1, max_size=6))
def test_the_newest_revision_is_always_what_the_source_said_last(fetches):
    stored, said = None, {}
    for fetch, closes in enumerate(fetches):
        stored = merge_bars(stored, fetched(fetch, *closes.items()))
        said |= closes
    newest = stored.sort("revision").unique("open_time", keep="last").sort("open_time")
    assert repr(newest["close"].to_list()) == repr([said[minute] for minute in sorted(said)])
    per_minute = stored.group_by("open_time").agg(pl.col("revision").sort())["revision"].to_list()
    assert all(revisions == list(range(len(revisions))) for revisions in per_minute)


def test_a_trade_seen_before_keeps_when_it_was_received():
    first = trade_rows([trade(0, "1"), trade(1, "2")])
    again = trade_rows([trade(0, "1"), trade(1, "2"), trade(2, "3")]).with_columns(ts_received=pl.lit(KNOWN_AT + HOUR))
    stored = merge_trades(first, again)
    assert stored.head(2).equals(first)
    assert stored.select("trade_id", "ts_received").row(2) == ("3", KNOWN_AT + HOUR)


def test_a_trade_that_changed_is_kept_beside_the_first_which_counts():
    stored = merge_trades(trade_rows([trade(0, "1", 10.0)]), trade_rows([trade(0, "1", 11.0)]))
    assert stored["price"].to_list() == [10.0, 11.0]
    cleaned = clean_trades(stored)
    assert cleaned.kept["price"].to_list() == [10.0]
    assert cleaned.rejected["rule"].to_list() == ["duplicate"]


any_trades = st.lists(
    st.tuples(
        st.sampled_from([0, 1, None]), st.sampled_from(["1", "2", None]), st.sampled_from([10.0, math.nan, None])
    ),
    max_size=8,
)


@given(st.lists(any_trades, max_size=5))
def test_any_trades_fetched_again_change_nothing_and_lose_nothing(fetches):
    stored = None
    for rows in fetches:
        before, now = stored, trade_rows(trade(*row) for row in rows)
        stored = merge_trades(before, now)
        if before is not None and not before.is_empty():
            assert stored.head(before.height).equals(before)
        later = now.with_columns(ts_received=pl.lit(KNOWN_AT + HOUR))
        assert merge_trades(stored, later).equals(stored) or stored.is_empty()
