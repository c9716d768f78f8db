"""A split: recorded, seen in adjusted bars, and withdrawn again.

python examples/split_adjusted.py [http://127.0.0.1:8000 [API key of an admin]]
"""

import datetime as dt
import sys

from md_platform.client import MarketData

INSTRUMENT = "sandbox:BTC-USDT"


def main(*address: str) -> None:
    today = dt.datetime.now(dt.UTC).date()
    with MarketData(*address) as client:
        ex_date = today - dt.timedelta(days=1)
        client.add_corporate_action(INSTRUMENT, ex_date, "split", 4)
        paid = client.bars(INSTRUMENT, "1d", ex_date - dt.timedelta(days=1), today)
        adjusted = client.bars(INSTRUMENT, "1d", ex_date - dt.timedelta(days=1), today, adjusted=True)
        print(client.corporate_actions(INSTRUMENT).select("ex_date", "kind", "value"))
        for opened, before, after in zip(paid["open_time"], paid["close"], adjusted["close"], strict=True):
            print(f"{opened:%Y-%m-%d}: closed at {before:,.2f}, adjusted {after:,.2f}")
        client.remove_corporate_action(INSTRUMENT, ex_date, "split")


if __name__ == "__main__":
    main(*sys.argv[1:])
