"""Bars as columns: from a frame, cut into views, with the number of them in a year."""

import numpy as np
import polars as pl
import pytest

from md_platform.domain.indicators import Ohlcv, parse_spec, periods_per_year
from md_platform.domain.intervals import Timeframe
from md_platform.errors import InvalidTimeframe


def frame_of(bars: Ohlcv, timeframe: list[str] | None = None) -> pl.DataFrame:
    names = ("open", "high", "low", "close", "volume")
    frame = pl.DataFrame({name: getattr(bars, name) for name in names}).with_columns(
        open_time=pl.Series(bars.open_time).cast(pl.Datetime("us", "UTC"))
    )
    return frame if timeframe is None else frame.with_columns(timeframe=pl.Series(timeframe))


def test_bars_come_from_a_frame_and_know_its_timeframe(make_walk):
    bars = make_walk(4, timeframe=Timeframe.H1)
    read = Ohlcv.from_frame(frame_of(bars, ["1h"] * 4))
    assert read.timeframe is Timeframe.H1
    assert read.bars_per_year == 24 * 365
    for name in ("open_time", "open", "high", "low", "close", "volume"):
        np.testing.assert_array_equal(getattr(read, name), getattr(bars, name))
    np.testing.assert_array_equal(read.slice(1, 3).close, bars.close[1:3])
    assert len(Ohlcv.from_frame(frame_of(bars, ["1h"] * 4).clear(), timeframe=Timeframe.H1)) == 0
    for mixed in (["1h", "1h", "4h", "1h"], None):
        with pytest.raises(InvalidTimeframe):
            Ohlcv.from_frame(frame_of(bars, mixed))


def test_historical_volatility_is_annualised_by_what_trades(make_walk):
    assert periods_per_year(Timeframe.M1) == 525_600
    assert periods_per_year(Timeframe.MONTH1) == 12
    bars = make_walk(60, timeframe=Timeframe.D1)
    stocks = Ohlcv(bars.open_time, bars.open, bars.high, bars.low, bars.close, bars.volume, Timeframe.D1, 252)
    spec = parse_spec("hv(20)")
    (around_the_clock,), (in_sessions,) = spec.evaluate(bars), spec.evaluate(stocks)
    np.testing.assert_allclose(around_the_clock[20:] / in_sessions[20:], (365 / 252) ** 0.5, rtol=1e-12)
