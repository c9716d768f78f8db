"""Bars to compute on: a random walk with its seed, and the reference data beside the repository."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from md_platform.domain.indicators import Ohlcv
from md_platform.domain.intervals import Timeframe

DAY_US = 86_400_000_000
START_US = 19_723 * DAY_US  # 2024-01-01
REFERENCE = Path(__file__).parents[4] / "shared" / "data"


def random_walk(n: int, *, seed: int = 1, timeframe: Timeframe = Timeframe.M1, start_us: int = START_US) -> Ohlcv:
    """`n` bars of a walk whose volatility changes slowly, so that calm and wild stretches follow one another."""
    rng = np.random.default_rng(seed)
    volatility = np.clip(1e-3 * np.exp(np.cumsum(rng.normal(0, 0.02, n))), 1e-4, 1e-2)
    close = 100 * np.exp(np.cumsum(rng.normal(0, 1, n) * volatility))
    opened = np.r_[np.full(min(n, 1), 100.0), close[:-1]]
    high = np.maximum(opened, close) * (1 + rng.random(n) * volatility)
    low = np.minimum(opened, close) * (1 - rng.random(n) * volatility)
    assert timeframe.seconds is not None
    open_time = start_us + np.arange(n, dtype=np.int64) * timeframe.seconds * 1_000_000
    return Ohlcv(open_time, opened, high, low, close, rng.lognormal(3, 1, n), timeframe)


@pytest.fixture(scope="session")
def make_walk() -> Callable[..., Ohlcv]:
    return random_walk


@pytest.fixture(scope="session")
def long_walk() -> Ohlcv:
    return random_walk(12_000)


@pytest.fixture(scope="session")
def reference() -> Path:
    if not REFERENCE.is_dir():
        pytest.skip(f"the reference data are not here: {REFERENCE} does not exist")
    return REFERENCE
