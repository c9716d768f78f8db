"""Yesterday's bars as Parquet on this machine's disk: an export is started, waited for and downloaded.

python examples/export_bars.py [http://127.0.0.1:8000 [API key]]
"""

import datetime as dt
import sys
import tempfile

import polars as pl

from md_platform.client import MarketData

INSTRUMENT = "sandbox:BTC-USDT"


def main(*address: str) -> None:
    end = dt.datetime.now(dt.UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    with MarketData(*address) as client, tempfile.TemporaryDirectory() as folder:
        export = client.wait(client.export("cleaned_bars", INSTRUMENT, end - dt.timedelta(days=1), end))
        for path in client.download(export, folder):
            print(f"{path.name}: {pl.scan_parquet(path).select(pl.len()).collect().item():,} rows")
        print("exports so far:", [each.state for each in client.exports()])


if __name__ == "__main__":
    main(*sys.argv[1:])
