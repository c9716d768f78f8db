"""Bars in, the same as if every split and dividend had been before them out."""

from collections.abc import Sequence

import numpy as np
import polars as pl

from md_platform.domain.corporate_actions import Adjustment

_PRICES = ("open", "high", "low", "close", "vwap")
_VOLUMES = ("volume", "taker_buy_volume")


def adjust(bars: pl.DataFrame, adjustments: Sequence[Adjustment]) -> pl.DataFrame:
    """`bars` (BAR_COLUMNS, sorted by open_time, of at most a day) adjusted backwards for what came after each.

    What was paid in all (quote_volume) stays as it was.
    """
    if not adjustments:
        return bars
    ordered = sorted(adjustments, key=lambda each: each.action.ex_time)
    starts = pl.Series([each.action.ex_time for each in ordered], dtype=bars.schema["open_time"])
    passed = starts.search_sorted(bars["open_time"], side="right")
    prices, volumes = (_ahead([getattr(each, name) for each in ordered])[passed] for name in ("price", "volume"))
    return bars.with_columns(
        *(pl.col(name) * pl.Series(prices) for name in _PRICES),
        *(pl.col(name) * pl.Series(volumes) for name in _VOLUMES),
    )


def _ahead(factors: Sequence[float]) -> np.ndarray:
    """Products of the factors from each on; 1 after the last."""
    return np.append(np.cumprod(factors[::-1])[::-1], 1.0)
