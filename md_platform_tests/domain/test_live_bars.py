"""Live bars against batch: whatever the order and lateness of the trades, the bars are those of the polars rule."""

import datetime as dt
from itertools import groupby

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from md_platform.domain.bars import BAR_RULE, bars_from_trades, roll_up
from md_platform.domain.events import Bar, Trade
from md_platform.domain.holes import Holes
from md_platform.domain.intervals import UTC, Timeframe
from md_platform.domain.live_bars import LIVE_TIMEFRAMES, MINUTE_NS, SECOND_NS, LiveBars
from md_platform.domain.live_cascade import DAY_NS
from md_platform.domain.live_parts import combined, joined, part_of, place_of, values_of
from md_platform.domain.schemas import BAR_COLUMNS, CLEANED_TRADES, RAW_BARS
from md_platform.errors import InvalidRange
from md_platform.transforms.cleaned import clean_trades
from md_platform.transforms.resampled import resample

BTC = "sandbox:BTC-USDT"
MS_NS = 1_000_000
START = 1_709_078_400 * SECOND_NS  # 2024-02-28, a UTC midnight
LATENESS = 2 * SECOND_NS
COLUMNS = [column.name for column in BAR_COLUMNS]
KEY = ["timeframe", "open_time"]


def trade(seconds, trade_id, price=10.0, size=1.0, *, side="buy", count=1, received=None):
    ts = START + round(seconds * 1_000) * MS_NS
    return Trade(BTC, ts, ts + 50 * MS_NS if received is None else received, trade_id, price, size, side, count)


def moment(ns):
    return dt.datetime.fromtimestamp(ns // SECOND_NS, UTC) + dt.timedelta(microseconds=ns % SECOND_NS // 1_000)


def batch(trades, until_ns):
    """Closed bars of every timeframe, by the platform's own batch path."""
    raw = pl.DataFrame(
        {
            "instrument": BTC,
            "ts_event": [moment(t.ts_event) for t in trades],
            "ts_received": [moment(t.ts_received) for t in trades],
            "trade_id": [str(t.trade_id) for t in trades],
            "price": [t.price for t in trades],
            "size": [t.size for t in trades],
            "taker_side": [t.taker_side for t in trades],
            "trade_count": [t.trade_count for t in trades],
            "source": "trades",
        },
        schema=CLEANED_TRADES.schema,
    )
    cleaned = clean_trades(raw)
    assert cleaned.rejected.is_empty()
    seconds, minutes = (
        bars_from_trades(cleaned.kept.lazy(), timeframe, moment(until_ns)).collect()
        for timeframe in (Timeframe.S1, Timeframe.M1)
    )
    bars = pl.concat([seconds, minutes, resample(minutes, moment(until_ns))])
    return bars.filter("is_closed").sort(KEY)


def table(bars):
    """Live bars as a frame, the newest revision of each."""
    latest = {(bar.timeframe, bar.open_time): bar for bar in bars}
    rows = [
        {name: getattr(bar, name) for name in COLUMNS}
        | {name: moment(getattr(bar, name)) for name in ("open_time", "close_time", "known_at")}
        for bar in latest.values()
    ]
    return pl.DataFrame(rows, schema=RAW_BARS.schema, orient="row").sort(KEY)


def assert_equal(live, expected, *, but=()):
    assert_frame_equal(live.drop(but), expected.drop(but), rel_tol=1e-9, abs_tol=0)
    exact = [name for name, how in BAR_RULE.items() if how != "sum" or name == "trade_count"]
    exact = [*KEY, *(name for name in exact if name not in but)]
    assert_frame_equal(live.select(exact), expected.select(exact), check_exact=True)


def fed(trades, **given):
    bars = LiveBars(BTC, complete_since_ns=START, **given)
    assert bars.add_all(trades) == []
    return bars


# Times bunch together, so that trades share milliseconds, seconds and minutes.
instants = st.builds(
    lambda minute, second, ms: (minute * 60 + second) + ms / 1_000,
    st.sampled_from([0, 1, 2, 4, 5, 14, 15, 59, 60, 239, 240, 300, 1_439, 1_440, 1_442]),
    st.sampled_from([0, 1, 2, 30, 58, 59]),
    st.sampled_from([0, 1, 500, 999]),
)
made_ids = st.sampled_from([
    lambda n: n,
    str,
    lambda n: f"t{n}",
    lambda n: str(n) if n % 3 else f"x-{n}",
])  # fmt: skip


@st.composite
def tapes(draw, max_size=40):
    """Trades in the order of their ids, which need not be that of their times."""
    rows = draw(
        st.lists(
            st.tuples(
                instants,
                st.integers(1, 10**6),
                st.floats(1e-6, 1e6),
                st.sampled_from(["buy", "sell", "sell", None]),
                st.integers(1, 5),
            ),
            min_size=1,
            max_size=max_size,
        )
    )
    id_of = draw(made_ids)
    return [
        trade(at, id_of(n), price / 100, size, side=side, count=count)
        for n, (at, price, size, side, count) in enumerate(rows)
    ]


def arriving(draw, tape, most_ns):
    """The tape as it might arrive: each trade up to `most_ns` after a trade of its own time would."""
    delays = draw(st.lists(st.integers(0, most_ns), min_size=len(tape), max_size=len(tape)))
    return [t for _, _, t in sorted((t.ts_event + d, n, t) for n, (t, d) in enumerate(zip(tape, delays, strict=True)))]


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


def names(bars):
    return [(bar.timeframe, (bar.open_time - START) // SECOND_NS) for bar in bars]


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
    assert holes.overlap(40, 90) == bool(missing & {*range(40, 90)})
