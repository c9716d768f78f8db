"""`python -m md_platform_tests.assets.parity [--days 2]`: what was streamed against what the batch chain makes of it.

Days of the sandbox's trades go frame by frame through `mdp stream --replay` and `mdp stream write`, then through the
chain in Dagster. Bars and indicators are compared row by row.
"""

import argparse
import datetime as dt
import logging
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import numpy as np
import polars as pl
from rich.console import Console
from rich.table import Table

from md_platform.domain.bars import bars_from_trades
from md_platform.domain.events import Bar, IndicatorValues
from md_platform.domain.indicators import REGISTRY, STANDARD_SET, IndicatorSpec, Ohlcv
from md_platform.domain.indicators.live import LiveIndicators
from md_platform.domain.instruments import Instrument
from md_platform.domain.intervals import DAY, INTRADAY_ROLL_UPS, Interval, Timeframe
from md_platform.domain.schemas import CLEANED_BARS, CLEANED_TRADES, INDICATORS, RESAMPLED_BARS, TRADE_BARS, Dataset
from md_platform.domain.wire import decode
from md_platform.embedded import postgres_running, valkey_running
from md_platform.quality.reconcile import compare_bars
from md_platform.sandbox.binance_stream import BinanceStreams
from md_platform.sandbox.history import History
from md_platform.sandbox.listings import listings
from md_platform.sandbox.server import SandboxConfig
from md_platform.sandbox.simulation import Simulation
from md_platform.storage.captures import CaptureWriter, Record
from md_platform.storage.live_reading import LiveReader
from md_platform.storage.spool import Spool
from md_platform.transforms.indicators import INDICATOR_TIMEFRAMES, indicator_values
from md_platform_tests.assets.conftest import Platform, platform_at
from md_platform_tests.streaming.captures import play

BTC = Instrument("sandbox", "BTC", "USDT", "BTCUSDT")
FIRST = dt.date(2026, 11, 16)
CHAIN = ["live_trades", "cleaned_trades", "trade_bars", "cleaned_bars", "resampled_bars", "indicators"]
EVERY = tuple(entry.bind() for entry in REGISTRY.values())
_DELAY_S = 0.005
_AGREE = 1e-9  # sums of volumes are added up in another order, prices are the same to the last bit


@dataclass(frozen=True, slots=True)
class Compared:
    """One comparison: how many rows both sides have, values in them, and how many of either differ or lack."""

    what: str
    timeframe: str
    rows: int
    values: int
    differing: int


def record(span: Interval, folder: Path) -> None:
    """The sandbox's trades of `span` as our client would have recorded them, each 5 ms after it happened.

    It connects a minute before, so that the first minute is whole.
    """
    described = {"feed": "sandbox", "channel": "trades", "instrument": BTC.id, "native": BTC.native}
    writer = CaptureWriter(folder, "stream", {"subscriptions": [described]})
    writer.write(Record("connect", "sandbox-0", span.start.timestamp() - 60))
    start_us, end_us = (int(at.timestamp()) * 1_000_000 for at in (span.start, span.end))
    streams = BinanceStreams(History(Simulation(SandboxConfig().seed, listings())))
    name = "btcusdt@aggTrade"
    for tick in streams.ticks(name, start_us - 1, end_us - 1):
        frame = f'{{"stream":"{name}","data":{tick.json}}}'
        writer.write(Record("recv", "sandbox-0", tick.time_us / 1e6 + _DELAY_S, data=frame))
    writer.close()


def streamed_and_built(platform: Platform, folder: Path, redis_url: str, database_url: str, days: int) -> None:
    """The days through the live process and the writer, then through the chain."""
    platform.stores.ledger.register([(BTC, "crypto")])
    last = FIRST + (days - 1) * DAY
    record(Interval(Interval.day(FIRST).start, Interval.day(last).end), folder / "capture")
    play(folder / "capture", platform.home, redis_url, database_url)
    platform.run(CHAIN, BTC.id, FIRST, last)


def compared(platform: Platform, database_url: str, days: int) -> Iterator[Compared]:
    """Every comparison: bars of each timeframe, the standard set as it was said, the whole registry over live bars."""
    dates = [FIRST + n * DAY for n in range(days)]
    span = Interval(Interval.day(dates[0]).start, Interval.day(dates[-1]).end)
    with LiveReader(database_url) as reader:
        live = {tf: reader.bars(BTC.id, tf, span).filter("is_closed") for tf in (Timeframe.S1, *INDICATOR_TIMEFRAMES)}
    trades = _batch(platform, CLEANED_TRADES, dates).lazy()
    rolled = _batch(platform, RESAMPLED_BARS, dates)
    made = {
        Timeframe.S1: bars_from_trades(trades, Timeframe.S1, span.end).collect(),  # which the chain does not store
        Timeframe.M1: _batch(platform, TRADE_BARS, dates),
        **{tf: rolled.filter(pl.col("timeframe") == tf.value) for tf in INTRADAY_ROLL_UPS},
    }
    for timeframe, bars in live.items():
        result = compare_bars(bars, made[timeframe])
        lacking = len(result.only_live) + len(result.only_batch)
        columns = 9  # open to taker_buy_quote_volume
        yield Compared("bars", timeframe, result.compared, result.compared * columns, len(result.differing) + lacking)
    yield from _same("standard set, said", _said(platform.home), _batch(platform, INDICATORS, dates), STANDARD_SET)
    every = pl.concat([_batch(platform, CLEANED_BARS, dates), rolled])
    windows = {
        tf: Ohlcv.from_frame(every.filter(pl.col("timeframe") == tf.value), timeframe=tf) for tf in INDICATOR_TIMEFRAMES
    }
    by_batch = pl.concat(frame for _, frame in indicator_values(BTC.id, windows, EVERY, dates))
    yield from _same("whole registry", _by_handles(live), by_batch, EVERY)


