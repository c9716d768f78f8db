"""A year of hourly bars with two indicators, as pandas; then its minutes, page by page in bounded memory.

python examples/year_of_bars.py [http://127.0.0.1:8000 [API key]]
"""

import datetime as dt
import sys

from md_platform.client import MarketData

INSTRUMENT = "sandbox:BTC-USDT"


def main(*address: str) -> None:
    end = dt.datetime.now(dt.UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    start = end - dt.timedelta(days=365)
    with MarketData(*address, as_="pandas") as client:
        bars = client.bars(INSTRUMENT, "1h", start, end, indicators=["ema(20)", "rsi"])
        print(bars.set_index("open_time")[["close", "volume", "ema_20", "rsi_14"]].tail())
        rows = sum(len(page) for page in client.history(INSTRUMENT, "1m", start, end))
        print(f"{rows:,} bars of a minute")


if __name__ == "__main__":
    main(*sys.argv[1:])
