"""What the API's benchmark asks for: a year of 1m bars in the archive, two days in the live store, last values in Redis."""

import datetime as dt
import time
from pathlib import Path
from uuid import uuid4

import numpy as np
import polars as pl
import redis

from md_platform.catalog.ledger import Ledger, PartitionRecord
from md_platform.domain.events import Bar
from md_platform.domain.instruments import Instrument
from md_platform.domain.intervals import DAY, UTC
from md_platform.domain.schemas import CLEANED_BARS
from md_platform.storage.archive import Archive, Days
from md_platform.storage.lake import Lake
from md_platform.storage.live_store import LiveStore
from md_platform.storage.migrate import migrate

BTC = "binance:BTC-USDT"
TODAY = dt.datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
MINUTE = dt.timedelta(minutes=1)
YEAR = 365


def year_of_bars() -> pl.DataFrame:
    """525,600 bars that end two days ago; prices of ten significant digits, as venues have them."""
    count = YEAR * 1_440
    start = TODAY - (YEAR + 2) * DAY
    times = pl.datetime_range(start, start + count * MINUTE, "1m", closed="left", eager=True, time_unit="us")
    rng = np.random.default_rng(1)
    close = np.round(60_000 + np.cumsum(rng.normal(0, 10, count)), 2)
    volume = np.round(rng.exponential(12, count), 5)
    columns = {
        "instrument": BTC, "timeframe": "1m", "open_time": times, "close_time": times.dt.offset_by("1m"),
        "open": np.roll(close, 1), "high": np.maximum(close, np.roll(close, 1)) + 3.0,
        "low": np.minimum(close, np.roll(close, 1)) - 3.0, "close": close, "volume": volume,
        "quote_volume": np.round(volume * close, 4), "vwap": close, "trade_count": rng.integers(1, 2_000, count),
        "taker_buy_volume": volume / 2, "taker_buy_quote_volume": np.round(volume * close / 2, 4), "is_closed": True,
        "source": "binance", "revision": 0, "known_at": times.dt.offset_by("2d"),
    }  # fmt: skip
    return pl.DataFrame(columns).select(pl.col(name).cast(dtype) for name, dtype in CLEANED_BARS.schema.items())


def seed(folder: Path, database_url: str, redis_url: str) -> None:
    """A year in the archive, the last two days in the live store, last values in Redis."""
    migrate(database_url)
    bars, ledger = year_of_bars(), Ledger(database_url)
    ledger.register([(Instrument.parse(BTC, native="BTCUSDT"), "crypto")])
    archive, lake = Archive(str(folder / "archive")), Lake(folder / "lake")
    records = []
    for (month,), rows in bars.group_by(pl.col("open_time").dt.strftime("%Y-%m"), maintain_order=True):
        dates = sorted(set(rows["open_time"].dt.date()))
        archive.replace(
            CLEANED_BARS.name, rows, "open_time", [Days((BTC,), dates[0], dates[-1])], {"month": str(month)}
        )
        for date in dates:
            lake.write(lake.path(CLEANED_BARS, BTC, date), rows.filter(pl.col("open_time").dt.date() == date))
            records += [
                PartitionRecord(name, BTC, date, "ok", 1_440, sha256=f"{date}", evidence={"inputs": {}})
                for name in (CLEANED_BARS.name, f"archive_{CLEANED_BARS.name}")
            ]
    ledger.record(records)
    now = dt.datetime.now(UTC)
    minutes = int((now - (TODAY - 2 * DAY)) / MINUTE)
    live = [_live_bar(int((TODAY - 2 * DAY + n * MINUTE).timestamp()) * 10**9) for n in range(minutes)]
    with LiveStore(database_url) as store:
        store.write(live, uuid4(), 1)
    at = time.time_ns()
    with redis.Redis.from_url(redis_url) as client:
        client.hset(f"md:latest:{BTC}", mapping={"price": 60_000.5, "size": 0.5, "trade_ts": at, "bid": 60_000.0,
                    "bid_size": 1.5, "ask": 60_001.0, "ask_size": 0.2, "open_24h": 59_000, "high_24h": 61_000,
                    "low_24h": 58_000, "volume_24h": 5e3, "quote_volume_24h": 3e8, "change_24h": 0.015, "ts_24h": at,
                    "whole_24h": 1})  # fmt: skip


def _live_bar(opened: int) -> Bar:
    return Bar(BTC, "1m", opened, opened + 60 * 10**9, 60_000.0, 60_010.5, 59_990.25, 60_001.0, 12.5, 750_000.0, 900, 6.0,
               360_000.0, True, "trades", 0, opened + 60 * 10**9)  # fmt: skip
