"""Two accounts of the same market: what differs is named with both values, what does not matter is left out."""

import polars as pl
import pytest

from md_platform.quality.reconcile import NAMED, compare_bars, compare_trades
from md_platform_tests.rows import bar, bar_rows, trade, trade_rows

BARS = bar_rows([bar(0), bar(1), bar(2)])


def changed(**given: object) -> pl.DataFrame:
    return bar_rows([bar(0), bar(1, **given), bar(2)])


def test_bars_that_say_the_same_agree():
    other = changed(volume=4.0 * (1 + 1e-10), revision=3, source="venue", known_at=None)
    result = compare_bars(BARS, other)
    assert result.agrees
    assert (result.compared, result.equal, result.differing_bars) == (3, 3, 0)


@pytest.mark.parametrize(
    ("name", "value"),
    [("open", 10.000000001), ("high", 11.5), ("trade_count", 4), ("trade_count", None), ("volume", 4.00001),
     ("quote_volume", None), ("taker_buy_volume", 0.0)],
)  # fmt: skip
def test_a_value_that_differs_is_named_with_both(name, value):
    result = compare_bars(BARS, changed(**{name: value}))
    assert not result.agrees
    assert (result.equal, result.differing_bars) == (2, 1)
    expected = bar_rows([bar(1)]).select("open_time", pl.lit(name), pl.col(name).cast(pl.Float64)).row(0)
    assert result.differing.rows() == [(*expected, value)]


def test_bars_that_one_side_lacks_are_named():
    result = compare_bars(BARS[1:], BARS[:2])
    assert result.only_live.to_list() == [BARS["open_time"][2]]
    assert result.only_batch.to_list() == [BARS["open_time"][0]]
    assert not result.agrees
    assert compare_bars(BARS, BARS.clear()).only_live.len() == 3


def test_trades_are_compared_by_id():
    live = trade_rows([trade(0, "1"), trade(1, "2"), trade(2, "3"), trade(3, "9")])
    history = trade_rows([trade(0.0001, "1"), trade(1, "2", 11.0), trade(1, "2", 12.0), trade(2, "3"), trade(4, "10")])
    told = compare_trades(live, history).evidence()
    counts = {name: part if name == "shared" else (part["count"], part["ids"]) for name, part in told.items()}
    assert counts == {"shared": 3, "only_live": (1, ["9"]), "only_history": (1, ["10"]), "differing": (1, ["2"])}
    assert told["differing"]["first"] == {"trade_id": "2", "ts_event": "2024-02-26T00:00:01+00:00"}


def test_of_many_the_first_are_named():
    live = trade_rows(trade(n, str(n)) for n in range(NAMED + 5))
    part = compare_trades(live, live.clear()).evidence()["only_live"]
    assert (part["count"], len(part["ids"]), part["last"]["trade_id"]) == (NAMED + 5, NAMED, str(NAMED + 4))
