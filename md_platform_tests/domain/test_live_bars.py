"""Live bars against batch: whatever the order and lateness of the trades, the bars are those of the polars rule."""

from itertools import groupby

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from md_platform.domain.bars import roll_up
from md_platform.domain.live_bars import LIVE_TIMEFRAMES, MINUTE_NS, SECOND_NS, LiveBars
from md_platform.domain.live_cascade import DAY_NS
from md_platform_tests.domain.live_tapes import (
    BTC,
    LATENESS,
    MS_NS,
    START,
    arriving,
    assert_equal,
    batch,
    fed,
    moment,
    names,
    table,
    tapes,
    trade,
)


@settings(deadline=None)
@given(st.data(), tapes())
def test_any_order_within_the_lateness_gives_the_bars_of_batch(data, tape):
    bars = LiveBars(BTC, complete_since_ns=START)
    closed = []
    for each in arriving(data.draw, tape, LATENESS - 1):
        assert bars.add(each)
        if data.draw(st.integers(0, 4)) == 0:  # when anybody asks changes nothing
            closed += bars.closed()
            bars.running()
    end = START + 3 * DAY_NS
    bars.advance(end)
    closed += bars.closed()
    assert_equal(table(closed), batch(tape, end))
    assert {bar.revision for bar in closed} == {0}
    assert len(closed) == len({(bar.timeframe, bar.open_time) for bar in closed})
    assert bars.running() == []


@settings(deadline=None)
@given(st.data(), tapes(), st.sampled_from([0, 700 * MS_NS, LATENESS]))
def test_late_trades_give_revisions_whose_last_is_batch(data, tape, lateness):
    bars = LiveBars(
        BTC,
        complete_since_ns=START,
        lateness_ns=lateness,
        remember_seconds_ns=9 * DAY_NS,
        remember_minutes_ns=9 * DAY_NS,
    )
    for each in data.draw(st.permutations(tape)):
        assert bars.add(each)
        if data.draw(st.integers(0, 4)) == 0:
            bars.advance(each.ts_event + data.draw(st.sampled_from([0, SECOND_NS, 3 * MINUTE_NS, DAY_NS])))
    end = START + 5 * DAY_NS
    bars.advance(end)
    closed = bars.closed()
    assert_equal(table(closed), batch(tape, end), but=["revision"])
    by_key = sorted(closed, key=lambda bar: (bar.timeframe, bar.open_time))  # stable: in the order reported
    for _, versions in groupby(by_key, key=lambda bar: (bar.timeframe, bar.open_time)):
        revisions = [bar.revision for bar in versions]
        assert revisions == sorted(set(revisions))
    # By the rule: a longer bar's revision is the sum of its members', its known_at the last.
    last = table(closed)
    minutes = last.filter(pl.col("timeframe") == "1m")
    for timeframe in LIVE_TIMEFRAMES[2:-2]:
        rolled = roll_up(minutes.lazy(), timeframe, moment(end)).collect()
        mine = last.filter(pl.col("timeframe") == timeframe.value)
        assert mine.select("revision", "known_at").equals(rolled.select("revision", "known_at"))


