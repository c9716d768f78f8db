"""What users write, for mypy: each line says the type that it must have."""

from collections.abc import AsyncIterator, Iterator
from typing import assert_type

import pandas as pd
import polars as pl

from md_platform.client import AsyncMarketData, Backfill, LiveEvent, MarketData, Stream


def blocking() -> None:
    polars, pandas = MarketData(), MarketData(as_="pandas")
    assert_type(polars.bars("a", "1m", limit=5), pl.DataFrame)
    assert_type(pandas.bars(["a", "b"], indicators=["rsi"]), pd.DataFrame)
    assert_type(MarketData.open(".mdp", as_="pandas").trades("a"), pd.DataFrame)
    assert_type(pandas.history("a"), Iterator[pd.DataFrame])
    assert_type(polars.backfill("a", "2026-01-01", "2026-01-02"), Backfill)
    assert_type(polars.stream(trades=["a"]), Stream)
    for event in polars.stream(bars=[("a", "1m")], last=5):
        assert_type(event, LiveEvent)
    polars.bars("a", nothing=5)  # type: ignore[call-arg]
    polars.bars(5)  # type: ignore[arg-type]


async def awaited() -> None:
    async with AsyncMarketData(as_="pandas") as client:
        assert_type(await client.bars("a"), pd.DataFrame)
        assert_type(client.history("a"), AsyncIterator[pd.DataFrame])
        assert_type(await client.wait(await client.backfill("a", "2026-01-01", "2026-01-02")), Backfill)
