"""Days of bars as the platform keeps them, good and bad ones, written into a lake and its ledger."""

import datetime as dt

import numpy as np
import polars as pl

from md_platform.api.stores import Stores
from md_platform.catalog.ledger import PartitionRecord
from md_platform.domain.instruments import Instrument
from md_platform.domain.intervals import DAY, UTC, Interval
from md_platform.domain.schemas import CLEANED_BARS, RESAMPLED_BARS
from md_platform.transforms.resampled import resample

BTC, ETH, SOL = "sandbox:BTC-USDT", "sandbox-coinbase:ETH-USD", "sandbox-kraken:SOL-USD"
EMPTY, TO_LOAD = "sandbox:LTC-USDT", "sandbox:ETH-USDT"
_NATIVE = {BTC: "BTCUSDT", ETH: "ETH-USD", SOL: "SOL/USD", EMPTY: "LTCUSDT", TO_LOAD: "ETHUSDT"}
_PRICE = {BTC: 76_340.0, ETH: 3_252.0, SOL: 192.4}
_MINUTES = 1_440
RUN = "5b1d6c1e-0000-4000-8000-000000000001"


def stock(stores: Stores, days: int, end: dt.date | None = None) -> None:
    """Register instruments and write `days` days before `end` (today) of all but EMPTY.

    Of BTC the 5th day before the end is missing and the 9th degraded, with a gap of an hour.
    """
    last = end or dt.datetime.now(UTC).date()
    stores.ledger.register([(Instrument.parse(id_, native=native), "crypto") for id_, native in _NATIVE.items()])
    for seed, id_ in enumerate(_PRICE):
        closes = _closes(_PRICE[id_], days, seed)
        records: list[PartitionRecord] = []
        for n in range(days):
            before, date = days - n, last - (days - n) * DAY
            if id_ == BTC and before == 5:
                records += [PartitionRecord(d.name, id_, date, "missing") for d in (CLEANED_BARS, RESAMPLED_BARS)]
            else:
                records += _day(stores, id_, date, closes[n], is_degraded=id_ == BTC and before == 9)
        stores.ledger.record(records)


def _closes(price: float, days: int, seed: int) -> np.ndarray:
    steps = np.random.default_rng(seed).normal(0, 0.0006, days * _MINUTES)
    walk = np.cumsum(steps)
    return (price * np.exp(walk - walk[-1])).reshape(days, _MINUTES)


def _day(stores: Stores, id_: str, date: dt.date, closes: np.ndarray, *, is_degraded: bool) -> list[PartitionRecord]:
    bars = _bars(id_, date, closes)
    midnight = Interval.day(date).start
    evidence: dict[str, object] = {"violations": {}, "gaps": []}
    if is_degraded:
        start = midnight + dt.timedelta(hours=11)
        gone = (pl.col("open_time") >= start) & (pl.col("open_time") < start + dt.timedelta(hours=1))
        bars = bars.filter(~gone)
        evidence = {
            "gaps": [{"start": start.isoformat(), "end": (start + dt.timedelta(hours=1)).isoformat(), "missing": 60,
                      "cause": "venue outage"}],
            "quarantined": {"price_positive": 2},
            "violations": {},
            "expected": _MINUTES,
            "missing": 60,
        }  # fmt: skip
    else:
        evidence |= {"expected": _MINUTES, "missing": 0}
    status = "degraded" if is_degraded else "ok"
    score = bars.height / _MINUTES
    records = []
    for dataset, frame in (
        (CLEANED_BARS, bars),
        (RESAMPLED_BARS, resample(bars, Interval.day(date).end)),
    ):
        size = stores.lake.write(stores.lake.path(dataset, id_, date), frame)
        records.append(
            PartitionRecord(
                dataset.name, id_, date, status, frame.height, int(getattr(size, "bytes", 0) or frame.estimated_size()),
                first_time=frame["open_time"][0], last_time=frame["open_time"][-1], source=id_.partition(":")[0],
                sha256=f"{date:%Y%m%d}" * 8, score=score, run_id=RUN,
                evidence={**evidence, "inputs": {"cleaned_bars": f"{date:%Y%m%d}" * 8} if frame is not bars else {}},
            )
        )  # fmt: skip
    return records


def _bars(id_: str, date: dt.date, closes: np.ndarray) -> pl.DataFrame:
    opens = np.concatenate(([closes[0]], closes[:-1]))
    rng = np.random.default_rng(date.toordinal())
    spread = np.abs(rng.normal(0, 0.0004, (2, _MINUTES)))
    high, low = np.maximum(opens, closes) * (1 + spread[0]), np.minimum(opens, closes) * (1 - spread[1])
    volume = rng.gamma(2, 3, _MINUTES) * (1 + np.abs(closes / opens - 1) * 800)
    opened = Interval.day(date).start
    times = pl.datetime_range(opened, opened + DAY, "1m", time_unit="us", closed="left", eager=True, time_zone="UTC")
    minute = pl.duration(minutes=1)
    frame = pl.DataFrame(
        {"open_time": times, "open": opens.round(4), "high": high.round(4), "low": low.round(4),
         "close": closes.round(4), "volume": volume.round(4)}
    )  # fmt: skip
    return frame.with_columns(
        instrument=pl.lit(id_),
        timeframe=pl.lit("1m"),
        close_time=pl.col("open_time") + minute,
        quote_volume=pl.col("volume") * pl.col("close"),
        vwap=pl.col("close"),
        trade_count=pl.lit(40, pl.Int64),
        taker_buy_volume=pl.col("volume") / 2,
        taker_buy_quote_volume=pl.col("volume") * pl.col("close") / 2,
        is_closed=pl.lit(True),
        source=pl.lit(id_.partition(":")[0]),
        revision=pl.lit(0, pl.Int64),
        known_at=pl.lit(opened + DAY),
    ).select(pl.col(name).cast(dtype) for name, dtype in CLEANED_BARS.schema.items())
