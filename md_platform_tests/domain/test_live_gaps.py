"""Live bars where trades are missing: what overlaps a hole waits, and is repaired from history."""

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from md_platform.domain.events import Bar
from md_platform.domain.holes import Holes
from md_platform.domain.intervals import Timeframe
from md_platform.domain.live_bars import LIVE_TIMEFRAMES, MINUTE_NS, SECOND_NS, LiveBars
from md_platform.domain.live_cascade import DAY_NS
from md_platform.errors import InvalidRange
from md_platform_tests.domain.live_tapes import (
    BTC,
    MS_NS,
    START,
    arriving,
    assert_equal,
    batch,
    fed,
    instants,
    names,
    table,
    tapes,
    trade,
)


def test_bars_that_began_before_the_trades_are_never_closed():
    bars = LiveBars(BTC, complete_since_ns=START + 90 * SECOND_NS + 1)
    bars.add_all([trade(0, n) for n in (80,)] + [trade(n, n) for n in (91, 130)])
    bars.advance(START + 301 * SECOND_NS)
    assert names(bars.closed()) == [("1s", 91), ("1s", 130), ("1m", 120)]
    bars.advance(START + 2 * DAY_NS)
    assert bars.closed() == []
    assert [bars.incomplete(timeframe) for timeframe in LIVE_TIMEFRAMES] == [
        [START + 90 * SECOND_NS], [START + MINUTE_NS], *[[START]] * 6, [START - 2 * DAY_NS], [START - 27 * DAY_NS],
    ]  # fmt: skip
    assert ("1d", 0) in names(bars.running())


def test_whole_seconds_of_a_minute_that_waits_for_history_do_not_wait_with_it():
    """As in the minute in which a feed is connected to for the first time."""
    bars = LiveBars(BTC, complete_since_ns=START + 10 * SECOND_NS)
    bars.gap(START, START + MINUTE_NS, seconds_end_ns=START + 15 * SECOND_NS)
    bars.add_all([trade(12, 1), trade(20, 2), trade(40, 3), trade(70, 4)])
    bars.advance(START + 75 * SECOND_NS)
    assert names(bars.closed()) == [("1s", 20), ("1s", 40), ("1s", 70)]
    assert bars.incomplete(Timeframe.M1) == [START]


def test_bars_that_overlap_a_gap_wait_for_their_repair():
    bars = fed([trade(10, 1, 10.0), trade(70, 2, 11.0)])
    bars.gap(START + 71 * SECOND_NS, START + 130 * SECOND_NS)
    bars.add_all([trade(140, 3, 12.0), trade(190, 4, 13.0), trade(310, 5, 14.0)])
    assert [each for each in names(bars.closed()) if each[0] != "1s"] == [("1m", 0), ("1m", 180)]
    assert bars.incomplete(Timeframe.M1) == [START + MINUTE_NS, START + 2 * MINUTE_NS]
    assert bars.incomplete(Timeframe.M5) == [START]
    assert bars.incomplete(Timeframe.H1) == [START]
    history = [bar for bar in fed([trade(70, 2, 11.0), trade(99, 9, 20.0), trade(140, 3, 12.0), trade(310, 5)]).closed()
               if bar.timeframe == "1m"]  # fmt: skip
    bars.repair(history, START + MINUTE_NS, START + 3 * MINUTE_NS)
    repaired = bars.closed()
    assert names(repaired) == [("1m", 60), ("1m", 120), ("5m", 0)]
    assert [(bar.high, bar.trade_count, bar.revision) for bar in repaired] == [(20.0, 2, 0), (12.0, 1, 0), (20.0, 5, 0)]
    assert bars.incomplete(Timeframe.M1) == bars.incomplete(Timeframe.H1) == []
    assert bars.incomplete(Timeframe.S1) == [START + n * SECOND_NS for n in range(71, 130)]
    assert not bars.add(trade(75, 7))  # history has spoken
    bars.repair(history, START + MINUTE_NS, START + 3 * MINUTE_NS)
    assert bars.closed() == []


def bars_in(frame):
    """The rows of a batch frame as live bars."""
    ns = [pl.col(name).dt.timestamp("us") * 1_000 for name in ("open_time", "close_time", "known_at")]
    return [Bar(**{name: row[name] for name in Bar.__struct_fields__}) for row in frame.with_columns(ns).to_dicts()]


@settings(deadline=None)
@given(st.data(), tapes(), st.tuples(instants, instants).map(sorted), st.integers(0, 40))
def test_after_the_repair_of_a_gap_all_is_as_batch_has_it(data, tape, gap, told):
    """Trades of the gap are lost, and it is told when it begins, ends or much later."""
    start, end = (START + round(at * 1_000) * MS_NS for at in (gap[0], gap[1] + 0.5))
    arrivals = [t for t in arriving(data.draw, tape, 4 * SECOND_NS) if not start <= t.ts_event < end]
    bars = LiveBars(BTC, complete_since_ns=START, remember_minutes_ns=9 * DAY_NS)
    for each in arrivals[:told]:
        assert bars.add(each)
    before = bars.closed()
    bars.gap(start, end)
    for each in arrivals[told:]:
        assert bars.add(each)
        if data.draw(st.booleans()):
            bars.running()
    until = START + 3 * DAY_NS
    bars.advance(until)
    after = bars.closed()
    assert not [bar for bar in after if bar.open_time < end and start < bar.close_time]
    first, last = start - start % MINUTE_NS, end - end % -MINUTE_NS
    expected = batch(tape, until)
    minutes = [bar for bar in bars_in(expected) if bar.timeframe == "1m" and first <= bar.open_time < last]
    bars.repair(minutes, first, last)
    assert all(bars.incomplete(timeframe) == [] for timeframe in LIVE_TIMEFRAMES[1:-2])
    closed = [bar for bar in before + after + bars.closed() if bar.timeframe != "1s"]
    assert_equal(table(closed), expected.filter(pl.col("timeframe") != "1s"), but=["revision"])
    assert len({(bar.timeframe, bar.open_time, bar.revision) for bar in closed}) == len(closed)
    bars.repair(minutes, first, last)
    assert bars.closed() == []


