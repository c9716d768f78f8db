import datetime as dt
import random
import signal
import subprocess
import sys
import threading
import uuid
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import polars as pl
import psycopg
import pytest

from md_platform.catalog.ledger import Ledger
from md_platform.domain import wire
from md_platform.domain.events import Trade
from md_platform.domain.instruments import Instrument
from md_platform.domain.intervals import UTC, Interval, Timeframe
from md_platform.domain.schemas import BAR_COLUMNS, TRADE_COLUMNS
from md_platform.embedded import postgres_running
from md_platform.errors import InvalidTimeframe, SpoolOverlap, StorageError, StorageUnavailable
from md_platform.storage.live_reading import LIVE_TRADE_COLUMNS, NOTICE_COLUMNS, LiveReader
from md_platform.storage.live_store import LiveStore
from md_platform.storage.migrate import migrate
from md_platform.storage.spool import Message, Spool
from md_platform_tests.live_rows import BTC, DAY, ETH, T0, bar, book, notice, quote, reject, trade

ALWAYS = Interval(dt.datetime(1990, 1, 1, tzinfo=UTC), dt.datetime(2100, 1, 1, tzinfo=UTC))
SPOOL = uuid.UUID(int=1)


def rows(url: str, query: str, *values) -> list:
    with psycopg.connect(url, options="-c timezone=UTC") as connection:
        return connection.execute(query, values).fetchall()


def ns(moment: dt.datetime, within: int) -> int:
    return (moment - dt.datetime(1970, 1, 1, tzinfo=UTC)) // dt.timedelta(microseconds=1) * 1_000 + within


def columns(names) -> list[str]:
    return [column.name for column in names]


def test_trades_come_back_to_the_last_digit(live, live_url):
    rng = random.Random(5)
    trades = [
        trade(
            n,
            ts_event=T0 + rng.randrange(DAY),
            ts_received=T0 + DAY + rng.randrange(DAY),
            price=rng.choice([rng.random() * 10 ** rng.randrange(-12, 12), 5e-324, 1.7976931348623157e308, 0.1 + 0.2]),
            size=rng.random(),
            quality=rng.random(),
            trade_count=rng.randrange(1, 1000),
            sent_late=rng.random() < 0.5,
            instrument=rng.choice([BTC, ETH]),
        )
        for n in range(2_000)
    ]
    written = live.write(trades, SPOOL, 1)
    assert (written.stored, written.duplicate.total(), written.replayed) == (Counter(trades=2_000), 0, False)
    with LiveReader(live_url) as reader:
        found = pl.concat([reader.trades(name, ALWAYS) for name in (BTC, ETH)])
    assert found.columns == columns(LIVE_TRADE_COLUMNS)
    assert found.columns[: len(TRADE_COLUMNS)] == columns(TRADE_COLUMNS)
    assert set(found["source"]) == {"binance"}
    back = [
        Trade(r["instrument"], ns(r["ts_event"], r["ts_event_ns"]), ns(r["ts_received"], r["ts_received_ns"]),
              int(r["trade_id"]), r["price"], r["size"], r["taker_side"], r["trade_count"], r["sent_late"], r["quality"])
        for r in found.iter_rows(named=True)
    ]  # fmt: skip
    assert sorted(back, key=lambda t: t.trade_id) == trades
    assert found.filter(instrument=BTC)["ts_event"].is_sorted()


@pytest.mark.parametrize(
    "ids",
    [
        [1, 2, 2**63 - 1, -(2**63)],
        ["a", "b" * 64, "6c19bc2c-7f5a-4d19-a0a3-0123456789ab", "007", "ü"],
        [7, "7b", 2**63, "000"],
    ],
)
def test_ids_are_numbers_where_they_fit_and_text_otherwise(live, live_url, ids):
    trades = [trade(0, id_) for id_ in ids]
    assert live.write(trades, SPOOL, 1).stored == {"trades": len(ids)}
    assert live.write(trades, SPOOL, 2).duplicate == {"trades": len(ids)}
    with LiveReader(live_url) as reader:
        assert sorted(reader.trades(BTC, ALWAYS)["trade_id"]) == sorted(map(str, ids))
    numeric = rows(live_url, "SELECT trade_id FROM md.trades WHERE trade_key = '' ORDER BY 1")
    assert numeric == sorted((id_,) for id_ in ids if isinstance(id_, int) and id_ < 2**63)


