"""Closed bars of a range in, what their returns tell out; the figures are those of `transforms.statistics`."""

from collections.abc import Sequence

import polars as pl

from md_platform.domain.calendars import bars_per_year
from md_platform.domain.indicators import periods_per_year
from md_platform.domain.intervals import Interval, Timeframe
from md_platform.serving.bars import BarQuery, Bars
from md_platform.transforms.statistics import ReturnStatistics, beta, correlation, return_statistics


def figures(
    bars: Bars, query: BarQuery, calendar: str, *, benchmark: BarQuery | None, confidence: float, risk_free: float
) -> tuple[ReturnStatistics, float | None]:
    """Statistics of the query's closed bars, and their beta to those of `benchmark`, if given."""
    prices = _closed(bars, query)
    per_year = bars_per_year(calendar, query.timeframe) or periods_per_year(query.timeframe)
    found = return_statistics(prices, per_year, confidence=confidence, risk_free=risk_free)
    if benchmark is None:
        return found, None
    return found, beta(prices, _closed(bars, benchmark))


def correlations(bars: Bars, instruments: Sequence[str], timeframe: Timeframe, span: Interval) -> pl.DataFrame:
    """Correlation of log returns of each pair, at the times that both have."""
    return correlation({id_: _closed(bars, BarQuery(id_, timeframe, span)) for id_ in instruments})


def _closed(bars: Bars, query: BarQuery) -> pl.DataFrame:
    return bars.read(query).rows.filter("is_closed").select("open_time", "close")
