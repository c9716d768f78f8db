"""Where the price is heading: averages, channels around them, directional movement, stops. Prices in, prices or % out.

Where TA-Lib divides 0 by 0 (a market that does not move) it answers 0, and so do these unless they say otherwise.
"""

from typing import Annotated

from md_platform.domain.indicators.lines import NAN, earlier, is_known, ta, where
from md_platform.domain.indicators.ohlcv import FloatArray, Ohlcv
from md_platform.domain.indicators.registry import (
    Bounds,
    Multiple,
    Output,
    Outputs,
    Period,
    ema_memory,
    indicator,
    settled_after,
    wilder_memory,
)


@indicator(
    inputs="close",
    outputs=(Output("sma", "quote", "mean of the last closes"),),
    lookback=lambda period: period - 1,
    source="TA-Lib SMA",
    overlay=True,
)
def sma(bars: Ohlcv, period: Period = 20) -> Outputs:
    """Simple moving average of the close."""
    return (ta.SMA(bars.close, period),)


@indicator(
    inputs="close",
    outputs=(Output("ema", "quote", "exponentially weighted mean of closes, weight 2 / (period + 1)"),),
    lookback=lambda period: period - 1,
    memory=lambda period: period - 1 + ema_memory(period),
    source="TA-Lib EMA",
    overlay=True,
)
def ema(bars: Ohlcv, period: Period = 20) -> Outputs:
    """Exponential moving average of the close, seeded with the SMA of the first `period` closes."""
    return (ta.EMA(bars.close, period),)


@indicator(
    inputs="close",
    outputs=(Output("wma", "quote", "linearly weighted mean of the last closes, the latest weighs most"),),
    lookback=lambda period: period - 1,
    source="TA-Lib WMA",
    overlay=True,
)
def wma(bars: Ohlcv, period: Period = 20) -> Outputs:
    """Linearly weighted moving average of the close."""
    return (ta.WMA(bars.close, period),)


@indicator(
    inputs="close",
    outputs=(Output("dema", "quote", "2·EMA - EMA(EMA)"),),
    lookback=lambda period: 2 * (period - 1),
    memory=lambda period: 2 * (period - 1) + ema_memory(period, stages=2),
    source="TA-Lib DEMA; P. Mulloy, Technical Analysis of Stocks & Commodities 12:1 (1994)",
    overlay=True,
)
def dema(bars: Ohlcv, period: Period = 20) -> Outputs:
    """Double exponential moving average of the close."""
    return (ta.DEMA(bars.close, period),)


@indicator(
    inputs="close",
    outputs=(Output("tema", "quote", "3·EMA - 3·EMA(EMA) + EMA(EMA(EMA))"),),
    lookback=lambda period: 3 * (period - 1),
    memory=lambda period: 3 * (period - 1) + ema_memory(period, stages=3),
    source="TA-Lib TEMA; P. Mulloy, Technical Analysis of Stocks & Commodities 12:1 (1994)",
    overlay=True,
)
def tema(bars: Ohlcv, period: Period = 20) -> Outputs:
    """Triple exponential moving average of the close."""
    return (ta.TEMA(bars.close, period),)


@indicator(
    inputs="close",
    outputs=(Output("kama", "quote", "average that follows fast in a trend and slowly in noise"),),
    lookback=lambda period: period,
    # In pure noise its weight falls to (2/31)², whatever the period: the slowest it can forget.
    memory=lambda period: period + settled_after((2 / 31) ** 2),
    source="TA-Lib KAMA; P. Kaufman, Smarter Trading (1995), constants 2 and 30",
    overlay=True,
)
def kama(bars: Ohlcv, period: Period = 10) -> Outputs:
    """Kaufman's adaptive moving average of the close; `period` is the window of its efficiency ratio."""
    return (ta.KAMA(bars.close, period),)


@indicator(
    inputs="close",
    outputs=(Output("hma", "quote", "WMA(√n) of 2·WMA(n/2) - WMA(n)"),),
    lookback=lambda period: period - 1 + int(period**0.5) - 1,
    source="TA-Lib HMA; A. Hull (2005)",
    overlay=True,
)
def hma(bars: Ohlcv, period: Period = 20) -> Outputs:
    """Hull moving average of the close."""
    return (ta.HMA(bars.close, period),)


@indicator(
    inputs="close",
    outputs=(
        Output("macd", "quote", "fast EMA - slow EMA"),
        Output("macd_signal", "quote", "EMA of macd"),
        Output("macd_hist", "quote", "macd - macd_signal"),
    ),
    lookback=lambda _fast, slow, signal: slow - 1 + signal - 1,
    memory=lambda _fast, slow, signal: slow + signal + ema_memory(max(slow, signal), stages=2),
    source="TA-Lib MACD; G. Appel (1979)",
    ascending=("fast", "slow"),
)
def macd(bars: Ohlcv, fast: Period = 12, slow: Period = 26, signal: Period = 9) -> Outputs:
    """Moving average convergence/divergence of the close; all three start with the signal."""
    return tuple(ta.MACD(bars.close, fast, slow, signal))


@indicator(
    inputs="high low",
    outputs=(Output("sar", "quote", "level at which the trend is taken to turn"),),
    lookback=lambda *_: 1,
    # Two paths are one from the first reversal they share on; with the usual 0.02 they meet within tens of bars.
    memory=lambda acceleration, _: round(8 / acceleration),
    source="TA-Lib SAR; J. W. Wilder, New Concepts in Technical Trading Systems (1978)",
    overlay=True,
)
def sar(
    bars: Ohlcv,
    acceleration: Annotated[float, Bounds(0.001, 1)] = 0.02,
    maximum: Annotated[float, Bounds(0.01, 1)] = 0.2,
) -> Outputs:
    """Parabolic stop and reverse.

    Path-dependent: the first two bars of the series (in stored values, of the memory before the day) give the
    direction it starts in and its first extreme. It equals another start's path bit for bit after a shared reversal.
    """
    return (ta.SAR(bars.high, bars.low, acceleration, maximum),)


