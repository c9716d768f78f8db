"""A moving-average cross on the bars that were known then, and on what later revisions made of them.

A back-test on revised bars knows more than anybody did. `as_of` is the moment whose knowledge counts.

python examples/backtest.py [http://127.0.0.1:8000 [API key]]
"""

import datetime as dt
import sys

from crossing import Crossing

from md_platform.client import MarketData

INSTRUMENT = "sandbox:BTC-USDT"


def main(*address: str) -> None:
    end = dt.datetime.now(dt.UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    start = end - dt.timedelta(days=2)
    with MarketData(*address) as client:
        for name, as_of in (("as known now", None), ("as known an hour after", end + dt.timedelta(hours=1))):
            strategy = Crossing()
            bars = client.bars(INSTRUMENT, "15m", start, end, as_of=as_of)
            trades = sum(strategy.on_close(close) for close in bars["close"])
            print(f"{name}: {bars.height} bars, {trades} trades, {strategy.gain:+.3%}")


if __name__ == "__main__":
    main(*sys.argv[1:])
