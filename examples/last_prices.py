"""Last prices, quotes and books of everything that is registered.

python examples/last_prices.py [http://127.0.0.1:8000 [API key]]
"""

import sys

from md_platform.client import MarketData


def main(*address: str) -> None:
    with MarketData(*address) as client:
        ids = client.instruments()["id"].to_list()
        print(client.latest(ids).select("instrument", "price", "bid", "ask", "day_change", "age_ms", "is_stale"))
        print(client.market_summary(limit=3))


if __name__ == "__main__":
    main(*sys.argv[1:])