def test_quotes_and_books_come_back_to_the_last_digit(live, live_url):
    quotes = [quote(n, bid=n / 7, ask_size=1e-9 * n) for n in range(100)]
    books = [book(n, levels) for n, levels in enumerate([20, 20, 0, 1, 5, 20])] + [book(9, 2, asks=[])]
    stored = live.write([*quotes, *books], SPOOL, 1).stored
    assert stored == {"quotes": 100, "books": 7}
    found = rows(live_url, "SELECT ts_event, ts_event_ns, ts_received, ts_received_ns, bid, bid_size, ask, ask_size, "
                           "sequence, quality FROM md.quotes ORDER BY sequence")  # fmt: skip
    assert [(ns(r[0], r[1]), ns(r[2], r[3]), *r[4:]) for r in found] == [
        (q.ts_event, q.ts_received, q.bid, q.bid_size, q.ask, q.ask_size, q.sequence, q.quality) for q in quotes
    ]
    found = rows(live_url, "SELECT bid_prices, bid_sizes, ask_prices, ask_sizes FROM md.books ORDER BY sequence")
    assert [
        (list(zip(bids, bid_sizes, strict=True)), list(zip(asks, ask_sizes, strict=True)))
        for bids, bid_sizes, asks, ask_sizes in found
    ] == [(b.bids, b.asks) for b in books]


def test_bars_of_every_timeframe_come_back_in_their_latest_revision(live, live_url):
    unknown = {"quote_volume": None, "taker_buy_volume": None, "taker_buy_quote_volume": None, "trade_count": None}
    bars = [bar(n, timeframe.value) for timeframe in Timeframe for n in range(3)]
    late = [bar(1, timeframe.value, revision=2, close=1.25, **unknown) for timeframe in Timeframe]
    older = [bar(1, timeframe.value, revision=1, close=9.0) for timeframe in Timeframe]
    candles = [bar(0, "1m", source="venue", volume=0.0, quote_volume=0.0)]
    assert live.write([*bars, *late, *older, *candles], SPOOL, 1).stored.total() == 51
    with LiveReader(live_url) as reader:
        for timeframe in Timeframe:
            found = reader.bars(BTC, timeframe, ALWAYS).filter(source="trades")
            assert found.columns == columns(BAR_COLUMNS)
            assert found["revision"].to_list() == [0, 2, 0]
            assert found["close"].to_list() == [11.7, 1.25, 11.7]
            assert found["quote_volume"].to_list() == [47.3, None, 47.3]
            assert found["vwap"].to_list() == [47.3 / 4.4, None, 47.3 / 4.4]
            assert found["trade_count"].to_list() == [12, None, 12]
            assert set(found["timeframe"]) == {timeframe.value}
            assert [ns(at, 0) for at in found["known_at"]] == [
                each.known_at // 1_000 * 1_000 for each in bars if each.timeframe == timeframe
            ]
        venue = reader.bars(BTC, Timeframe.M1, ALWAYS).filter(source="venue")
        assert venue.select("volume", "vwap").rows() == [(0.0, None)]
        assert reader.bars("binance:NO-SUCH", Timeframe.M1, ALWAYS).is_empty()
        first = Interval(found["open_time"][0], found["open_time"][1])
        assert len(reader.bars(BTC, Timeframe.MONTH1, first)) == 1, "the end is exclusive"
    assert rows(live_url, "SELECT DISTINCT known_at_ns FROM md.bars") == [(789,)]


def test_notices_and_rejects_are_kept_whole(live, live_url):
    gap = notice(
        1, cause="sequence\0 jumped", start=T0 - 5, end=T0 + 5, channels=["trades"], instruments=[BTC, ETH],
        first_missing=10, last_missing=12,
    )  # fmt: skip
    events = [notice(0, kind="disconnected", venue="kraken", start=T0), gap, reject(0), reject(1, message=b"")]
    assert live.write(events, SPOOL, 1).stored == {"venue_events": 2, "quarantined_messages": 2}
    with LiveReader(live_url) as reader:
        found = reader.notices(ALWAYS)
        assert found.columns == columns(NOTICE_COLUMNS)
        assert found["kind"].to_list() == ["disconnected", "gap"]
        assert found["end"].is_null().to_list() == [True, False]
        assert reader.notices(ALWAYS, "binance").select("channels", "instruments", "first_missing", "cause").rows() == [
            (["trades"], [BTC, ETH], 10, "sequence\ufffd jumped")
        ]
    assert rows(live_url, "SELECT affected_from, affected_from_ns FROM md.venue_events WHERE kind = 'gap'") == [
        (dt.datetime(2026, 7, 20, 0, 0, 0, 123456, tzinfo=UTC), 784)
    ]
    assert rows(live_url, "SELECT message FROM md.quarantined_messages ORDER BY received_at, received_at_ns") == [
        (b'{"p":"0"}\x00\xff',), (b"",)
    ]  # fmt: skip