@indicator(
    inputs="high low close",
    outputs=(Output("adx", "%", "strength of the trend whatever its direction, 0 to 100"),),
    lookback=lambda period: 2 * period - 1,
    memory=lambda period: 2 * period - 1 + wilder_memory(period, stages=2),
    source="TA-Lib ADX; J. W. Wilder, New Concepts in Technical Trading Systems (1978)",
)
def adx(bars: Ohlcv, period: Period = 14) -> Outputs:
    """Average directional movement index."""
    return (ta.ADX(bars.high, bars.low, bars.close, period),)


@indicator(
    inputs="high low close",
    outputs=(Output("plus_di", "%", "upward movement relative to the true range, 0 to 100"),),
    lookback=lambda period: period,
    memory=lambda period: period + wilder_memory(period),
    source="TA-Lib PLUS_DI; J. W. Wilder, New Concepts in Technical Trading Systems (1978)",
)
def plus_di(bars: Ohlcv, period: Period = 14) -> Outputs:
    """Positive directional indicator, +DI."""
    return (ta.PLUS_DI(bars.high, bars.low, bars.close, period),)


@indicator(
    inputs="high low close",
    outputs=(Output("minus_di", "%", "downward movement relative to the true range, 0 to 100"),),
    lookback=lambda period: period,
    memory=lambda period: period + wilder_memory(period),
    source="TA-Lib MINUS_DI; J. W. Wilder, New Concepts in Technical Trading Systems (1978)",
)
def minus_di(bars: Ohlcv, period: Period = 14) -> Outputs:
    """Negative directional indicator, -DI."""
    return (ta.MINUS_DI(bars.high, bars.low, bars.close, period),)


@indicator(
    inputs="high low",
    outputs=(
        Output("aroon_up", "%", "100 when the highest high of the window is the latest bar, 0 when the oldest"),
        Output("aroon_down", "%", "100 when the lowest low of the window is the latest bar, 0 when the oldest"),
    ),
    lookback=lambda period: period,
    source="TA-Lib AROON; T. Chande (1995)",
)
def aroon(bars: Ohlcv, period: Period = 14) -> Outputs:
    """Aroon; of equal extremes the latest counts, so both are 100 when prices do not move."""
    down, up = ta.AROON(bars.high, bars.low, period)
    return (up, down)


@indicator(
    inputs="high low",
    outputs=(Output("aroonosc", "%", "Aroon up - Aroon down, -100 to 100"),),
    lookback=lambda period: period,
    source="TA-Lib AROONOSC; T. Chande (1995)",
)
def aroonosc(bars: Ohlcv, period: Period = 14) -> Outputs:
    """Aroon oscillator."""
    return (ta.AROONOSC(bars.high, bars.low, period),)


@indicator(
    inputs="high low close",
    outputs=(
        Output(
            "supertrend", "quote", "the band that follows the price: below it in an up-trend, above in a down-trend"
        ),
        Output("supertrend_direction", "", "1 up, -1 down"),
    ),
    lookback=lambda period, _: period,
    # The bands settle with the average range; the path is shared from the first reversal in both of them on, and
    # reversals come the more seldom the wider the bands are.
    memory=lambda period, multiple: period + wilder_memory(period) + round(100 * multiple),
    source="TA-Lib SUPERTREND; O. Seban (2008)",
    overlay=True,
)
def supertrend(bars: Ohlcv, period: Period = 10, multiple: Multiple = 3.0) -> Outputs:
    """SuperTrend: median price ± `multiple` average true ranges, ratcheted in the direction of the trend.

    Path-dependent: a series (in stored values, the memory before the day) starts in an up-trend.
    """
    level, direction = ta.SUPERTREND(bars.high, bars.low, bars.close, period, multiple)
    return (level, where(is_known(level), 1.0 * direction, NAN))


@indicator(
    inputs="high low",
    outputs=(
        Output("ichimoku_conversion", "quote", "tenkan-sen: middle of the range of `conversion` bars"),
        Output("ichimoku_base", "quote", "kijun-sen: middle of the range of `base` bars"),
        Output("ichimoku_span_a", "quote", "senkou span A: mean of conversion and base, `base` bars ago"),
        Output("ichimoku_span_b", "quote", "senkou span B: middle of the range of `span` bars, `base` bars ago"),
    ),
    lookback=lambda _conversion, base, span: span - 1 + base,
    source="G. Hosoda, Ichimoku Kinko Hyo (1969), over TA-Lib MIDPRICE",
    ascending=("conversion", "base", "span"),
    overlay=True,
)
def ichimoku(bars: Ohlcv, conversion: Period = 9, base: Period = 26, span: Period = 52) -> Outputs:
    """Ichimoku lines as known at the bar: the cloud over it was drawn `base` bars before.

    The lagging line (chikou) is the close drawn `base` bars back; as a column it would look ahead, so there is none.
    The lines start after their own windows; `lookback` is where the last of them, span B, starts.
    """
    fast: FloatArray = ta.MIDPRICE(bars.high, bars.low, conversion)
    slow: FloatArray = ta.MIDPRICE(bars.high, bars.low, base)
    wide: FloatArray = ta.MIDPRICE(bars.high, bars.low, span)
    return (fast, slow, earlier((fast + slow) / 2, base), earlier(wide, base))
