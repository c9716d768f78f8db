"""Single rules of what bars and trades are read from where: revisions as of a time, partial days, sources, outages."""

import datetime as dt
import time
from uuid import uuid4

import polars as pl
import psycopg
import pytest
import redis
from polars.testing import assert_frame_equal

from md_platform.catalog.ledger import PartitionRecord
from md_platform.domain.bars import roll_up
from md_platform.domain.events import Trade
from md_platform.domain.intervals import DAY, UTC, Interval, Timeframe
from md_platform.domain.schemas import CLEANED_BARS, CLEANED_TRADES, RAW_BARS, RESAMPLED_BARS
from md_platform.domain.wire import encode
from md_platform.embedded import postgres_running
from md_platform.errors import StorageUnavailable
from md_platform.serving.bars import BarQuery
from md_platform.serving.market import open_market
from md_platform.serving.pool import Pool
from md_platform.storage.archive import Archive
from md_platform.storage.database import bounded, connected
from md_platform.storage.lake import Lake
from md_platform.storage.live_reading import LiveReader
from md_platform.storage.live_store import LiveStore
from md_platform.storage.migrate import migrate
from md_platform.transforms.resampled import resample
from md_platform_tests import live_rows
from md_platform_tests.rows import BTC, DAY0, bar, bar_rows, day_of_bars, trade, trade_rows

WHOLE = Interval(DAY0, DAY0 + DAY)


class Stores:
    def __init__(self, folder, database_url, redis_url):
        self.url = database_url
        self.lake = Lake(folder / "lake")
        self.market = open_market(self.lake, Archive(str(folder / "archive")), database_url, redis_url)

    def keep(self, dataset, frame, *, source=None, sha="one", inputs=None):
        date = DAY0.date()
        self.lake.write(self.lake.path(dataset, BTC, date, source), frame)
        evidence = {"inputs": inputs or {}}
        self.market.ledger.record(
            [PartitionRecord(dataset.name, BTC, date, "ok", frame.height, sha256=sha, evidence=evidence)]
        )

    def stream(self, *events):
        with LiveStore(self.url) as store:
            store.write(list(events), uuid4(), 1)

    def read(self, timeframe="1m", interval=WHOLE, **given) -> pl.DataFrame:
        return self.market.bars.read(BarQuery(BTC, Timeframe(timeframe), interval, **given)).rows


@pytest.fixture
def stores(tmp_path, database_url, redis_url):
    migrate(database_url)
    made = Stores(tmp_path, database_url, redis_url)
    yield made
    made.market.close()


def live_bar(minute, **given):
    opened = int((DAY0 + dt.timedelta(minutes=minute)).timestamp()) * 10**9
    times = {"open_time": opened, "close_time": opened + 60 * 10**9, "known_at": opened + 60 * 10**9}
    return live_rows.bar(0, **{**times, **given})


def test_a_settled_day_is_the_lakes_alone(stores):
    stores.stream(*(live_bar(n) for n in range(5)))
    stores.keep(CLEANED_BARS, day_of_bars(DAY0.date(), range(3)))
    assert stores.read()["source"].to_list() == ["binance"] * 3


def test_a_partition_made_before_its_day_was_over_fills_what_the_stream_lacks(stores):
    stores.stream(live_bar(1), live_bar(2))
    stores.keep(CLEANED_BARS, day_of_bars(DAY0.date(), range(2)))
    with psycopg.connect(stores.url) as connection:
        connection.execute("UPDATE md.partition_status SET updated_at = %s", (DAY0 + DAY / 2,))
    assert stores.read()["source"].to_list() == ["binance", "trades", "trades"]


def test_our_own_bars_are_preferred_and_the_newest_revision_counts(stores):
    stores.stream(
        live_bar(0, source="venue"), live_bar(0), live_bar(0, revision=1, volume=9.0), live_bar(1, source="venue")
    )
    assert stores.read().select("source", "volume").rows() == [("trades", 9.0), ("venue", 4.4)]


def test_longer_bars_follow_the_minutes_that_stand(stores):
    minutes = day_of_bars(DAY0.date())
    stores.keep(CLEANED_BARS, minutes, sha="new")
    old = resample(day_of_bars(DAY0.date(), range(60)), WHOLE.end)
    stores.keep(RESAMPLED_BARS, old, inputs={"cleaned_bars": "old"})
    assert stores.read("1h").height == 24
    stores.keep(RESAMPLED_BARS, old, sha="two", inputs={"cleaned_bars": "new"})
    assert stores.read("1h").height == 1


def test_a_new_partition_is_seen_at_once_though_the_old_one_was_remembered(stores):
    stores.keep(CLEANED_BARS, day_of_bars(DAY0.date(), range(3)))
    assert stores.read().height == stores.read().height == 3
    stores.keep(CLEANED_BARS, day_of_bars(DAY0.date(), range(4)), sha="two")
    assert stores.read().height == 4


