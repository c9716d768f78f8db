"""How fast the price moves: oscillators and rates of change. Prices (and volume, for mfi) in, mostly % out.

Where TA-Lib divides 0 by 0 (a market that does not move) it answers 0, and so do these: rsi, stoch, willr, cci, uo and
mfi of constant prices are 0.
"""

from md_platform.domain.indicators.lines import ta
from md_platform.domain.indicators.ohlcv import Ohlcv
from md_platform.domain.indicators.registry import Output, Outputs, Period, Shift, ema_memory, indicator, wilder_memory

_SMOOTHED_BY_SMA = 0  # TA-Lib's codes of the moving average it is to use
_SMOOTHED_BY_EMA = 1


@indicator(
    inputs="close",
    outputs=(Output("rsi", "%", "average gain relative to average gain plus average loss, 0 to 100"),),
    lookback=lambda period: period,
    memory=lambda period: period + wilder_memory(period),
    source="TA-Lib RSI; J. W. Wilder, New Concepts in Technical Trading Systems (1978)",
)
def rsi(bars: Ohlcv, period: Period = 14) -> Outputs:
    """Relative strength index of the close, with Wilder's averages."""
    return (ta.RSI(bars.close, period),)


@indicator(
    inputs="high low close",
    outputs=(
        Output("stoch_k", "%", "place of the close in the range of `fast` bars, mean of `slow_k`, 0 to 100"),
        Output("stoch_d", "%", "mean of the last `slow_d` stoch_k"),
    ),
    lookback=lambda fast, slow_k, slow_d: fast - 1 + slow_k - 1 + slow_d - 1,
    source="TA-Lib STOCH; G. Lane (1950s)",
)
def stoch(bars: Ohlcv, fast: Period = 5, slow_k: Shift = 3, slow_d: Shift = 3) -> Outputs:
    """Slow stochastic oscillator; `slow_k` = 1 is the fast one."""
    return tuple(ta.STOCH(bars.high, bars.low, bars.close, fast, slow_k, _SMOOTHED_BY_SMA, slow_d, _SMOOTHED_BY_SMA))


@indicator(
    inputs="close",
    outputs=(
        Output("stochrsi_k", "%", "place of the RSI in its range of `window` bars, mean of `smooth_k`, 0 to 100"),
        Output("stochrsi_d", "%", "mean of the last `smooth_d` stochrsi_k"),
    ),
    lookback=lambda period, window, smooth_k, smooth_d: period + window - 1 + smooth_k - 1 + smooth_d - 1,
    memory=lambda period, window, smooth_k, smooth_d: period + window + smooth_k + smooth_d + wilder_memory(period),
    source="T. Chande, S. Kroll, The New Technical Trader (1994), over TA-Lib RSI and STOCH; smooth_k = 1 is STOCHRSI",
)
def stochrsi(
    bars: Ohlcv, period: Period = 14, window: Period = 14, smooth_k: Shift = 3, smooth_d: Shift = 3
) -> Outputs:
    """Stochastic oscillator of the RSI."""
    rsi = ta.RSI(bars.close, period)
    return tuple(ta.STOCH(rsi, rsi, rsi, window, smooth_k, _SMOOTHED_BY_SMA, smooth_d, _SMOOTHED_BY_SMA))


@indicator(
    inputs="high low close",
    outputs=(Output("willr", "%", "distance of the close from the highest high of the window, -100 to 0"),),
    lookback=lambda period: period - 1,
    source="TA-Lib WILLR; L. Williams (1973)",
)
def willr(bars: Ohlcv, period: Period = 14) -> Outputs:
    """Williams' %R."""
    return (ta.WILLR(bars.high, bars.low, bars.close, period),)


