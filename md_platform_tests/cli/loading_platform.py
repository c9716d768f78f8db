"""A ledger, a Dagster that follows a script, and the command line over both."""

import datetime as dt

import pytest

from md_platform import cli
from md_platform.catalog.backfill import next_period
from md_platform.catalog.ledger import Ledger, PartitionRecord
from md_platform.catalog.ranges import Range, next_day
from md_platform.domain.instruments import Instrument
from md_platform.domain.intervals import DAY, Timeframe
from md_platform_tests.scripted_dagster import ScriptedRun

BTC = Instrument.parse("binance:BTC-USDT", native="BTCUSDT")
ETH = Instrument.parse("binance:ETH-USDT", native="ETHUSDT")
D = dt.date(2024, 3, 4)  # a Monday


class Platform:
    """A ledger, and a Dagster whose runs record every partition of their range in it."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.bad: set[tuple[str, str, dt.date]] = set()
        self.ends_in = "SUCCESS"
        self.error: str | None = None

    def work(self, run: ScriptedRun) -> None:
        if self.ends_in == "SUCCESS":
            partitions = Range.of_run(run.tags)
            order = self.dagster.registered
            first, last = (order.index(name) for name in partitions.instruments)
            names = order[first : last + 1]
            for asset in run.assets:  # one after the other, as Dagster makes them
                self.ledger.record([self.record(run, asset, n, d) for n in names for d in _dates(asset, partitions)])
        run.status, run.error = self.ends_in, self.error

    def record(self, run: ScriptedRun, asset: str, name: str, date: dt.date) -> PartitionRecord:
        if (asset, name, date) in self.bad:
            return PartitionRecord(
                asset, name, date, "failed", evidence={"error": "no source delivered"}, run_id=run.id
            )
        content = asset.removeprefix("archive_")
        return PartitionRecord(asset, name, date, "ok", rows=1_440, sha256=f"{content} {date}", run_id=run.id)

    def launched(self) -> list[tuple[str, str, str]]:
        return [
            (run.assets[0], *(run.tags[f"dagster/asset_partition_range_{e}"] for e in ("start", "end")))
            for run in self.dagster.runs
        ]


def _dates(asset: str, partitions: Range) -> list[dt.date]:
    after = next_day
    if "weekly" in asset or "monthly" in asset:
        after = next_period(Timeframe.W1 if "weekly" in asset else Timeframe.MONTH1)
    dates = [partitions.first]
    while dates[-1] < partitions.last:
        dates.append(after(dates[-1]))
    return dates


def mdp(*arguments: str) -> int:
    with pytest.raises(SystemExit) as exit_of:
        cli.main(list(arguments))
    return exit_of.value.code


def backfill(*more: str, ids: tuple[str, ...] = ("binance:BTC-USDT",), start: dt.date = D, days: int = 3) -> int:
    return mdp("backfill", *ids, "--start", str(start), "--end", str(start + days * DAY), *more)
