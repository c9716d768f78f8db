"""Bars with their look-back in; the indicator values of single days out, each a function of those days and its past."""

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import astuple

import numpy as np
import polars as pl

from md_platform.domain.calendars import bars_per_year
from md_platform.domain.indicators import STANDARD_SET, IndicatorSpec, Ohlcv, compute_day, memory_days
from md_platform.domain.intervals import INTRADAY_ROLL_UPS, Interval, Timeframe
from md_platform.domain.schemas import INSTANT

INDICATOR_TIMEFRAMES = (Timeframe.M1, *INTRADAY_ROLL_UPS)
"""Timeframes whose bars the `indicators` dataset covers."""


def look_back_days(calendar: str, timeframes: Iterable[Timeframe] = INDICATOR_TIMEFRAMES) -> int:
    """Days before a day whose bars the standard set reads, the most of `timeframes`."""
    return max(memory_days(STANDARD_SET, each, bars_per_year(calendar, each)) for each in timeframes)


def indicator_values(
    instrument: str, bars: Mapping[Timeframe, Ohlcv], specs: Sequence[IndicatorSpec], dates: Sequence[dt.date]
) -> Iterator[tuple[dt.date, pl.DataFrame]]:
    """For each of `dates` a frame of `instrument`, `timeframe`, `open_time` and one Float64 column per output.

    `bars` holds each timeframe's bars of the dates and of `memory_days` before the first. Rows are ordered as
    `bars` is, then by open_time; NaN while an indicator warms up.
    """
    times: list[np.ndarray] = []
    labels: list[str] = []
    lengths: list[int] = []
    columns: dict[str, list[np.ndarray]] = {}
    for date in dates:
        start_us, end_us = (int(moment.timestamp()) * 1_000_000 for moment in astuple(Interval.day(date)))
        before = len(labels)
        for timeframe, window in bars.items():
            first, end = np.searchsorted(window.open_time, (start_us, end_us))
            times.append(window.open_time[first:end])
            labels += [timeframe.value] * int(end - first)
            for name, column in compute_day(specs, window, start_us).items():
                columns.setdefault(name, []).append(column)
        lengths.append(len(labels) - before)
    values = pl.DataFrame(
        {
            "instrument": pl.Series([instrument], dtype=pl.String).new_from_index(0, len(labels)),
            "timeframe": pl.Series(labels, dtype=pl.String),
            "open_time": pl.Series(np.concatenate(times), dtype=pl.Int64).cast(INSTANT),
            **{name: np.concatenate(parts) for name, parts in columns.items()},
        }
    )
    for date, offset, length in zip(dates, np.cumsum([0, *lengths]), lengths, strict=False):
        yield date, values.slice(int(offset), length)