def test_instruments_that_traded_in_an_interval_are_told(live, live_url):
    live.write([trade(0), trade(1, instrument=ETH, ts_event=T0 + DAY)], SPOOL, 1)
    with LiveReader(live_url) as reader:
        first = Interval.day(dt.date(2026, 7, 20))
        assert reader.traded(ALWAYS) == [BTC, ETH]
        assert reader.traded(first) == [BTC]
        assert reader.traded(Interval(first.start, first.start + dt.timedelta(microseconds=123_456))) == []


def test_what_comes_twice_is_stored_once_and_counted(live):
    live.write([trade(n) for n in range(10)], SPOOL, 1)
    again = live.write([trade(n) for n in range(5, 15)] + [quote(1)], SPOOL, 2)
    assert (again.stored, again.duplicate) == (Counter(trades=5, quotes=1), Counter(trades=5))
    inside = live.write([trade(20), trade(20), trade(21)], SPOOL, 3)
    assert (inside.stored, inside.duplicate) == (Counter(trades=2), Counter(trades=1))
    bars = live.write([bar(0), bar(0), bar(0, revision=1)], SPOOL, 4)
    assert (bars.stored, bars.duplicate) == (Counter(bars_1m=2), Counter(bars_1m=1))


def test_a_batch_and_its_place_in_the_spool_are_stored_together(live, live_url):
    batch = [trade(1), quote(1), book(1), notice(1), reject(1)]
    assert live.last_row(SPOOL) == 0
    assert not live.write(batch, SPOOL, 7).replayed
    again = live.write(batch, SPOOL, 7)
    assert again.replayed
    assert again.stored.total() == 0
    assert again.duplicate.total() == 5
    assert live.last_row(SPOOL) == 7
    assert live.last_row(uuid.UUID(int=2)) == 0
    with pytest.raises(SpoolOverlap, match="is stored up to row 7: events must follow that row, was row 5"):
        live.write([quote(1), quote(2)], SPOOL, 9, after=5)
    live.write([quote(2)], SPOOL, 9, after=7)
    assert rows(live_url, "SELECT count(*) FROM md.quotes") == [(2,)]


def test_a_batch_that_fails_leaves_nothing_and_no_place(live, live_url):
    for impossible, message in (
        (trade(3, trade_count=2**31), "does not fit its column in md.trades"),
        (quote(3, sequence=2**63), "does not fit its column in md.quotes"),
        (trade(3, trade_id="x" * 9_000_000), "the database refused: index row"),
    ):
        with pytest.raises(StorageError, match=message) as raised:
            live.write([quote(1), bar(1), notice(1), trade(2), impossible], SPOOL, 4)
        assert not raised.value.retryable
    assert live.last_row(SPOOL) == 0
    assert rows(live_url, "SELECT count(*) FROM md.quotes") == [(0,)]
    assert live.write([trade(1)], SPOOL, 4).stored.total() == 1


def test_instruments_and_sources_are_registered_once(live_url):
    Ledger(live_url).register([(Instrument.parse(BTC, native="BTCUSDT"), "crypto")])
    with LiveStore(live_url, {"binance": "binance@127.0.0.1:8090"}, lambda name: name.partition(":")[0]) as live:
        live.write([trade(1), trade(2, instrument=ETH), bar(1)], SPOOL, 1)
    found = {instrument.id: (instrument.native, name) for instrument, name in Ledger(live_url).instruments()}
    assert found == {BTC: ("BTCUSDT", "crypto"), ETH: ("", "binance")}
    with LiveReader(live_url) as reader:
        assert reader.trades(ETH, ALWAYS)["source"].to_list() == ["binance@127.0.0.1:8090"]
        assert reader.bars(BTC, Timeframe.M1, ALWAYS)["source"].to_list() == ["trades@127.0.0.1:8090"]
    with LiveStore(live_url) as live:
        assert live.write([trade(1)], SPOOL, 2).stored.total() == 1, "the real venue's trade is another"


def test_two_writers_of_one_spool_store_it_once(live_url):
    batches = [[trade(n * 10 + m) for m in range(10)] + [quote(n)] for n in range(40)]

    def drain(_: int) -> int:
        with LiveStore(live_url) as store:
            written = [store.write(batch, SPOOL, number) for number, batch in enumerate(batches, 1)]
        return sum(each.stored.total() for each in written)

    with ThreadPoolExecutor(3) as pool:
        assert sum(pool.map(drain, range(3))) == 440
    assert rows(live_url, "SELECT count(*) FROM md.trades") == [(400,)]
    assert rows(live_url, "SELECT count(*) FROM md.quotes") == [(40,)]