def test_a_gap_that_is_found_late_gives_a_revision_of_what_was_reported():
    bars = fed([trade(10, 1, 10.0), trade(310, 2, 11.0)])
    assert ("5m", 0) in names(bars.closed())
    bars.gap(START + 11 * SECOND_NS, START + 200 * SECOND_NS)
    history = [
        b
        for b in fed([trade(10, 1), trade(20, 8, 30.0), trade(130, 9, 9.0), trade(400, 2)]).closed()
        if b.timeframe == "1m"
    ]
    bars.repair(history, START, START + 240 * SECOND_NS)
    assert [(bar.timeframe, bar.high, bar.revision) for bar in bars.closed()] == [
        ("1m", 30.0, 1), ("1m", 9.0, 1), ("5m", 30.0, 2),
    ]  # fmt: skip


def test_a_gap_that_is_found_late_and_filled_by_its_trades_gives_revisions():
    bars = fed([trade(10, 1, 10.0), trade(310, 2, 11.0)])
    assert ("5m", 0) in names(bars.closed())
    bars.gap(START + 11 * SECOND_NS, START + 200 * SECOND_NS)
    assert bars.add_all([trade(20, 8, 30.0), trade(130, 9, 9.0)]) == []
    assert bars.closed() == []
    bars.filled(START + 11 * SECOND_NS, START + 200 * SECOND_NS)
    assert [(bar.timeframe, bar.high, bar.revision) for bar in bars.closed()] == [
        ("1s", 30.0, 0), ("1s", 9.0, 0), ("1m", 30.0, 1), ("1m", 9.0, 1), ("5m", 30.0, 2),
    ]  # fmt: skip


def test_repair_reports_our_own_minute_where_history_agrees_that_all_is_there():
    bars = fed([trade(10, 1)])
    bars.gap(START + 20 * SECOND_NS, START + 30 * SECOND_NS)
    bars.advance(START + 120 * SECOND_NS)
    assert [each for each in names(bars.closed()) if each[0] != "1s"] == []
    bars.repair([], START, START + MINUTE_NS)
    assert names(bars.closed()) == [("1m", 0)]


def test_resuming_and_repairing_take_whole_minutes_at_their_time():
    bars = LiveBars(BTC, complete_since_ns=START)
    for start, end in ((START + 1, START + MINUTE_NS), (START, START + 1)):
        with pytest.raises(InvalidRange, match="whole minutes"):
            bars.resume([], [], start, end)
    bars.add(trade(61, 1))
    with pytest.raises(InvalidRange, match="use repair"):
        bars.resume([], [], START, START + MINUTE_NS)
    with pytest.raises(InvalidRange, match="has ended"):
        bars.repair([], START, START + MINUTE_NS)


def test_a_hole_between_the_store_and_the_trades_is_incomplete():
    first = [bar for bar in fed([trade(10, 1), trade(70, 2), trade(200, 3)]).closed() if bar.timeframe == "1m"]
    bars = LiveBars(BTC, complete_since_ns=START + 150 * SECOND_NS)
    bars.resume(first, [trade(200, 3)], START, START + 120 * SECOND_NS)
    assert [each for each in names(bars.closed()) if each[0] != "1s"] == []
    bars.advance(START + 400 * SECOND_NS)
    assert names(bars.closed()) == [("1s", 200), ("1m", 180)]
    assert bars.incomplete(Timeframe.M1) == [START + 120 * SECOND_NS]
    assert not bars.add(trade(15, 4))  # its minute is stored, its trades are not known


spans = st.tuples(st.integers(10, 60), st.integers(1, 20)).map(lambda row: (row[0], row[0] + row[1]))


@settings(deadline=None)
@given(st.lists(st.tuples(st.booleans(), spans), max_size=12), spans)
def test_holes_are_sets_of_instants(changes, asked):
    """Of the time before the beginning, at 10, no period is named."""
    holes, missing = Holes(10), set()
    for is_gap, (start, end) in changes:
        (holes.add if is_gap else holes.fill)(start, end)
        missing = missing | {*range(start, end)} if is_gap else missing - {*range(start, end)}
    assert holes.overlap(*asked) == bool(missing & {*range(*asked)})
    assert holes.overlap(0, 10)
    assert sorted({at for start, end in holes.until(70) for at in range(start - start % 5, end, 5)}) == sorted(
        {n - n % 5 for n in missing if n - n % 5 < 70}
    )
    holes.forget(40)
