"""Four days of two instruments in lake, archive and ledger, as the chain leaves them."""

import polars as pl

from md_platform.catalog.ledger import PartitionRecord
from md_platform.domain.instruments import Instrument
from md_platform.domain.intervals import DAY, Interval
from md_platform.domain.schemas import CLEANED_BARS, CLEANED_TRADES, RAW_BARS, RESAMPLED_BARS
from md_platform.storage.archive import Days
from md_platform.transforms.resampled import resample
from md_platform_tests.rows import BTC, DAY0, bar, bar_rows, day_of_bars, trade, trade_rows

ETH = "binance:ETH-USDT"
DAYS = 4
START, END = DAY0, DAY0 + DAYS * DAY
LATER = DAY0 + 60 * DAY


def keep(stores, dataset, instrument, date, frame, *, inputs=(), archived=False):
    """As the chain leaves it: files, ledger, and the archive where that is wanted."""
    stores.lake.write(stores.lake.path(dataset, instrument, date, "binance" if dataset.by_source else None), frame)
    evidence = {"inputs": dict.fromkeys(inputs, "sha")}
    record = PartitionRecord(dataset.name, instrument, date, "ok", frame.height, sha256="sha", evidence=evidence)
    stores.ledger.record([record])
    if archived:
        stores.archive.replace(dataset.name, frame, dataset.time, [Days((instrument,), date, date)], {})


def fill(stores) -> None:
    stores.ledger.register([(Instrument.parse(BTC), "crypto"), (Instrument.parse(ETH), "crypto")])
    for instrument in (BTC, ETH):
        for n in range(DAYS):
            date = (START + n * DAY).date()
            factor = 1.0 if instrument == BTC else 1.0 + n / 10
            bars = day_of_bars(date, instrument=instrument).with_columns(
                pl.col("open", "high", "low", "close") * factor
            )
            keep(stores, CLEANED_BARS, instrument, date, bars, archived=True)
            rolled = resample(bars, Interval.day(date).end)
            keep(stores, RESAMPLED_BARS, instrument, date, rolled, inputs=["cleaned_bars"], archived=True)
    revised = day_of_bars(START.date(), range(60), revision=1, known_at=LATER)
    keep(stores, RAW_BARS, BTC, START.date(), pl.concat([bar_rows([bar(0, 90.0)]), revised]))
    trades = trade_rows(trade(n // 3, str(n), 10.0 + n) for n in range(1_000))
    keep(stores, CLEANED_TRADES, BTC, START.date(), trades, archived=True)
