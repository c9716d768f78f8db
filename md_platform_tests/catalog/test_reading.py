"""Reading across lake and archive: real Parquet, real Delta, a real ledger."""

import datetime as dt
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from md_platform.catalog.ledger import Ledger, PartitionRecord
from md_platform.catalog.reading import Reader, Selection, chunks, timeframes_of
from md_platform.domain import schemas
from md_platform.domain.intervals import DAY, UTC, Interval, Timeframe
from md_platform.errors import InvalidTimeframe, StorageError
from md_platform.storage.archive import Archive, Days
from md_platform.storage.lake import Lake
from md_platform.storage.migrate import migrate

BTC = "binance:BTC-USDT"
D = dt.date(2024, 1, 30)
MINUTES = 10


def at(day: dt.date, minute: int = 0) -> dt.datetime:
    return Interval.day(day).start + dt.timedelta(minutes=minute)


def bars(day: dt.date, source: str = "binance", timeframe: Timeframe = Timeframe.M1, n: int = MINUTES) -> pl.DataFrame:
    times = [at(day, i * timeframe.seconds // 60) for i in range(n)]
    columns = {
        "instrument": BTC, "timeframe": timeframe.value, "open_time": times,
        "close_time": [timeframe.close_time(t) for t in times],
        **dict.fromkeys(("open", "high", "low", "close", "volume"), 1.5),
        **dict.fromkeys(("quote_volume", "vwap", "taker_buy_volume", "taker_buy_quote_volume"), None),
        "trade_count": 1, "is_closed": True, "source": source, "revision": 0, "known_at": at(D),
    }  # fmt: skip
    return pl.DataFrame(columns, schema=schemas.CLEANED_BARS.schema)


def trades(day: dt.date) -> pl.DataFrame:
    columns = {
        "instrument": BTC, "ts_event": [at(day, i) for i in range(3)], "ts_received": at(D), "trade_id": list("abc"),
        "price": 1.0, "size": 1.0, "taker_side": None, "trade_count": 1, "source": "binance",
    }  # fmt: skip
    return pl.DataFrame(columns, schema=schemas.CLEANED_TRADES.schema)


@pytest.fixture(scope="module")
def ledger(module_database_url):
    migrate(module_database_url)
    return Ledger(module_database_url)


class Stores:
    def __init__(self, folder, ledger):
        self.lake, self.archive, self.ledger = Lake(folder / "lake"), Archive(str(folder / "archive")), ledger
        self.reader = Reader(self.lake, self.archive, ledger)

    def in_lake(self, dataset, date, frame, source=None):
        self.lake.write(self.lake.path(dataset, BTC, date, source), frame)

    def in_archive(self, dataset, dates, frame):
        days = [Days((BTC,), min(dates), max(dates))]
        self.archive.replace(dataset.name, frame, dataset.time, days, {})
        name = f"archive_{dataset.name}"
        self.ledger.record([PartitionRecord(name, BTC, date, "ok", rows=1) for date in dates])

    def read(self, dataset, start, end, timeframe=None):
        selection = Selection(dataset, BTC, Interval(start, end), timeframe)
        return pl.concat(self.reader.frames(selection, self.reader.chunks(selection)))


@pytest.fixture
def stores(tmp_path, ledger):
    return Stores(tmp_path, ledger)


def test_archive_and_lake_are_read_as_one(stores):
    days = [D + n * DAY for n in range(5)]  # 30 January to 3 February
    for day in days:
        stores.in_lake(schemas.CLEANED_BARS, day, bars(day, "lake"))
    stores.in_archive(schemas.CLEANED_BARS, days[:3], pl.concat([bars(day, "archive") for day in days[:3]]))
    found = stores.read(schemas.CLEANED_BARS, at(days[0], 5), at(days[4], 3))
    assert found.schema == schemas.CLEANED_BARS.schema
    assert found["open_time"].is_sorted()
    assert found.group_by("source", maintain_order=True).len().rows() == [
        ("archive", 2 * MINUTES + MINUTES - 5),
        ("lake", MINUTES + 3),
    ]


def test_an_archive_that_is_lost_is_read_from_the_lake(stores, ledger):
    day = D + 30 * DAY
    stores.in_lake(schemas.CLEANED_BARS, day, bars(day))
    ledger.record([PartitionRecord("archive_cleaned_bars", BTC, day, "ok")])
    assert stores.read(schemas.CLEANED_BARS, at(day), at(day + DAY)).height == MINUTES


def test_a_timeframe_is_kept_and_all_of_them_stand_in_order(stores):
    day = D + 40 * DAY
    frame = pl.concat([bars(day, timeframe=t, n=2) for t in (Timeframe.D1, Timeframe.H1, Timeframe.M5)])
    stores.in_lake(schemas.RESAMPLED_BARS, day, frame)
    found = stores.read(schemas.RESAMPLED_BARS, at(day), at(day + DAY))
    assert found["timeframe"].to_list() == ["5m", "1h", "1d", "5m", "1h"]
    assert stores.read(schemas.RESAMPLED_BARS, at(day), at(day + DAY), Timeframe.H1).height == 2
    stores.in_archive(schemas.RESAMPLED_BARS, [day], frame.filter(pl.col("open_time").dt.date() == day))
    assert stores.read(schemas.RESAMPLED_BARS, at(day), at(day + DAY)).equals(found)
    assert stores.read(schemas.RESAMPLED_BARS, at(day), at(day + DAY), Timeframe.H1).height == 2


def test_every_source_of_a_raw_dataset_stands_beside_the_others(stores):
    for source in ("import", "binance"):
        stores.in_lake(schemas.RAW_BARS, D, bars(D, source, n=2), source)
    found = stores.read(schemas.RAW_BARS, at(D), at(D + DAY))
    assert found["source"].to_list() == ["binance", "import", "binance", "import"]


def test_rows_in_quarantine_are_shown_even_without_a_time(stores):
    rejected = bars(D, n=2).with_columns(
        open_time=pl.Series([at(D), None], dtype=schemas.INSTANT), rule=pl.lit("open_time_known")
    )
    stores.in_lake(schemas.QUARANTINED_BARS, D, rejected)
    assert stores.read(schemas.QUARANTINED_BARS, at(D), at(D + DAY)).height == 2


def test_weeks_are_found_by_their_first_day(stores):
    mondays = [dt.date(2024, 1, 29), dt.date(2024, 2, 5), dt.date(2024, 2, 12)]
    for monday in mondays:
        stores.in_lake(schemas.WEEKLY_BARS, monday, bars(monday, timeframe=Timeframe.W1, n=1))
    found = stores.read(schemas.WEEKLY_BARS, at(mondays[0], 1), at(mondays[2]))
    assert found["open_time"].dt.date().to_list() == mondays[1:2]
    assert stores.read(schemas.WEEKLY_BARS, at(mondays[0]), at(mondays[2] + DAY)).height == 3


def test_indicators_come_with_all_their_columns(stores):
    key = bars(D, n=1).select("instrument", "timeframe", "open_time")
    stores.in_lake(schemas.INDICATORS, D, key.with_columns(rsi_14=50.0, of_an_older_version=1.0))
    found = stores.read(schemas.INDICATORS, at(D), at(D + DAY))
    assert found["rsi_14"].to_list() == [50.0]
    assert found["ema_20"].to_list() == [None]
    assert "of_an_older_version" not in found.columns


def test_nothing_is_an_empty_frame_with_columns(stores):
    found = stores.read(schemas.CLEANED_TRADES, at(D - 99 * DAY), at(D - 98 * DAY))
    assert found.is_empty()
    assert found.schema == schemas.CLEANED_TRADES.schema


def test_a_broken_file_is_one_clear_error(stores):
    path = stores.lake.path(schemas.TRADE_BARS, BTC, D)
    path.parent.mkdir(parents=True)
    path.write_bytes(b"PAR1 half of a file")
    with pytest.raises(StorageError, match=r"trade_bars/.* cannot be read"):
        stores.read(schemas.TRADE_BARS, at(D), at(D + DAY))


def test_an_archive_that_lost_a_file_is_one_clear_error(stores):
    stores.in_archive(schemas.CLEANED_TRADES, [D], trades(D))
    for file in (Path(stores.archive.root) / "cleaned_trades").rglob("*.parquet"):
        file.unlink()
    with pytest.raises(StorageError, match=r"cleaned_trades of binance:BTC-USDT, .* cannot be read .* --refresh"):
        stores.read(schemas.CLEANED_TRADES, at(D), at(D + DAY))


def test_trades_are_read_day_by_day(stores):
    days = [D + n * DAY for n in range(3)]
    stores.in_archive(schemas.CLEANED_TRADES, days, pl.concat(trades(day) for day in days))
    selection = Selection(schemas.CLEANED_TRADES, BTC, Interval(at(days[0]), at(days[2] + DAY)))
    wanted = stores.reader.chunks(selection)
    assert [chunk.place for chunk in wanted] == ["archive"] * 3
    assert [frame.height for frame in stores.reader.frames(selection, wanted)] == [3, 3, 3]


@given(
    st.sampled_from([schemas.CLEANED_BARS, schemas.CLEANED_TRADES, schemas.WEEKLY_BARS, schemas.MONTHLY_BARS]),
    st.integers(0, 90 * 24), st.integers(1, 90 * 24), st.sets(st.integers(0, 130)),
)  # fmt: skip
def test_chunks_cover_the_selection_once_in_order(dataset, start, hours, archived):
    begin = at(D) + dt.timedelta(hours=start)
    selection = Selection(dataset, BTC, Interval(begin, begin + dt.timedelta(hours=hours)))
    found = chunks(selection, {D + n * DAY for n in archived})
    assert [date for chunk in found for date in chunk.dates] == selection.dates()
    for chunk in found:
        assert all((date in {D + n * DAY for n in archived}) == (chunk.place == "archive") for date in chunk.dates)
    if dataset in (schemas.CLEANED_BARS, schemas.CLEANED_TRADES):
        edges = [moment for chunk in found for moment in (chunk.interval.start, chunk.interval.end)]
        assert edges[0] == begin
        assert edges[-1] == selection.interval.end
        assert edges[1:-1:2] == edges[2::2]


def test_a_timeframe_that_is_not_held_is_refused():
    interval = Interval(at(D), at(D + DAY))
    with pytest.raises(InvalidTimeframe, match="cleaned_bars holds 1m, was '5m'"):
        Selection(schemas.CLEANED_BARS, BTC, interval, Timeframe.M5)
    with pytest.raises(InvalidTimeframe, match="cleaned_trades has no timeframes"):
        Selection(schemas.CLEANED_TRADES, BTC, interval, Timeframe.M5)


def test_every_dataset_of_bars_says_its_timeframes():
    for dataset in schemas.DATASETS.values():
        assert bool(timeframes_of(dataset)) == ("timeframe" in dataset.schema)
    assert UTC is dt.UTC
