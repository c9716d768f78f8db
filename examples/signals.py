"""Indicators, a formula of your own and correlations, computed by the platform on bars of any range.

python examples/signals.py [http://127.0.0.1:8000 [API key]]
"""

import datetime as dt
import sys

import polars as pl

from md_platform.client import MarketData

INSTRUMENT = "sandbox:BTC-USDT"


def main(*address: str) -> None:
    start = dt.datetime.now(dt.UTC) - dt.timedelta(days=2)
    with MarketData(*address) as client:
        print(client.indicators(INSTRUMENT, ["ema(20)", "rsi", "macd(12,26,9)"], "15m", start).tail(3))
        stretched = client.custom(INSTRUMENT, "(close - sma(20)) / atr(14) > 1", "15m", start)
        share = stretched["value"].drop_nulls().mean()
        print(f"more than one ATR above its average: {share:.0%} of {stretched.height} bars")
        every = client.instruments().filter(pl.col("status") == "active")["id"].to_list()
        print(client.correlation(every, "1h", start))


if __name__ == "__main__":
    main(*sys.argv[1:])
