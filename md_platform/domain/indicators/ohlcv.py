"""Bars as numpy columns: what every indicator reads, cut from a frame once and sliced without copying."""

from dataclasses import dataclass
from typing import Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

from md_platform.domain.intervals import Timeframe
from md_platform.errors import InvalidTimeframe

SECONDS_PER_YEAR = 365 * 86_400
_MONTHS_PER_YEAR = 12

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Ohlcv:
    """Bars of ONE instrument and timeframe, unique and ascending by open_time; seven arrays of one length.

    open_time: int64, µs since the epoch, UTC, start of the bar. Prices (quote) and volume (base): float64, no NaN: one
    inside would spread to every later value, so bars that were never observed are left out, not filled with NaN.
    periods_per_year: how many bars trade in a year, None for a market that never closes (252 for daily bars of stocks).
    """

    open_time: NDArray[np.int64]
    open: FloatArray
    high: FloatArray
    low: FloatArray
    close: FloatArray
    volume: FloatArray
    timeframe: Timeframe
    periods_per_year: float | None = None

    def __len__(self) -> int:
        return len(self.open_time)

    @property
    def bars_per_year(self) -> float:
        """`periods_per_year`, or what a market that never closes has of them."""
        return periods_per_year(self.timeframe) if self.periods_per_year is None else self.periods_per_year

    def slice(self, start: int, stop: int) -> Self:
        """Rows `[start, stop)` as views on the same memory."""
        rows = slice(start, stop)
        return type(self)(
            self.open_time[rows],
            self.open[rows],
            self.high[rows],
            self.low[rows],
            self.close[rows],
            self.volume[rows],
            self.timeframe,
            self.periods_per_year,
        )

    @classmethod
    def from_frame(
        cls, frame: pl.DataFrame, *, timeframe: Timeframe | None = None, periods_per_year: float | None = None
    ) -> Self:
        """Columns open_time, open, high, low, close, volume of `frame`; others are ignored.

        The timeframe is the frame's own `timeframe` column unless given. InvalidTimeframe where the frame mixes
        several, or does not say and none is given.
        """
        open_, high, low, close, volume = (
            frame[name].cast(pl.Float64).to_numpy() for name in ("open", "high", "low", "close", "volume")
        )
        return cls(
            frame["open_time"].dt.timestamp("us").to_numpy(),
            open_,
            high,
            low,
            close,
            volume,
            timeframe=_timeframe_of(frame) if timeframe is None else timeframe,
            periods_per_year=periods_per_year,
        )


def _timeframe_of(frame: pl.DataFrame) -> Timeframe:
    named = frame["timeframe"].unique().to_list() if "timeframe" in frame.columns else []
    if len(named) != 1:
        raise InvalidTimeframe(f"indicators need bars of one timeframe; the frame names {named}: pass timeframe=")
    return Timeframe.parse(named[0])


def periods_per_year(timeframe: Timeframe) -> float:
    """Bars per 365-day year of a market that never closes: 525,600 for 1m, 365 for 1d, 12 for 1M."""
    return _MONTHS_PER_YEAR if timeframe.seconds is None else SECONDS_PER_YEAR / timeframe.seconds
