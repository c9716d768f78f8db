"""How far data may be trusted: what there is, how good each day is, why, and what happened to the feeds.

python examples/data_quality.py [http://127.0.0.1:8000 [API key]]
"""

import sys

import polars as pl

from md_platform.client import MarketData

DATASET = "cleaned_bars"


def main(*address: str) -> None:
    with MarketData(*address) as client:
        print(client.datasets().select("name", "instruments", "rows", "first_day", "last_day"))
        print(client.columns(DATASET))
        days = client.coverage(DATASET)
        print(days.group_by("instrument", "status").agg(pl.len().alias("days")).sort("instrument", "status"))
        for instrument, day, *_ in days.unique("instrument", keep="last").iter_rows():
            print(client.quality(instrument, DATASET).tail(3))
            evidence = client.partition(DATASET, instrument, day)
            print({name: evidence[name] for name in ("status", "source", "gaps", "upstream")})
        print(client.events(kinds=["gap", "disconnected"]))


if __name__ == "__main__":
    main(*sys.argv[1:])
