"""Indicators and custom expressions on bars of any range out, equal to those of a longer series.

So many bars are read before the range as the values need to settle (their memory); cumulative ones (obv, ad) count
from the first bar of the range.
"""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import polars as pl

from md_platform.domain.calendars import bars_per_year
from md_platform.domain.expressions import Expression
from md_platform.domain.indicators import IndicatorSpec, Ohlcv, periods_per_year
from md_platform.domain.indicators.evaluation import since_seed
from md_platform.domain.indicators.ohlcv import FloatArray
from md_platform.domain.intervals import DAY, Interval, Timeframe
from md_platform.serving.bars import BarAnswer, BarQuery, Bars

_FIRST = dt.datetime(1970, 1, 5, tzinfo=dt.UTC)
_PATIENCE = 3
"""Bars that were never observed make a span hold fewer than it could: it is read so many times, ever longer."""


@dataclass(frozen=True, slots=True)
class Computed:
    """`rows` with `open_time`, `is_closed` and a column for each output, null while it is not known.

    `answer` is that of the bars they are from.
    """

    rows: pl.DataFrame
    answer: BarAnswer


class Indicators:
    """Computes on what `bars` reads."""

    def __init__(self, bars: Bars) -> None:
        self._bars = bars

    def values(self, query: BarQuery, specs: Sequence[IndicatorSpec], calendar: str) -> Computed:
        """Every output of `specs` at each bar of the query; the values of one do not depend on what else is asked."""
        answer, window, first = self._window(query, max(spec.memory for spec in specs), calendar)
        columns: dict[str, FloatArray] = {}
        for spec in specs:
            began = max(first - spec.memory, 0)
            outputs = spec.evaluate(window.slice(began, len(window)))
            if spec.indicator.cumulative:
                outputs = since_seed(outputs, first - began)
            columns |= {name: values[first - began :] for name, values in zip(spec.columns, outputs, strict=True)}
        return self._computed(answer, columns, first)

    def expression(self, query: BarQuery, expression: Expression, calendar: str) -> Computed:
        """The column `value` of the expression at each bar of the query."""
        answer, window, first = self._window(query, expression.memory, calendar)
        return self._computed(answer, {"value": expression.evaluate(window)[first:]}, first)

    @staticmethod
    def _computed(answer: BarAnswer, columns: Mapping[str, FloatArray], first: int) -> Computed:
        rows = answer.rows.select("open_time", "is_closed").slice(first)
        rows = rows.with_columns(pl.Series(name, values).fill_nan(None) for name, values in columns.items())
        return Computed(rows, answer)

    def _window(self, query: BarQuery, memory: int, calendar: str) -> tuple[BarAnswer, Ohlcv, int]:
        """Bars of the query with at least `memory` before them, where there are so many; the row of its first."""
        start, reach, found = query.interval.start, _span(query.timeframe, memory, calendar), -1
        for _ in range(_PATIENCE):
            began = start - min(reach, start - _FIRST) if start > _FIRST else start
            answer = self._bars.read(replace(query, interval=Interval(began, query.interval.end)))
            first = int(answer.rows["open_time"].search_sorted(start))
            if first >= memory or first == found:
                break
            found, reach = first, 3 * reach
        per_year = bars_per_year(calendar, query.timeframe)
        return answer, Ohlcv.from_frame(answer.rows, timeframe=query.timeframe, periods_per_year=per_year), first


def _span(timeframe: Timeframe, bars: int, calendar: str) -> dt.timedelta:
    """What holds so many bars of a market with this calendar, if none is missing."""
    length = dt.timedelta(seconds=timeframe.seconds or 31 * 86_400)
    share = 1.0
    if (per_year := bars_per_year(calendar, timeframe)) is not None:
        share = max(periods_per_year(timeframe) / per_year, 1.0)
    return length * (bars + 1) * share + (DAY if share > 1.0 else dt.timedelta())