def _batch(platform: Platform, dataset: Dataset, dates: Sequence[dt.date]) -> pl.DataFrame:
    lake = platform.stores.lake
    found = lake.read([lake.path(dataset, BTC.id, date) for date in dates])
    assert found is not None
    return found


_Values = Mapping[tuple[str, int], Mapping[str, float | None]]
"""By timeframe and open time in ns: an indicator's value by column."""


def _said(home: Path) -> _Values:
    """What the live process published, of each bar the last."""
    spool = Spool(home / "stream" / "spool.db")
    events = [event for row in spool.since(0) for event in decode(row.message.payload)]
    spool.close()
    return {(e.timeframe, e.open_time): e.values for e in events if isinstance(e, IndicatorValues) and e.is_closed}


def _by_handles(live: Mapping[Timeframe, pl.DataFrame]) -> _Values:
    """Live handles of every indicator there is, over the live bars as they closed."""
    found: dict[tuple[str, int], Mapping[str, float | None]] = {}
    for timeframe in INDICATOR_TIMEFRAMES:
        nothing = Ohlcv(*(np.empty(0, kind) for kind in (np.int64, *[np.float64] * 5)), timeframe)
        handles = LiveIndicators(EVERY, nothing)
        for row in (
            live[timeframe]
            .with_columns(pl.col("open_time", "close_time", "known_at").dt.epoch("ns"))
            .iter_rows(named=True)
        ):
            bar = Bar(**{name: row[name] for name in Bar.__struct_fields__})
            found[timeframe.value, bar.open_time] = handles.update(bar)
    return found


def _same(what: str, live: _Values, batch: pl.DataFrame, specs: Sequence[IndicatorSpec]) -> Iterator[Compared]:
    names = [name for spec in specs for name in spec.columns]
    rows = batch.select("timeframe", pl.col("open_time").dt.epoch("ns"), *names)
    for timeframe in INDICATOR_TIMEFRAMES:
        own = rows.filter(pl.col("timeframe") == timeframe.value)
        both = [row for row in own.iter_rows(named=True) if (timeframe.value, row["open_time"]) in live]
        said = sum(at == timeframe.value for at, _ in live)
        mine = np.array([[live[timeframe.value, row["open_time"]][n] for n in names] for row in both], dtype=np.float64)
        theirs = np.array([[row[n] for n in names] for row in both], dtype=np.float64)
        differing = int((~np.isclose(mine, theirs, rtol=_AGREE, atol=_AGREE, equal_nan=True)).sum())
        lacking = own.height + said - 2 * len(both)
        yield Compared(what, timeframe, len(both), mine.size, differing + lacking)


def main() -> int:
    """Print a line for each comparison and the sums; 1 where anything differs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--days", type=int, default=2)
    days = parser.parse_args().days
    logging.disable(logging.INFO)  # Dagster tells every step
    with tempfile.TemporaryDirectory(prefix="mdp-parity-") as name, dg.DagsterInstance.ephemeral() as instance:
        folder = Path(name)
        folder.chmod(0o755)
        with (
            postgres_running(folder / "postgres", durable=False) as database_url,
            valkey_running(folder / "redis") as redis_url,
        ):
            platform = platform_at(folder / "home", database_url, instance)
            streamed_and_built(platform, folder, redis_url, database_url, days)
            results = list(compared(platform, database_url, days))
    table = Table("what", "timeframe", box=None, pad_edge=False)
    for heading in ("rows", "values", "differing"):
        table.add_column(heading, justify="right")
    for each in results:
        table.add_row(each.what, each.timeframe, f"{each.rows:,}", f"{each.values:,}", f"{each.differing:,}")
    Console().print(table)
    rows, values, differing = (sum(getattr(each, n) for each in results) for n in ("rows", "values", "differing"))
    print(f"{rows:,} rows, {values:,} values of {len(EVERY)} indicators and {len(STANDARD_SET)} as said, "
          f"differing {differing:,}")  # fmt: skip
    return 1 if differing or not rows else 0


if __name__ == "__main__":
    sys.exit(main())