def test_bars_as_they_were_known(stores):
    first, later = DAY0 + 2 * DAY, DAY0 + 9 * DAY
    raw = [bar(0, 10.0, known_at=first), bar(1, 11.0, known_at=first), bar(0, 12.0, revision=1, known_at=later)]
    stores.keep(RAW_BARS, bar_rows(raw), source="binance")
    stores.keep(CLEANED_BARS, bar_rows([raw[2], raw[1]]))
    stores.stream(live_bar(0, close=9.0), live_bar(1, close=9.5, known_at=int((DAY0 + DAY).timestamp()) * 10**9))
    assert stores.read()["close"].to_list() == [12.0, 11.0]
    assert stores.read(as_of=later)["close"].to_list() == [12.0, 11.0]
    assert stores.read(as_of=first)["close"].to_list() == [10.0, 11.0]
    assert stores.read(as_of=DAY0 + dt.timedelta(hours=1))["close"].to_list() == [9.0]
    assert stores.read(as_of=DAY0)["close"].to_list() == []
    assert stores.read("1h", as_of=first)["close"].to_list() == [11.0]


def test_the_running_bar_and_what_is_not_stored_yet_come_from_redis(stores, redis_url):
    stores.stream(live_bar(0))
    with redis.Redis.from_url(redis_url) as client:
        for said in (live_bar(0, is_closed=False, volume=1.0), live_bar(1), live_bar(2, is_closed=False)):
            client.xadd(f"md:log:bars:{BTC}:1m", {"m": encode([said])})
    rows = stores.read()
    assert rows.select("volume", "is_closed").rows() == [(4.4, True), (4.4, True), (4.4, False)]
    hours = stores.read("1h")
    assert hours.select("volume", "is_closed").rows() == [(pytest.approx(13.2), False)]


def test_trades_are_each_told_once_across_the_seam(stores, redis_url):
    stores.keep(CLEANED_TRADES, trade_rows(trade(n, str(n)) for n in range(4)))
    after = int(WHOLE.end.timestamp()) * 10**9
    streamed = [Trade(BTC, after + n * 10**9, after + n * 10**9, n, 10.0, 1.0, "buy") for n in range(4, 9)]
    stores.stream(*streamed[:3])
    with redis.Redis.from_url(redis_url) as client:
        client.xadd(f"md:log:trades:{BTC}", {"m": encode(streamed[1:])}, id=f"{after // 10**6 + 20_000}-0")
    found = stores.market.trades.read(BTC, Interval(WHOLE.start, WHOLE.end + DAY)).rows
    assert found["trade_id"].to_list() == [str(n) for n in range(9)]
    assert stores.market.trades.newest(BTC, 2, WHOLE.end + dt.timedelta(minutes=1)).rows["trade_id"].to_list() == [
        "7",
        "8",
    ]


def test_without_redis_answers_say_that_they_lack_what_is_not_stored(tmp_path, database_url):
    migrate(database_url)
    market = open_market(Lake(tmp_path), Archive(str(tmp_path)), database_url, "redis://127.0.0.1:1/0")
    with LiveStore(database_url) as store:
        store.write([live_bar(0)], uuid4(), 1)
    answer = market.bars.read(BarQuery(BTC, Timeframe.M1, WHOLE))
    assert (answer.rows.height, answer.is_degraded, answer.version) == (1, True, None)
    market.close()


def test_a_database_that_is_gone_is_told_at_once(tmp_path, open_folder, redis_url):
    with postgres_running(open_folder / "gone", durable=False) as url:
        migrate(url)
        stores = Stores(tmp_path, url, redis_url)
        stores.stream(live_bar(0))
        assert stores.read().height == 1
    time.sleep(1.1)  # what was read is remembered for a second
    began = time.monotonic()
    for _ in range(3):
        with pytest.raises(StorageUnavailable):
            stores.read()
    assert time.monotonic() - began < 5
    stores.market.close()


def test_connections_that_the_server_ended_are_not_noticed_by_readers(stores):
    stores.stream(live_bar(0))
    assert stores.read().height == 1
    with psycopg.connect(stores.url, autocommit=True) as connection:
        connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                           " WHERE datname = current_database() AND pid <> pg_backend_pid()")  # fmt: skip
    time.sleep(1.1)
    assert stores.read().height == 1


def test_a_statement_that_takes_too_long_is_given_up(database_url):
    pool = Pool(lambda: connected(database_url, autocommit=True, statement_s=0.2), 1)
    with pytest.raises(psycopg.errors.QueryCanceled), pool.borrowed() as connection:
        connection.execute("SELECT pg_sleep(5)")
    with pool.borrowed() as connection:
        assert connection.execute("SELECT now() > %s", (dt.datetime(2020, 1, 1, tzinfo=UTC),)).fetchone() == (True,)
    pool.close()
    migrate(database_url)
    with psycopg.connect(database_url) as holder, LiveReader(bounded(database_url, 0.2)) as reader:
        holder.execute("LOCK TABLE md.bars_1m IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(StorageUnavailable):
            reader.bars(BTC, Timeframe.M1, WHOLE)


def test_hours_that_timescaledb_keeps_rolled_up_equal_those_of_minutes(tmp_path, timescale_url, redis_url):
    migrate(timescale_url)
    stores = Stores(tmp_path, timescale_url, redis_url)
    stores.stream(*(live_bar(n, close=10.0 + n % 7, volume=float(n)) for n in range(0, 2 * 1_440, 3)))
    days = Interval(DAY0, DAY0 + 2 * DAY)
    minutes = stores.read(interval=days)
    for timeframe in ("1h", "4h", "1d"):
        found = stores.read(timeframe, days)
        wanted = roll_up(minutes.lazy(), Timeframe(timeframe), dt.datetime.now(UTC)).collect()
        assert_frame_equal(found, wanted, rel_tol=1e-9)
    with LiveReader(timescale_url) as reader:
        assert reader.rolls_up_ahead()
    stores.market.close()
