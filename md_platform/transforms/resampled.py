"""Bars in, longer bars out: the cascade 1m → 5m → 15m → 30m → 1h → 4h → 1d, and days into weeks and months."""

import datetime as dt

import polars as pl

from md_platform.domain.bars import roll_up
from md_platform.domain.intervals import INTRADAY_ROLL_UPS, Timeframe


def resample(bars: pl.DataFrame, until: dt.datetime) -> pl.DataFrame:
    """Every timeframe of `resampled_bars` from cleaned 1m bars of one instrument, any number of whole UTC days.

    In and out BAR_COLUMNS; out ordered by timeframe (shortest first), then open_time. `until` is how far the input is
    complete. The rows of one source roll up apart from those of another, so a bar never mixes sources.
    """
    frames = []
    for by_source in bars.partition_by("source", maintain_order=True):
        level = by_source.lazy()
        for timeframe in INTRADAY_ROLL_UPS:
            level = roll_up(level, timeframe, until).collect().lazy()
            frames.append(level)
    if not frames:
        return bars.clear()
    order = pl.Enum([timeframe.value for timeframe in INTRADAY_ROLL_UPS])
    return pl.concat(frames).sort(pl.col("timeframe").cast(order), "open_time", maintain_order=True).collect()


def roll_up_days(daily: pl.DataFrame, timeframe: Timeframe, until: dt.datetime) -> pl.DataFrame:
    """Weekly or monthly bars from 1d bars of one instrument; provisional (`is_closed` false) while the period runs.

    Days of different sources in one period are combined: `source` is then the newest day's.
    """
    return roll_up(daily.lazy(), timeframe, until).collect()
