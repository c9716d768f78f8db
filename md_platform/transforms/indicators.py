"""Bars with their look-back in; the indicator values of single days out, each a function of those days and its past."""

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import polars as pl

from md_platform.domain.indicators import IndicatorSpec, Ohlcv, compute_day
from md_platform.domain.intervals import DAY, INTRADAY_ROLL_UPS, Interval, Timeframe
from md_platform.domain.schemas import INSTANT

INDICATOR_TIMEFRAMES = (Timeframe.M1, *INTRADAY_ROLL_UPS)
"""Timeframes whose bars the `indicators` dataset covers."""


def indicator_values(
    instrument: str, bars: Mapping[Timeframe, Ohlcv], specs: Sequence[IndicatorSpec], dates: Sequence[dt.date]
) -> Iterator[tuple[dt.date, pl.DataFrame]]:
    """For each of `dates` a frame of `instrument`, `timeframe`, `open_time` and one Float64 column per output.

    `bars` holds each timeframe's bars of the dates and of `memory_days` before the first. Rows are ordered as
    `bars` is, then by open_time; NaN while an indicator warms up.
    """
    for date in dates:
        start_us, end_us = (int(t.timestamp()) * 1_000_000 for t in (Interval.day(date).start, Interval.day(date + DAY).start))
        opens: list[np.ndarray] = []
        columns: dict[str, list[np.ndarray]] = {}
        names: list[str] = []
        for timeframe, window in bars.items():
            first, end = np.searchsorted(window.open_time, (start_us, end_us))
            opens.append(window.open_time[first:end])
            names += [timeframe.value] * int(end - first)
            for name, values in compute_day(specs, window, start_us).items():
                columns.setdefault(name, []).append(values)
        yield (
            date,
            pl.DataFrame(
                {
                    "instrument": pl.repeat(instrument, len(names), eager=True),
                    "timeframe": names,
                    "open_time": pl.Series(np.concatenate(opens), dtype=pl.Int64).cast(INSTANT),
                    **{name: np.concatenate(parts) for name, parts in columns.items()},
                },
                schema_overrides={"timeframe": pl.String},
            ),
        )
