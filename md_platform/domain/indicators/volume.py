"""What volume says about the price. Prices and volume in; volume, prices or fractions out.

Where TA-Lib divides 0 by 0 (nothing traded, no range) it answers 0, and so do these unless they say otherwise.
"""

import numpy as np
from numpy.typing import NDArray

from md_platform.domain.indicators.lines import NAN, earlier, ratio, sum_of_day, ta, where
from md_platform.domain.indicators.ohlcv import FloatArray, Ohlcv
from md_platform.domain.indicators.registry import Output, Outputs, Period, Shift, ema_memory, indicator


@indicator(
    inputs="close volume",
    outputs=(Output("obv", "base", "volume of rising bars minus volume of falling bars"),),
    lookback=lambda: 0,
    memory=lambda: 1,  # the close that the first bar is compared with
    cumulative=True,
    source="TA-Lib OBV; J. Granville (1963)",
)
def obv(bars: Ohlcv) -> Outputs:
    """On-balance volume. Seed: the series' first bar counts with its whole volume.

    Stored values are the change since the last bar before UTC midnight (before 1 January, on bars of a day or longer).
    """
    return (ta.OBV(bars.close, bars.volume),)


@indicator(
    inputs="high low close volume",
    outputs=(Output("ad", "base", "sum of volume × place of the close in the bar's range, -1 to 1"),),
    lookback=lambda: 0,
    cumulative=True,
    source="TA-Lib AD; M. Chaikin",
)
def ad(bars: Ohlcv) -> Outputs:
    """Accumulation/distribution line, from 0; a bar without range adds nothing.

    Stored values start from 0 at UTC midnight (on 1 January, on bars of a day or longer).
    """
    return (ta.AD(bars.high, bars.low, bars.close, bars.volume),)


@indicator(
    inputs="high low close volume",
    outputs=(Output("adosc", "base", "fast EMA - slow EMA of the accumulation/distribution line"),),
    lookback=lambda _fast, slow: slow - 1,
    # A constant in the line cancels out, so it needs no more than its averages do.
    memory=lambda _fast, slow: slow - 1 + ema_memory(slow),
    source="TA-Lib ADOSC; M. Chaikin",
    ascending=("fast", "slow"),
)
def adosc(bars: Ohlcv, fast: Period = 3, slow: Period = 10) -> Outputs:
    """Chaikin oscillator; both averages start from the line's first value."""
    return (ta.ADOSC(bars.high, bars.low, bars.close, bars.volume, fast, slow),)


@indicator(
    inputs="high low close volume",
    outputs=(Output("cmf", "", "volume × place of the close in the bar's range over volume, -1 to 1"),),
    lookback=lambda period: period - 1,
    source="TA-Lib CMF; M. Chaikin",
)
def cmf(bars: Ohlcv, period: Period = 20) -> Outputs:
    """Chaikin money flow; 0 where nothing traded in the window."""
    flow: FloatArray = ta.CMF(bars.high, bars.low, bars.close, bars.volume, period)
    return (where(_is_dry(bars.volume, period), 0.0, flow),)


def _is_dry(volume: FloatArray, period: int) -> NDArray[np.bool_]:
    """Where nothing traded in the window: TA-Lib's running sums keep a rounding residue there, and divide by it."""
    dry: NDArray[np.bool_] = ta.MAX(volume, period) <= 0
    return dry


@indicator(
    inputs="volume",
    outputs=(Output("vroc", "%", "change of volume over `period` bars relative to what it was"),),
    lookback=lambda period: period,
    source="TA-Lib ROC of volume",
)
def vroc(bars: Ohlcv, period: Shift = 14) -> Outputs:
    """Volume rate of change; NaN where nothing traded `period` bars before, as no percentage says it."""
    change: FloatArray = ta.ROC(bars.volume, period)
    return (where(earlier(bars.volume, period) <= 0, NAN, change),)


@indicator(
    inputs="high low close volume",
    outputs=(Output("vwap", "quote", "mean typical price since UTC midnight, weighted by volume"),),
    lookback=lambda: 0,
    source="TA-Lib VWAP, restarted each UTC day",
    overlay=True,
)
def vwap(bars: Ohlcv) -> Outputs:
    """Volume-weighted average price of the UTC day so far; NaN until something trades.

    Typical price is (high + low + close) / 3. On bars of a day or longer it is the bar's typical price. It needs no
    memory before the day, but the whole of the day before the bar.
    """
    typical = (bars.high + bars.low + bars.close) / 3
    value, volume = (sum_of_day(each, bars.open_time) for each in (typical * bars.volume, bars.volume))
    return (ratio(value, volume),)


@indicator(
    inputs="volume",
    outputs=(Output("volume_sma", "base", "mean of the last volumes"),),
    lookback=lambda period: period - 1,
    source="TA-Lib SMA of volume",
)
def volume_sma(bars: Ohlcv, period: Period = 20) -> Outputs:
    """Simple moving average of volume."""
    return (ta.SMA(bars.volume, period),)


@indicator(
    inputs="close volume",
    outputs=(Output("vwma", "quote", "mean of the last closes, weighted by volume"),),
    lookback=lambda period: period - 1,
    source="TA-Lib VWMA",
    overlay=True,
)
def vwma(bars: Ohlcv, period: Period = 20) -> Outputs:
    """Volume-weighted moving average of the close; NaN where nothing traded in the window."""
    average: FloatArray = ta.VWMA(bars.close, bars.volume, period)
    return (where(_is_dry(bars.volume, period), NAN, average),)
