"""A minute in which nobody traded owes no bar, where complete trades prove it; without proof it is missing."""

import datetime as dt
from collections.abc import Callable
from pathlib import Path

import pytest

from md_platform_tests.assets.conftest import Platform

DAY = dt.date(2024, 3, 4)
CHAIN = ["raw_trades", "cleaned_trades", "trade_bars", "cleaned_bars", "resampled_bars", "indicators"]


def trades(folder: Path, skip: Callable[[int], bool]) -> Path:
    """A trade every seven minutes of the day, numbered from 1, save those that are skipped."""
    start = int(dt.datetime(DAY.year, DAY.month, DAY.day, tzinfo=dt.UTC).timestamp()) * 1_000
    rows = [f"{n},{100 + n % 3},1.5,{start + n * 420_000},buy" for n in range(1, 1_440 // 7) if not skip(n)]
    file = folder / "trades.csv"
    file.write_text("\n".join(["trade_id,price,size,time,side", *rows]) + "\n")
    return file


@pytest.mark.parametrize(("skip", "status"), [(lambda _: False, "ok"), (lambda n: n == 77, "degraded")])
def test_minutes_that_complete_trades_prove_quiet_are_not_missing(
    platform: Platform, tmp_path: Path, skip: Callable[[int], bool], status: str
) -> None:
    file = trades(tmp_path, skip)
    platform.run(CHAIN, "kraken:BTC-USD", DAY, files=[file])

    count = len(file.read_text().splitlines()) - 1
    bars = platform.ledger("cleaned_bars")[DAY]
    assert (bars["rows"], bars["status"]) == (count, status)
    assert bars["evidence"]["missing"] == (0 if status == "ok" else 1_440 - count)
    assert platform.ledger("resampled_bars")[DAY]["status"] == status
    assert platform.ledger("indicators")[DAY]["status"] == status
