"""Custom formulas: what they are worth, and what is refused."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from md_platform.domain.expressions import parse_expression
from md_platform.domain.indicators import Ohlcv, parse_spec
from md_platform.errors import InvalidExpression
from md_platform_tests.rows import DAY0, day_of_bars

BARS = Ohlcv.from_frame(day_of_bars(DAY0.date(), range(300)))


def worth(text):
    return parse_expression(text).evaluate(BARS)


def indicator(text, output=0):
    return parse_spec(text).evaluate(BARS)[output]


def test_arithmetic_and_comparison_of_indicators():
    distance = (BARS.close - indicator("sma(20)")) / indicator("atr(14)")
    assert np.allclose(worth("(close - sma(20)) / atr(14)"), distance, equal_nan=True)
    wanted = np.where(np.isnan(distance), np.nan, distance > 1)
    assert np.array_equal(worth("(close - sma(20)) / atr(14) > 1"), wanted, equal_nan=True)


def test_outputs_defaults_and_functions():
    assert np.array_equal(worth("macd(12,26,9).signal"), indicator("macd(12,26,9)", 1), equal_nan=True)
    assert np.array_equal(worth("rsi"), indicator("rsi"), equal_nan=True)
    assert np.array_equal(worth("max(open, close) - min(open, close)"), np.abs(BARS.open - BARS.close))
    assert np.allclose(worth("-close ** 2 / 7"), -(BARS.close**2) / 7)
    moved = worth("shift(close, 3)")
    assert np.isnan(moved[:3]).all()
    assert np.array_equal(moved[3:], BARS.close[:-3])


def test_logic_is_of_ones_and_zeros_and_unknown_stays_unknown():
    assert set(worth("close > 100 and not (volume > 5) or open < 0")) <= {0.0, 1.0}
    assert math.isnan(worth("sma(20) > 0 or close > 0")[0])
    assert np.isnan(worth("close / (close - close)")).all()
    assert np.isnan(worth("log(0 - close)")).all()


def test_so_many_bars_are_needed():
    parsed = parse_expression("shift(sma(20), 5) > ema(10)")
    assert parsed.lookback == 19 + 5
    assert parsed.memory == max(parse_spec("ema(10)").memory, 19 + 5)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("__import__('os').system('x')", 1),
        ("close.__class__", 1),
        ("(lambda: 1)()", 1),
        ("[close for close in open]", 1),
        ("close + 'a'", 9),
        ("close if open else low", 1),
        ("f'{close}'", 1),
        ("close[0]", 1),
        ("1 < close < 2", 1),
        ("sma(close)", 5),
        ("sma(1)", 1),
        ("close + nope(3)", 9),
        ("stoch > 1", 1),
        ("macd.nope", 1),
        ("max(close)", 1),
        ("shift(close, -1)", 1),
        ("close @ open", 1),
        ("sma(period=3)", 1),
        ("True", 1),
        ("close and 1e999999999999999999999j", 11),
    ],
)
def test_what_is_refused_is_refused_at_its_place(text, place):
    with pytest.raises(InvalidExpression, match=f"^at character {place}: "):
        parse_expression(text)


@pytest.mark.parametrize(
    "text", ["", "close +", "x = 1", "close\0", "(" * 300, "-" * 450 + "1", "1+" * 240 + "1", "a" * 501]
)
def test_text_that_is_no_expression_or_too_much_is_refused(text):
    with pytest.raises(InvalidExpression):
        parse_expression(text)


@given(st.text(alphabet="closevumehigrsi_.,()+-*/%<>=! 0123456789'[]{}:@\n", max_size=80))
def test_any_text_is_an_expression_or_refused(text):
    try:
        parsed = parse_expression(text)
    except InvalidExpression:
        return
    assert len(parsed.evaluate(BARS)) == len(BARS)
