"""Closes of bars in, what their returns tell out: volatility, beta, value at risk, ratios, drawdown, correlation.

`prices` are frames of `open_time` and `close`, sorted, times unique. A return is that of a bar's close on the close of
the bar before it; a period without a bar is passed over, as nothing traded in it. Figures that the prices do not
suffice for are None: they need two returns, and a divisor that is not 0.
"""

import datetime as dt
import math
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import polars as pl

from md_platform.domain.indicators.ohlcv import FloatArray

_FEWEST = 2


@dataclass(frozen=True, slots=True)
class Drawdown:
    """The deepest fall from a high: `depth` (-0.2: a fifth), its peak and trough, and when the peak was reached again.

    `recovered_at` None: not within these prices.
    """

    depth: float
    peak_at: dt.datetime
    trough_at: dt.datetime
    recovered_at: dt.datetime | None


@dataclass(frozen=True, slots=True)
class ReturnStatistics:
    """What `return_statistics` finds. Ratios and volatility are of a year, returns and value at risk of one bar."""

    bars: int
    start: dt.datetime | None
    end: dt.datetime | None
    total_return: float | None
    mean_return: float | None
    volatility: float | None
    sharpe: float | None
    sortino: float | None
    var_historical: float | None
    var_parametric: float | None
    max_drawdown: Drawdown | None


def return_statistics(
    prices: pl.DataFrame, periods_per_year: float, *, confidence: float = 0.95, risk_free: float = 0.0
) -> ReturnStatistics:
    """Statistics of simple returns r = P(t) / P(t-1) - 1, volatility of ln(1 + r); `risk_free` is a rate of a year.

    - volatility: standard deviation (n - 1) times the root of the periods of a year (Hull, Options, Futures, and Other
      Derivatives, chapter 15.4).
    - Sharpe ratio: mean excess return over its standard deviation (Sharpe 1994), of a year.
    - Sortino ratio: mean excess return over the root of the mean square of negative excess returns (Sortino and Price
      1994), of a year.
    - historical value at risk: the loss that `confidence` of the returns do not exceed, between neighbours linear;
      parametric: the same of a normal distribution with their mean and deviation, z·σ - μ (RiskMetrics 1996). Of one
      bar, as a positive share of the position.
    """
    close = prices["close"].to_numpy()
    times = prices["open_time"]
    r = _simple_returns(close)
    excess = r - risk_free / periods_per_year
    year = math.sqrt(periods_per_year)
    deviation = _deviation(r)
    downside = math.sqrt(float(np.mean(np.minimum(excess, 0.0) ** 2))) if r.size else 0.0
    z = NormalDist().inv_cdf(confidence)
    enough = r.size >= _FEWEST
    return ReturnStatistics(
        bars=len(close),
        start=_instant(times.min()),
        end=_instant(times.max()),
        total_return=float(close[-1] / close[0] - 1.0) if r.size else None,
        mean_return=float(r.mean()) if r.size else None,
        volatility=float(np.log1p(r).std(ddof=1) * year) if enough else None,
        sharpe=float(excess.mean() / deviation * year) if enough and deviation else None,
        sortino=float(excess.mean() / downside * year) if enough and downside else None,
        var_historical=float(-np.quantile(r, 1.0 - confidence)) if enough else None,
        var_parametric=float(z * deviation - r.mean()) if enough else None,
        max_drawdown=max_drawdown(prices),
    )


def beta(prices: pl.DataFrame, benchmark: pl.DataFrame) -> float | None:
    """Covariance of the returns with the benchmark's over the variance of those (Sharpe 1964), at shared times."""
    both = prices.select("open_time", "close").join(benchmark.select("open_time", market="close"), on="open_time")
    both = both.sort("open_time")
    own, market = (_simple_returns(both[name].to_numpy()) for name in ("close", "market"))
    if own.size < _FEWEST or not (variance := float(market.var(ddof=1))):
        return None
    return float(np.cov(own, market, ddof=1)[0, 1] / variance)


def max_drawdown(prices: pl.DataFrame) -> Drawdown | None:
    """The deepest fall of the close from its highest before (Magdon-Ismail 2004); None where it never fell."""
    close, times = prices["close"].to_numpy(), prices["open_time"]
    if not close.size:
        return None
    fall = close / np.maximum.accumulate(close) - 1.0
    trough = int(fall.argmin())
    if fall[trough] == 0.0:
        return None
    peak = int(close[: trough + 1].argmax())
    again = np.flatnonzero(close[trough:] >= close[peak])
    return Drawdown(
        float(fall[trough]), times[peak], times[trough], times[trough + int(again[0])] if again.size else None
    )


def correlation(prices: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    """Pearson correlation of log returns, pair by pair at the times that both have.

    Columns `instrument`, `other`, `correlation` (null where it is not defined) and `returns`, how many there were; each
    pair once, an instrument with itself left out.
    """
    rows = []
    names = list(prices)
    for n, name in enumerate(names):
        for other in names[n + 1 :]:
            both = (
                prices[name]
                .select("open_time", "close")
                .join(prices[other].select("open_time", other="close"), on="open_time")
                .sort("open_time")
            )
            one, two = (np.diff(np.log(both[column].to_numpy())) for column in ("close", "other"))
            defined = one.size >= _FEWEST and one.std() > 0 and two.std() > 0
            rows.append((name, other, float(np.corrcoef(one, two)[0, 1]) if defined else None, one.size))
    schema = {"instrument": pl.String, "other": pl.String, "correlation": pl.Float64, "returns": pl.Int64}
    return pl.DataFrame(rows, schema=schema, orient="row")


def _simple_returns(close: FloatArray) -> FloatArray:
    return close[1:] / close[:-1] - 1.0


def _deviation(returns: FloatArray) -> float:
    return float(returns.std(ddof=1)) if returns.size >= _FEWEST else 0.0


def _instant(found: object) -> dt.datetime | None:
    return found if isinstance(found, dt.datetime) else None
