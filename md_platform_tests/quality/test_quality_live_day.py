"""What of a streamed day is missing: gaps that nothing repaired, ids that never came."""

import datetime as dt

import polars as pl
import pytest

from md_platform.domain.instruments import Instrument
from md_platform.domain.intervals import UTC, Interval
from md_platform.quality.live_day import count_of, missing_ids, open_gaps
from md_platform.storage.live_reading import NOTICE_COLUMNS

BTC = Instrument.parse("binance:BTC-USDT")
DAY = Interval.day(dt.date(2026, 11, 17))
SCHEMA = pl.Schema({column.name: column.dtype for column in NOTICE_COLUMNS})


def at(hour: float) -> dt.datetime:
    return dt.datetime(2026, 11, 17, tzinfo=UTC) + dt.timedelta(hours=hour)


def notice(kind: str, said: float, start: float | None, end: float | None, **given: object) -> dict[str, object]:
    return {"at": at(said), "kind": kind, "venue": "binance", "feed": "binance", "connection": "binance-0", "cause": "",
            "start": start if start is None else at(start), "end": end if end is None else at(end),
            "channels": ["book", "trades"], "instruments": [], "first_missing": None, "last_missing": None} | given  # fmt: skip


GAP = notice("gap", 3, 2, 3)
MENDED = {"channels": ["trades"], "instruments": [BTC.id]}


@pytest.mark.parametrize(
    ("notices", "hours"),
    [
        ([], []),
        ([GAP], [(2, 3)]),
        ([GAP, notice("repaired", 3.1, 2, 3, **MENDED)], []),
        ([GAP, notice("repaired", 3.1, 1.99, 2.99, **MENDED)], []),  # by the venue's clock
        ([GAP, notice("repaired", 3.1, 2, 3, **MENDED | {"instruments": ["binance:ETH-USDT"]})], [(2, 3)]),
        ([GAP, notice("repaired", 3.1, 2, 3, **MENDED | {"channels": ["bars"]})], [(2, 3)]),  # its trades are not here
        ([GAP, notice("repaired", 3.1, 2, 3, **MENDED, connection="binance-1")], [(2, 3)]),
        ([notice("repaired", 1, 2, 3, **MENDED), GAP], [(2, 3)]),  # of a gap before
        ([GAP, notice("repaired", 9, 7, 8, **MENDED)], [(2, 3)]),
        ([notice("gap", 3, 2, 3, instruments=["binance:ETH-USDT"])], []),
        ([notice("gap", 3, 2, 3, channels=["quotes"])], []),
        ([notice("gap", 3, 2, 3, venue="kraken")], []),
        ([notice("stalled", 3, 2, 3)], []),
        ([notice("gap", 30, 26, 30)], []),  # tomorrow's
        ([notice("gap", 30, 23, 30)], [(23, 30)]),
        ([notice("gap", 5, 4, None)], [(4, 24)]),
        ([notice("gap", 5, None, None)], []),  # a sequence that jumped; its range is told by another
    ],
)
def test_gaps_that_nothing_repaired(notices, hours):
    found = open_gaps(pl.DataFrame(notices, schema=SCHEMA), BTC, DAY)
    assert [(gap.start, gap.end) for gap in found] == [(at(start), at(end)) for start, end in hours]


def test_ids_jumps_are_repaired_each_by_its_own_numbers():
    ids = {"connection": "", "instruments": [BTC.id], "channels": ["trades"]}
    jumps = [notice("gap", 3, 2, 2, **ids, first_missing=n, last_missing=n) for n in (5, 7)]
    repair = notice("repaired", 4, 2, 2, **ids, first_missing=5, last_missing=5)
    assert len(open_gaps(pl.DataFrame([*jumps, repair], schema=SCHEMA), BTC, DAY)) == 1


@pytest.mark.parametrize(
    ("ids", "before", "after", "ranges"),
    [
        ([5, 6, 7], None, None, []),
        ([5, 6, 7], 4, 8, []),
        ([7, 5, 6, 6], 4, 8, []),
        ([5, 9], None, None, [(6, 8)]),
        ([5, 6], 2, 8, [(3, 4), (7, 7)]),
    ],
)
def test_ids_that_never_came(ids, before, after, ranges):
    assert missing_ids(pl.Series(ids, dtype=pl.Int64), before, after) == ranges
    assert count_of(ranges) == sum(len(range(first, last + 1)) for first, last in ranges)
