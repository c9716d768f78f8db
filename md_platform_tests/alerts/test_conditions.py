"""Conditions by hand: what begins to hold, what holds on, what only touches."""

import datetime as dt

import pytest

from md_platform.alerts.conditions import (
    ChangeCondition,
    FeedCondition,
    IndicatorCondition,
    PriceCondition,
    QualityCondition,
    StaleCondition,
    VolumeCondition,
    require_possible,
)
from md_platform.domain.events import IndicatorValues
from md_platform.errors import InvalidParameter
from md_platform_tests.live_rows import BTC, SECOND, T0, bar, notice, trade


def hits(condition, events) -> list[int]:
    """Numbers of the events that hit."""
    memory, found = {}, []
    for n, event in enumerate(events):
        memory, hit = condition.seen(memory, event)
        if hit is not None:
            found.append(n)
    return found


@pytest.mark.parametrize(
    ("compare", "expected"),
    [
        ("above", [2, 6]),
        ("below", [0, 4]),
        ("crosses", [2, 4, 6]),
        ("crosses_up", [2, 6]),
        ("crosses_down", [4]),
    ],
)
def test_a_price_hits_when_it_changes_sides_and_a_touch_is_no_side(compare, expected):
    prices = [99.0, 100.0, 101.0, 100.0, 98.0, 100.0, 102.0, 103.0]
    condition = PriceCondition(kind="price", compare=compare, value=100)
    assert hits(condition, [trade(n, price=price) for n, price in enumerate(prices)]) == expected


def test_above_holds_at_once_and_a_crossing_needs_the_other_side():
    rising = [trade(n, price=101.0 + n) for n in range(3)]
    assert hits(PriceCondition(kind="price", compare="above", value=100), rising) == [0]
    assert hits(PriceCondition(kind="price", compare="crosses", value=100), rising) == []


def test_trades_of_before_the_subscription_are_passed_over():
    assert hits(PriceCondition(kind="price", compare="above", value=1), [trade(0, sent_late=True)]) == []


def test_a_change_is_over_its_window():
    closes = [100, 101, 102, 103, 110, 111, 112, 103]
    condition = ChangeCondition(kind="change", compare="above", value=0.05, window_minutes=3)
    assert hits(condition, [bar(n, close=close) for n, close in enumerate(closes)]) == [4]
    assert hits(condition, [bar(n, close=close, is_closed=False) for n, close in enumerate(closes)]) == []


def test_volumes_and_indicators_are_of_closed_bars():
    volumes = [bar(0, volume=1.0), bar(1, volume=9.0, is_closed=False), bar(1, volume=9.0), bar(2, volume=8.0)]
    assert hits(VolumeCondition(kind="volume", compare="above", value=5), volumes) == [2]
    values = [IndicatorValues(BTC, "1m", T0, True, T0, {"rsi_14": value}) for value in (None, 50.0, 29.0, 28.0, 31.0)]
    assert hits(IndicatorCondition(kind="indicator", compare="crosses", value=30, column="rsi_14"), values) == [2, 4]


def test_feeds_hit_each_time():
    condition = FeedCondition(kind="feed", events=["gap", "disconnected"])
    assert hits(condition, [notice(0), notice(1, kind="connected"), notice(2)]) == [0, 2]


def test_silence_hits_once_until_the_next_trade():
    condition = StaleCondition(kind="stale", after_s=10)
    memory = {"since_ns": T0}
    memory, hit = condition.passed(memory, T0 + 9 * SECOND)
    assert hit is None
    memory, hit = condition.passed(memory, T0 + 11 * SECOND)
    assert hit.value == 11
    memory, hit = condition.passed(memory, T0 + 20 * SECOND)
    assert hit is None
    memory, _ = condition.seen(memory, trade(0, ts_received=T0 + 21 * SECOND))
    assert condition.passed(memory, T0 + 30 * SECOND)[1] is None
    assert condition.passed(memory, T0 + 32 * SECOND)[1] is not None


def test_a_day_of_bad_quality_hits_once():
    condition, day = QualityCondition(kind="quality", below=0.9), dt.date(2026, 7, 20)
    memory, hit = condition.scored({}, day, 0.8, T0)
    assert hit.value == 0.8
    memory, hit = condition.scored(memory, day, 0.7, T0)
    assert hit is None
    assert condition.scored(memory, day + dt.timedelta(days=1), 0.7, T0)[1] is not None


def test_what_could_never_hold_is_refused():
    with pytest.raises(InvalidParameter, match="needs an instrument"):
        require_possible(PriceCondition(kind="price", compare="above", value=1), None)
    with pytest.raises(InvalidParameter, match="rsi_15"):
        require_possible(IndicatorCondition(kind="indicator", compare="above", value=1, column="rsi_15"), BTC)
    require_possible(FeedCondition(kind="feed", events=["gap"]), None)
