"""A week of history is loaded from the venue, through Dagster; Ctrl-C cancels it. What is there already is left alone.

python examples/load_history.py [http://127.0.0.1:8000 [API key]]
"""

import datetime as dt
import sys

from md_platform.client import MarketData

INSTRUMENT = "sandbox:BTC-USDT"


def main(*address: str) -> None:
    today = dt.datetime.now(dt.UTC).date()
    with MarketData(*address) as client:
        backfill = client.backfill(INSTRUMENT, today - dt.timedelta(days=7), today)
        try:
            done = client.wait(backfill)
        except KeyboardInterrupt:
            done = client.cancel(backfill)
        print(f"{done.state}: {done.made} of {done.total} partitions made")
        for each in client.backfills(limit=5):
            print(f"{each.created_at:%F %T} {each.state}: {each.made} of {each.total}, {each.request}")
        print(client.runs(limit=5))


if __name__ == "__main__":
    main(*sys.argv[1:])
