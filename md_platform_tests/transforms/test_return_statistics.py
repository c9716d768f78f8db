"""Statistics of returns: known answers by hand, and the same by numpy and pandas."""

import datetime as dt
import math

import numpy as np
import pandas as pd
import polars as pl
import pytest

from md_platform.transforms.statistics import beta, correlation, max_drawdown, return_statistics
from md_platform_tests.rows import DAY0

DAY = dt.timedelta(days=1)


def prices(closes, skip=()):
    times = [DAY0 + n * DAY for n in range(len(closes)) if n not in skip]
    kept = [float(close) for n, close in enumerate(closes) if n not in skip]
    return pl.DataFrame({"open_time": times, "close": kept})


def walk(seed, count=500):
    return 100 * np.exp(np.cumsum(np.random.default_rng(seed).normal(0.0005, 0.02, count)))


def test_known_answers():
    found = return_statistics(prices([100, 110, 99, 108.9]), 365.0)
    r = [0.1, -0.1, 0.1]
    assert found.total_return == pytest.approx(0.089)
    assert found.mean_return == pytest.approx(1 / 30)
    assert found.sharpe == pytest.approx(np.mean(r) / np.std(r, ddof=1) * math.sqrt(365))
    assert found.sortino == pytest.approx(np.mean(r) / math.sqrt(0.01 / 3) * math.sqrt(365))
    assert found.var_historical == pytest.approx(0.08)
    assert found.var_parametric == pytest.approx(1.6448536269514722 * np.std(r, ddof=1) - 1 / 30)
    assert found.max_drawdown.depth == pytest.approx(-0.1)
    assert (found.max_drawdown.peak_at, found.max_drawdown.trough_at) == (DAY0 + DAY, DAY0 + 2 * DAY)
    assert found.max_drawdown.recovered_at is None


def test_the_same_by_pandas():
    closes = walk(1)
    series, found = pd.Series(closes), return_statistics(prices(closes), 252.0, confidence=0.99, risk_free=0.03)
    r = series.pct_change().dropna()
    excess = r - 0.03 / 252
    assert found.volatility == pytest.approx(np.log(series).diff().std() * math.sqrt(252), rel=1e-12)
    assert found.sharpe == pytest.approx(excess.mean() / excess.std() * math.sqrt(252), rel=1e-12)
    assert found.var_historical == pytest.approx(-r.quantile(0.01), rel=1e-12)
    assert found.max_drawdown.depth == pytest.approx((series / series.cummax() - 1).min(), rel=1e-12)


def test_beta_is_the_slope_of_a_regression_at_shared_times():
    market, own = walk(2), walk(3) * walk(2)
    both = prices(own, skip={7, 8}), prices(market, skip={100})
    kept = [n for n in range(500) if n not in {7, 8, 100}]
    x, y = (pd.Series(values[kept]).pct_change().dropna() for values in (market, own))
    assert beta(*both) == pytest.approx(np.polyfit(x, y, 1)[0], rel=1e-9)
    assert beta(both[0], both[0]) == pytest.approx(1.0)


def test_correlation_is_that_of_pandas():
    frames = {name: walk(seed) for name, seed in (("a", 4), ("b", 5), ("c", 6))}
    frames["b"] *= frames["a"]
    wanted = np.log(pd.DataFrame(frames)).diff().corr()
    for one, other, value, count in correlation({name: prices(each) for name, each in frames.items()}).rows():
        assert value == pytest.approx(wanted.loc[one, other], rel=1e-9)
        assert count == 499


def test_a_peak_that_is_reached_again():
    found = max_drawdown(prices([10, 20, 15, 18, 20, 19]))
    assert (found.depth, found.recovered_at) == (-0.25, DAY0 + 4 * DAY)


@pytest.mark.parametrize("closes", [[], [5.0], [5.0, 5.0], [5.0, 5.0, 5.0]])
def test_what_the_prices_do_not_suffice_for_is_none(closes):
    found = return_statistics(prices(closes), 365.0)
    assert (found.sharpe, found.sortino, found.max_drawdown) == (None, None, None)
    assert beta(prices(closes), prices(closes)) is None
