"""How far prices move: ranges, deviations, and the channels drawn from them. Prices in, prices or fractions out.

Where TA-Lib divides 0 by 0 (a market that does not move) it answers 0, and so do these unless they say otherwise.
"""

from md_platform.domain.indicators.lines import earlier, log, ratio, ta
from md_platform.domain.indicators.ohlcv import FloatArray, Ohlcv
from md_platform.domain.indicators.registry import (
    Multiple,
    Output,
    Outputs,
    Period,
    ema_memory,
    indicator,
    wilder_memory,
)

_SMOOTHED_BY_SMA = 0  # TA-Lib's code of the average in the middle


@indicator(
    inputs="high low close",
    outputs=(Output("atr", "quote", "Wilder's average of the true range"),),
    lookback=lambda period: period,
    memory=lambda period: period + wilder_memory(period),
    source="TA-Lib ATR; J. W. Wilder, New Concepts in Technical Trading Systems (1978)",
)
def atr(bars: Ohlcv, period: Period = 14) -> Outputs:
    """Average true range."""
    return (ta.ATR(bars.high, bars.low, bars.close, period),)


@indicator(
    inputs="high low close",
    outputs=(Output("natr", "%", "average true range relative to the close"),),
    lookback=lambda period: period,
    memory=lambda period: period + wilder_memory(period),
    source="TA-Lib NATR; J. Forman, Technical Analysis of Stocks & Commodities 24:5 (2006)",
)
def natr(bars: Ohlcv, period: Period = 14) -> Outputs:
    """Normalised average true range."""
    return (ta.NATR(bars.high, bars.low, bars.close, period),)


@indicator(
    inputs="close",
    outputs=(Output("stddev", "quote", "population standard deviation of the last closes"),),
    lookback=lambda period: period - 1,
    source="TA-Lib STDDEV",
)
def stddev(bars: Ohlcv, period: Period = 20) -> Outputs:
    """Standard deviation of the close."""
    return (ta.STDDEV(bars.close, period, 1.0),)


@indicator(
    inputs="close",
    outputs=(Output("hv", "", "annualised volatility, a fraction: 0.5 is 50 % a year"),),
    lookback=lambda period: period,
    source="J. Hull, Options, Futures, and Other Derivatives, ch. 15: estimating volatility from historical data",
)
def hv(bars: Ohlcv, period: Period = 20) -> Outputs:
    """Historical volatility: sample standard deviation of the last `period` log returns × √(bars per year)."""
    deviation: FloatArray = ta.STDDEV(log(bars.close / earlier(bars.close, 1)), period, 1.0)
    return (deviation * (period / (period - 1) * bars.bars_per_year) ** 0.5,)


@indicator(
    inputs="high low close",
    outputs=(
        Output("keltner_upper", "quote", "EMA + multiple × average true range"),
        Output("keltner_middle", "quote", "EMA of the close"),
        Output("keltner_lower", "quote", "EMA - multiple × average true range"),
    ),
    lookback=lambda period, atr_period, _: max(period - 1, atr_period),
    memory=lambda period, atr_period, _: max(period - 1 + ema_memory(period), atr_period + wilder_memory(atr_period)),
    source="C. Keltner (1960) as revised by L. Raschke: EMA of the close and ATR, over TA-Lib EMA and ATR",
    overlay=True,
)
def keltner(bars: Ohlcv, period: Period = 20, atr_period: Period = 10, multiple: Multiple = 2.0) -> Outputs:
    """Keltner channel around the EMA of the close, as charts draw it; TA-Lib's KC is around that of the typical price.

    The middle starts after its own window; `lookback` is where the bands do.
    """
    middle: FloatArray = ta.EMA(bars.close, period)
    reach: FloatArray = multiple * ta.ATR(bars.high, bars.low, bars.close, atr_period)
    return (middle + reach, middle, middle - reach)


@indicator(
    inputs="high low",
    outputs=(
        Output("donchian_upper", "quote", "highest high of the last bars, the bar itself included"),
        Output("donchian_middle", "quote", "middle of upper and lower"),
        Output("donchian_lower", "quote", "lowest low of the last bars, the bar itself included"),
    ),
    lookback=lambda period: period - 1,
    source="TA-Lib DONCHIAN; R. Donchian (1960)",
    overlay=True,
)
def donchian(bars: Ohlcv, period: Period = 20) -> Outputs:
    """Donchian channel."""
    return tuple(ta.DONCHIAN(bars.high, bars.low, period))


def _bands(close: FloatArray, period: int, deviations: float) -> Outputs:
    return tuple(ta.BBANDS(close, period, deviations, deviations, _SMOOTHED_BY_SMA))


@indicator(
    inputs="close",
    outputs=(
        Output("bb_upper", "quote", "SMA + deviations × population standard deviation"),
        Output("bb_middle", "quote", "SMA of the close"),
        Output("bb_lower", "quote", "SMA - deviations × population standard deviation"),
    ),
    lookback=lambda period, _: period - 1,
    source="TA-Lib BBANDS; J. Bollinger, Bollinger on Bollinger Bands (2001)",
    overlay=True,
)
def bbands(bars: Ohlcv, period: Period = 20, deviations: Multiple = 2.0) -> Outputs:
    """Bollinger bands."""
    return _bands(bars.close, period, deviations)


@indicator(
    inputs="close",
    outputs=(Output("bb_width", "", "(upper - lower) / middle, a fraction: 0.05 is 5 %"),),
    lookback=lambda period, _: period - 1,
    source="J. Bollinger, Bollinger on Bollinger Bands (2001): BandWidth, over TA-Lib BBANDS",
)
def bb_width(bars: Ohlcv, period: Period = 20, deviations: Multiple = 2.0) -> Outputs:
    """Width of the Bollinger bands relative to their middle."""
    upper, middle, lower = _bands(bars.close, period, deviations)
    return ((upper - lower) / middle,)


@indicator(
    inputs="close",
    outputs=(Output("bb_percent_b", "", "(close - lower) / (upper - lower): 0 at the lower band, 1 at the upper"),),
    lookback=lambda period, _: period - 1,
    source="J. Bollinger, Bollinger on Bollinger Bands (2001): %B, over TA-Lib BBANDS",
)
def bb_percent_b(bars: Ohlcv, period: Period = 20, deviations: Multiple = 2.0) -> Outputs:
    """Where the close lies between the Bollinger bands; NaN where the bands have no width (prices did not move)."""
    upper, _, lower = _bands(bars.close, period, deviations)
    return (ratio(bars.close - lower, upper - lower),)
