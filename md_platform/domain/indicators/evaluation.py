"""Indicators over bars: `compute` for a whole series, `compute_day` for one UTC day from a bounded past."""

import math
from collections.abc import Iterable, Iterator
from functools import lru_cache

import numpy as np

from md_platform.domain.indicators.ohlcv import FloatArray, Ohlcv, periods_per_year
from md_platform.domain.indicators.registry import IndicatorSpec, Outputs
from md_platform.domain.intervals import Timeframe

MAX_MEMORY_DAYS = 400
"""How far a day's values may look back. Past it, long averages of 1d bars start from an approximate seed."""

DAY_US = 86_400_000_000
_DAY_S = 86_400
_LONGEST_MONTH_S = 31 * _DAY_S
_DAYS_PER_YEAR = 365
_LEAP_YEAR = 366
_LONGEST_CLOSURE = 10  # days: Golden Week with the weekends around it


def compute(specs: Iterable[IndicatorSpec], bars: Ohlcv) -> dict[str, FloatArray]:
    """Column name → float64 array as long as `bars`, in the order of `specs`; NaN while an indicator warms up."""
    columns: dict[str, FloatArray] = {}
    for spec in specs:
        columns.update(zip(spec.columns, spec.evaluate(bars), strict=True))
    return columns


def compute_day(specs: Iterable[IndicatorSpec], window: Ohlcv, day_start_us: int) -> dict[str, FloatArray]:
    """Values for the bars of `window` that open in the UTC day from `day_start_us` (µs since the epoch), no others.

    Each column is a function of that day's bars and of the last `spec.memory` bars before it, taken from the
    `memory_days` of that indicator alone: neither more history nor other specs change a bit of it. Cumulative
    indicators (obv, ad) start from 0 after the last bar before UTC midnight, on bars of a day or longer before 1
    January, so that adding up the last values of all days gives the cumulative series.
    """
    first, end = _rows(window, day_start_us, day_start_us + DAY_US)
    slices: dict[int, Ohlcv] = {}
    columns: dict[str, FloatArray] = {}
    specs = tuple(specs)
    for spec, (start, seed) in zip(specs, rows_of_day(specs, window, day_start_us), strict=True):
        if start not in slices:
            slices[start] = window.slice(start, end)
        values = since_seed(spec.evaluate(slices[start]), seed - start)
        columns.update(zip(spec.columns, (value[first - start :] for value in values), strict=True))
    return columns


def rows_of_day(specs: Iterable[IndicatorSpec], window: Ohlcv, day_start_us: int) -> Iterator[tuple[int, int]]:
    """For each spec the row of `window` from which the day's values are computed, and the one from which they count.

    The two differ for cumulative indicators only: see `since_seed`.
    """
    first = _rows(window, day_start_us, day_start_us)[0]
    earliest: dict[int, int] = {}
    for spec in specs:
        cumulative = spec.indicator.cumulative
        days = _memory_days(spec.memory, window.timeframe, window.periods_per_year, cumulative)
        if days not in earliest:
            earliest[days] = _rows(window, day_start_us - days * DAY_US, day_start_us)[0]
        seed = first
        if cumulative and not _is_intraday(window.timeframe):
            seed = _rows(window, _year_start_us(day_start_us), day_start_us)[0]
        start = max(earliest[days], seed - spec.memory)
        yield start, seed if cumulative else start


def since_seed(values: Outputs, rows: int) -> Outputs:
    """`values` counted from the one of the bar before row `rows`; as they are where that is 0."""
    return tuple(value - value[rows - 1] for value in values) if rows else values


def memory_days(specs: Iterable[IndicatorSpec], timeframe: Timeframe, periods_per_year: float | None = None) -> int:
    """Whole days before a day that hold what `compute_day` needs, at most MAX_MEMORY_DAYS; 0 where it needs none.

    `periods_per_year` as in Ohlcv: a market that closes has fewer bars a day, and needs days for its longest closure.
    """
    return max(
        (_memory_days(spec.memory, timeframe, periods_per_year, spec.indicator.cumulative) for spec in specs), default=0
    )


@lru_cache(maxsize=1024)
def _memory_days(memory: int, timeframe: Timeframe, per_year: float | None, cumulative: bool) -> int:  # noqa: FBT001 - a cache key
    seconds = timeframe.seconds or _LONGEST_MONTH_S
    days = math.ceil(memory * seconds / _DAY_S)
    if per_year is not None and per_year < periods_per_year(timeframe) and memory:
        days = math.ceil(memory * _DAYS_PER_YEAR / per_year) + _LONGEST_CLOSURE
    if cumulative and not _is_intraday(timeframe):
        days += _LEAP_YEAR
    return min(days, MAX_MEMORY_DAYS)


def _is_intraday(timeframe: Timeframe) -> bool:
    return timeframe.seconds is not None and timeframe.seconds < _DAY_S


def _rows(window: Ohlcv, start_us: int, end_us: int) -> tuple[int, int]:
    first, end = np.searchsorted(window.open_time, (start_us, end_us))
    return int(first), int(end)


def _year_start_us(instant_us: int) -> int:
    return int(np.datetime64(instant_us, "us").astype("M8[Y]").astype("M8[us]").astype(np.int64))