@settings(deadline=None)
@given(st.data(), tapes(), st.integers(0, 40))
def test_resuming_anywhere_is_as_if_never_stopped(data, tape, stop):
    arrivals = arriving(data.draw, tape, 3 * MINUTE_NS)
    with_seconds = data.draw(st.booleans())
    whole = fed(arrivals[:stop])
    before = whole.closed()
    running = whole.running()
    clock = max((t.ts_event for t in arrivals[:stop]), default=START)
    since = max(START, (clock - 10 * MINUTE_NS) // MINUTE_NS * MINUTE_NS)
    stored = {(bar.timeframe, bar.open_time): bar for bar in before if bar.timeframe in {"1s", "1m"}}
    minutes = [bar for bar in stored.values() if bar.timeframe == "1m"]
    seconds = [bar for bar in stored.values() if bar.timeframe == "1s" and bar.open_time >= since]
    again = LiveBars(BTC, complete_since_ns=since)
    kept = [t for t in data.draw(st.permutations(arrivals[:stop])) if t.ts_event >= since]
    again.resume(minutes + (seconds if with_seconds else []), kept, START, clock // MINUTE_NS * MINUTE_NS)
    repeated = again.closed()
    assert {bar.timeframe for bar in repeated} <= (set() if with_seconds else {"1s"})
    assert all(stored["1s", bar.open_time].close == bar.close for bar in repeated)
    assert {*names(again.running())} <= {*names(running)}
    for bars in (whole, again):
        assert bars.add_all(arrivals[stop:]) == []
        bars.advance(START + 3 * DAY_NS)
    rest, mine = ([bar for bar in bars.closed() if bar.timeframe != "1s" or with_seconds] for bars in (whole, again))
    assert [(b.timeframe, b.open_time, b.revision) for b in mine] == [
        (b.timeframe, b.open_time, b.revision) for b in rest
    ]
    assert_equal(table(mine), table(rest))


def test_a_bar_closes_when_the_clock_passes_its_end_by_the_lateness():
    bars = fed([trade(0.5, 1), trade(2.999, 2)])
    assert bars.closed() == []
    bars.add(trade(3.0, 3))
    assert names(bars.closed()) == [("1s", 0)]
    bars.advance(START + 61_999 * MS_NS)
    assert names(bars.closed()) == [("1s", 2), ("1s", 3)]
    bars.advance(START + 62_000 * MS_NS)
    bars.advance(START)  # a clock does not go back
    assert names(bars.closed()) == [("1m", 0)]
    bars.advance(START + DAY_NS + LATENESS)
    assert [name for name, _ in names(bars.closed())] == ["5m", "15m", "30m", "1h", "4h", "1d"]


def test_a_late_trade_revises_every_closed_bar_that_holds_it():
    bars = fed([trade(1, 5, 10.0), trade(310, 6, 11.0)])
    assert names(bars.closed()) == [("1s", 1), ("1m", 0), ("5m", 0)]
    bars.running()
    bars.add(trade(0.5, 1, 12.0, received=START + 400 * SECOND_NS))
    revised = bars.closed()
    assert names(revised) == [("1s", 0), ("1m", 0), ("5m", 0)]
    assert [(bar.open, bar.close, bar.revision) for bar in revised] == [
        (12.0, 12.0, 1),
        (12.0, 10.0, 1),
        (12.0, 10.0, 1),
    ]
    assert {bar.known_at for bar in revised} == {START + 400 * SECOND_NS}
    assert names(bars.running()) == [
        ("15m", 0), ("30m", 0), ("1h", 0), ("4h", 0), ("1d", 0), ("1w", -2 * 86_400), ("1M", -27 * 86_400),
    ]  # fmt: skip
    bars.add(trade(120, 2))  # a minute that had none: revision 0 said so
    assert [(bar.timeframe, bar.revision) for bar in bars.closed()] == [("1s", 1), ("1m", 1), ("5m", 2)]


def test_running_bars_are_those_that_changed():
    bars = fed([trade(30, 1, 10.0), trade(31, 2, 11.0)])
    assert names(bars.running())[:4] == [("1s", 30), ("1s", 31), ("1m", 0), ("5m", 0)]
    assert bars.running() == []
    bars.add(trade(31.5, 3, 12.0))
    running = bars.running()
    assert [(bar.timeframe, bar.open, bar.close, bar.is_closed) for bar in running[:3]] == [
        ("1s", 11.0, 12.0, False), ("1m", 10.0, 12.0, False), ("5m", 10.0, 12.0, False),
    ]  # fmt: skip
    assert len(running) == len(LIVE_TIMEFRAMES)


@settings(deadline=None)
@given(tapes())
def test_running_bars_are_what_batch_says_of_the_trades_so_far(tape):
    bars = fed(sorted(tape, key=lambda t: t.ts_event))
    running = [bar for bar in bars.running() if bar.timeframe not in ("1w", "1M")]  # of days before START, too
    end = START + 9 * DAY_NS
    expected = batch(tape, end)
    both = table(bars.closed() + running)
    assert both.height == len({*names(bars.closed()), *names(running)}) + both.filter("is_closed").height
    assert_equal(both, expected, but=["is_closed"])


def test_what_is_forgotten_is_too_late_and_said_so():
    bars = LiveBars(
        BTC, complete_since_ns=START, remember_seconds_ns=10 * SECOND_NS, remember_minutes_ns=600 * SECOND_NS
    )
    assert bars.add_all([trade(0, 1), trade(700, 2)]) == []
    bars.closed()
    old = trade(99, 3)
    assert bars.add_all([old, trade(690, 4), trade(110, 5)]) == [old]
    assert names(bars.closed()) == [("1s", 690), ("1m", 60), ("5m", 0)]
    assert bars.too_late_for_seconds == 1


def test_memory_is_bounded():
    bars = LiveBars(BTC, complete_since_ns=START, remember_minutes_ns=3_600 * SECOND_NS)
    for minute in range(3 * 1_440):
        bars.add(trade(minute * 60, minute))
        bars.closed()
    assert len(bars._periods._seconds) <= 16
    assert len(bars._periods._minutes) <= 62
    assert sum(map(len, bars._periods.cascade._bars)) < 62 + 5 + 20 + 12 + 6 + 5 + 4 + 8
    assert len(bars._periods._due) < 12
    assert len(bars._periods._changed_minutes) <= 62  # though nobody asks what runs