@indicator(
    inputs="high low close",
    outputs=(Output("cci", "", "distance of the typical price from its mean, in 0.015 mean deviations"),),
    lookback=lambda period: period - 1,
    source="TA-Lib CCI; D. Lambert, Commodities (1980)",
)
def cci(bars: Ohlcv, period: Period = 14) -> Outputs:
    """Commodity channel index."""
    return (ta.CCI(bars.high, bars.low, bars.close, period),)


@indicator(
    inputs="close",
    outputs=(Output("roc", "%", "change of the close over `period` bars relative to where it was"),),
    lookback=lambda period: period,
    source="TA-Lib ROC",
)
def roc(bars: Ohlcv, period: Shift = 10) -> Outputs:
    """Rate of change of the close."""
    return (ta.ROC(bars.close, period),)


@indicator(
    inputs="close",
    outputs=(Output("mom", "quote", "change of the close over `period` bars"),),
    lookback=lambda period: period,
    source="TA-Lib MOM",
)
def mom(bars: Ohlcv, period: Shift = 10) -> Outputs:
    """Momentum of the close."""
    return (ta.MOM(bars.close, period),)


@indicator(
    inputs="close",
    outputs=(Output("trix", "%", "change, from bar to bar, of the EMA of the EMA of the EMA"),),
    lookback=lambda period: 3 * (period - 1) + 1,
    memory=lambda period: 3 * (period - 1) + 1 + ema_memory(period, stages=3),
    source="TA-Lib TRIX; J. Hutson, Technical Analysis of Stocks & Commodities (1983)",
)
def trix(bars: Ohlcv, period: Period = 15) -> Outputs:
    """Rate of change of the triple-smoothed close."""
    return (ta.TRIX(bars.close, period),)


@indicator(
    inputs="high low close",
    outputs=(Output("uo", "%", "buying pressure over three windows, weighted 4 : 2 : 1, 0 to 100"),),
    lookback=lambda _short, _middle, long: long,
    source="TA-Lib ULTOSC; L. Williams, Technical Analysis of Stocks & Commodities 3:4 (1985)",
    ascending=("short", "middle", "long"),
)
def uo(bars: Ohlcv, short: Period = 7, middle: Period = 14, long: Period = 28) -> Outputs:
    """Ultimate oscillator."""
    return (ta.ULTOSC(bars.high, bars.low, bars.close, short, middle, long),)


@indicator(
    inputs="high low close volume",
    outputs=(Output("mfi", "%", "money flow of rising bars relative to that of all bars, 0 to 100"),),
    lookback=lambda period: period,
    source="TA-Lib MFI; G. Quong, A. Soudack, Technical Analysis of Stocks & Commodities 7:3 (1989)",
)
def mfi(bars: Ohlcv, period: Period = 14) -> Outputs:
    """Money flow index: the RSI's idea on typical price × volume; 0 too where nothing traded."""
    return (ta.MFI(bars.high, bars.low, bars.close, bars.volume, period),)


@indicator(
    inputs="close",
    outputs=(Output("cmo", "%", "gains minus losses relative to gains plus losses, -100 to 100"),),
    lookback=lambda period: period,
    source="TA-Lib CMOU; T. Chande, S. Kroll, The New Technical Trader (1994)",
)
def cmo(bars: Ohlcv, period: Period = 14) -> Outputs:
    """Chande's momentum oscillator of the close, from sums as published (TA-Lib's CMO has Wilder's averages)."""
    return (ta.CMOU(bars.close, period),)


@indicator(
    inputs="close",
    outputs=(Output("ppo", "%", "fast EMA - slow EMA relative to the slow EMA"),),
    lookback=lambda _fast, slow: slow - 1,
    memory=lambda _fast, slow: slow - 1 + ema_memory(slow),
    source="TA-Lib PPO with EMAs; G. Appel",
    ascending=("fast", "slow"),
)
def ppo(bars: Ohlcv, fast: Period = 12, slow: Period = 26) -> Outputs:
    """Percentage price oscillator of the close."""
    return (ta.PPO(bars.close, fast, slow, _SMOOTHED_BY_EMA),)