def test_a_lost_connection_is_retryable_and_the_next_call_opens_another(live, live_url):
    live.write([trade(1)], SPOOL, 1)
    reader = LiveReader(live_url)
    assert len(reader.trades(BTC, ALWAYS)) == 1
    rows(live_url, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() "
                   "AND pid <> pg_backend_pid() AND backend_type = 'client backend'")  # fmt: skip
    for call in (lambda: live.write([trade(2)], SPOOL, 2), lambda: reader.trades(BTC, ALWAYS)):
        with pytest.raises(StorageUnavailable) as raised:
            call()
        assert raised.value.retryable
    assert live.write([trade(2)], SPOOL, 2).stored.total() == 1
    assert len(reader.trades(BTC, ALWAYS)) == 2
    reader.close()


def test_a_server_that_stops_and_starts_again_is_met_by_the_same_call(open_folder):
    home = open_folder / "restarted"
    with postgres_running(home, durable=False) as url:
        migrate(url)
        store, reader = LiveStore(url), LiveReader(url)
        store.write([trade(1)], SPOOL, 1)
        assert len(reader.trades(BTC, ALWAYS)) == 1
    for call in (lambda: store.write([trade(2)], SPOOL, 2), lambda: store.last_row(SPOOL)):
        with pytest.raises(StorageUnavailable):
            call()
    with pytest.raises(StorageUnavailable):
        reader.trades(BTC, ALWAYS)
    with postgres_running(home, durable=False) as again:
        assert again == url
        assert store.write([trade(2)], SPOOL, 2).stored.total() == 1
        assert len(reader.trades(BTC, ALWAYS)) == 2
    store.close()
    reader.close()


def test_no_server_no_tables_and_no_such_frame_are_errors_of_their_own(database_url):
    nowhere = "postgresql://nobody:secret@127.0.0.1:1/none"
    with pytest.raises(StorageUnavailable, match="does not answer"):
        LiveStore(nowhere).last_row(SPOOL)
    with pytest.raises(StorageUnavailable, match="does not answer"):
        LiveReader(nowhere).trades(BTC, ALWAYS)
    with pytest.raises(StorageError, match="mdp migrate"):
        LiveStore(database_url).last_row(SPOOL)
    with pytest.raises(StorageError, match="mdp migrate"):
        LiveReader(database_url).trades(BTC, ALWAYS)
    with pytest.raises(InvalidTimeframe, match="rolls up 1m 1h 1d, was 5m"):
        LiveReader(database_url).rolled_bars(BTC, Timeframe.M5, ALWAYS)


WRITER = """
import os, sys
from pathlib import Path
from md_platform.domain import wire
from md_platform.storage.live_store import LiveStore
from md_platform.storage.spool import Spool

spool, store, fatal = Spool(Path(sys.argv[1])), LiveStore(sys.argv[2]), int(sys.argv[3])
position = store.last_row(spool.id)
print("ready", flush=True)
done = 0
while batch := spool.read(position, events=int(sys.argv[4])):
    events = [event for each in batch for event in wire.decode(each.message.payload)]
    store.write(events, spool.id, batch[-1].id, after=position)
    done += 1
    if done == fatal:
        os.kill(os.getpid(), 9)  # between the commit and the truncation of the spool
    position = batch[-1].id
    spool.forget(position, 2**62)
"""


def test_a_writer_killed_at_any_moment_loses_and_doubles_nothing(live_url, tmp_path):
    spool = Spool(tmp_path / "spool.sqlite")
    for n in range(300):
        events = [trade(n * 20 + m, instrument=BTC) for m in range(20)]
        quotes = [quote(n * 5 + m) for m in range(5)]
        spool.append([Message("trades", "t", 20, wire.encode(events)), Message("quotes", "q", 5, wire.encode(quotes))])

    def writer(fatal: int, size: int) -> subprocess.Popen:
        argv = [sys.executable, "-c", WRITER, str(spool.path), live_url, str(fatal), str(size)]
        return subprocess.Popen(argv, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2])

    rng = random.Random(3)
    for size in (60, 130, 45):
        assert writer(2, size).wait(60) == -signal.SIGKILL
    for size in (10, 25, 40, 5, 50):
        process = writer(0, size)
        assert process.stdout
        process.stdout.readline()
        threading.Event().wait(rng.random() * 0.15)
        process.kill()
        process.wait(60)
    assert writer(0, 700).wait(60) == 0
    assert rows(live_url, "SELECT count(*), count(DISTINCT trade_id) FROM md.trades") == [(6_000, 6_000)]
    assert rows(live_url, "SELECT count(*), count(DISTINCT sequence) FROM md.quotes") == [(1_500, 1_500)]
    assert spool.depth(0) == (0, 0)
    spool.close()
