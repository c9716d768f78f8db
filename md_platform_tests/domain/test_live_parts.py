"""Parts of bars, as trades come, join to the same bar that the batch rule makes."""

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from md_platform.domain.bars import BAR_RULE, roll_up
from md_platform.domain.events import Bar
from md_platform.domain.intervals import Timeframe
from md_platform.domain.live_bars import MINUTE_NS
from md_platform.domain.live_cascade import DAY_NS
from md_platform.domain.live_parts import combined, joined, part_of, place_of, values_of
from md_platform_tests.domain.live_tapes import BTC, MS_NS, START, fed, moment, tapes, trade


@settings(deadline=None)
@given(tapes(max_size=12), st.integers(0, 12))
def test_parts_join_to_the_part_of_all(tape, cut):
    head, tail = tape[:cut], tape[cut:]
    parts = [part_of(trades) for trades in (head, tail) if trades]
    whole, split = part_of(tape), joined(parts)
    assert (split.first, split.last) == (whole.first, whole.last)
    for name, how, one, other in zip(BAR_RULE, BAR_RULE.values(), split.values, whole.values, strict=True):
        assert one == (pytest.approx(other, rel=1e-9) if how == "sum" and other is not None else other), name


@pytest.mark.parametrize("column", BAR_RULE)
def test_every_column_of_the_rule_is_combined_alike_by_both_interpreters(column):
    """Bars that differ in the one column; unknown where it may be."""
    values = [
        dict.fromkeys(BAR_RULE, 2.0) | {"revision": 0, "trade_count": 3, "known_at": 5} | {column: value}
        for value in (7, 3, 8)
    ]
    unknown = [[values[0] | {column: None}, *values[1:]]] if BAR_RULE[column] == "sum" else []
    for rows in (values, *unknown):
        frame = pl.LazyFrame(
            [
                {"instrument": BTC, "timeframe": "1m", "open_time": moment(START + n * MINUTE_NS), "is_closed": True}
                | {"source": "trades"}
                | row
                for n, row in enumerate(rows)
            ]
        )
        rolled = roll_up(frame, Timeframe.M5, moment(START + DAY_NS)).collect().row(0, named=True)
        live = dict(zip(BAR_RULE, combined([tuple(row.values()) for row in rows]), strict=True))
        assert live[column] == rolled[column]


def test_the_fields_of_a_bar_stand_in_the_order_of_the_rule():
    fields = [name for name in Bar.__struct_fields__ if name in BAR_RULE]
    assert fields == list(BAR_RULE)
    (bar,) = [bar for bar in fed([trade(0, 1), trade(9, 2)]).closed() if bar.timeframe == "1s"]
    assert values_of(bar) == (10.0, 10.0, 10.0, 10.0, 1.0, 10.0, 1, 1.0, 10.0, 0, START + 50 * MS_NS)


def test_places_order_trades_as_cleaning_does():
    ids = ["b", "10", 9, "-3", "a10", "a9", "", "1_0", "99999999999999999999", "+4", "007", 2**62]
    assert [t.trade_id for t in sorted((trade(1, each) for each in ids), key=place_of)] == [
        "", "1_0", "99999999999999999999", "a10", "a9", "b", "-3", "+4", "007", 9, "10", 2**62,
    ]  # fmt: skip
