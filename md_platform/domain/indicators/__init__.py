"""Technical indicators, each one function: bars in, columns out. Batch, live and API use this registry.

The family files register their functions when they are imported, which this package does.
"""

from md_platform.domain.indicators import momentum, trend, volatility, volume
from md_platform.domain.indicators.evaluation import MAX_MEMORY_DAYS, compute, compute_day, memory_days
from md_platform.domain.indicators.ohlcv import Ohlcv, periods_per_year
from md_platform.domain.indicators.registry import REGISTRY, Indicator, IndicatorSpec, Output, indicator, parse_spec

__all__ = [
    "MAX_MEMORY_DAYS",
    "REGISTRY",
    "STANDARD_SET",
    "Indicator",
    "IndicatorSpec",
    "Ohlcv",
    "Output",
    "compute",
    "compute_day",
    "indicator",
    "memory_days",
    "momentum",
    "parse_spec",
    "periods_per_year",
    "trend",
    "volatility",
    "volume",
]

STANDARD_SET: tuple[IndicatorSpec, ...] = tuple(
    parse_spec(text)
    for text in (
        "sma(20)",
        "ema(20)",
        "wma(20)",
        "macd(12,26,9)",
        "bbands(20,2)",
        "sar(0.02,0.2)",
        "adx(14)",
        "rsi(14)",
        "stoch(5,3,3)",
        "willr(14)",
        "cci(14)",
        "roc(10)",
        "mom(10)",
        "obv",
        "ad",
        "cmf(20)",
        "vwap",
        "atr(14)",
        "stddev(20)",
        "hv(20)",
    )
)
"""What the `indicators` dataset stores unless it is told otherwise: 20 indicators, 25 columns."""
