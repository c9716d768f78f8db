"""What trades now: instruments by a word, their quotes, the best of their books, their last trades.

python examples/market_now.py [http://127.0.0.1:8000 [API key]]
"""

import sys

from md_platform.client import MarketData


def main(*address: str) -> None:
    with MarketData(*address) as client:
        found = client.search("btc")
        print(found.select("id", "name", "asset_class", "tick_size"))
        quotes = client.quotes(found["id"].to_list())
        print(quotes)
        for instrument in quotes["instrument"]:
            print(client.orderbook(instrument, depth=5))
            print(client.trades(instrument, limit=5).select("ts_event", "price", "size", "taker_side"))


if __name__ == "__main__":
    main(*sys.argv[1:])
