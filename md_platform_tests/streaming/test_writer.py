"""The database writer stores every spool that it finds, of shards that are no more, too."""

import time
from pathlib import Path

import psycopg

from md_platform.domain.events import Bar, Trade
from md_platform.domain.wire import channel_of, encode
from md_platform.settings import KeptFor
from md_platform.storage.live_store import LiveStore
from md_platform.storage.migrate import migrate
from md_platform.storage.spool import Message, Spool
from md_platform_tests.live_rows import bar
from streaming.writer import Writer


def test_every_spool_is_stored_also_one_that_comes_later(database_url: str, tmp_path: Path) -> None:
    migrate(database_url)
    now = time.time_ns()

    def spooled(folder: Path, *ids: int) -> None:
        trades = [Trade("sandbox:BTC-USDT", now + id_, now, id_, 1.0, 1.0) for id_ in ids]
        Spool(folder / "spool.db").append([Message("trades", channel_of(trades[0]), len(trades), encode(trades))])

    spooled(tmp_path, 1, 2)
    spooled(tmp_path / "shard-7", 3)
    began = time.monotonic()

    def stopping() -> bool:
        if time.monotonic() - began > 1 and not (tmp_path / "shard-0").exists():
            spooled(tmp_path / "shard-0", 3, 4)
        return time.monotonic() - began > 4

    with LiveStore(database_url) as store:
        Writer(tmp_path, store, KeptFor(), stopping).run()
    with psycopg.connect(database_url) as connection:
        assert [id_ for (id_,) in connection.execute("SELECT trade_id FROM md.trades ORDER BY 1")] == [1, 2, 3, 4]
    assert (tmp_path / "writer.beat").exists()


def test_a_bar_is_stored_as_it_closed_not_as_it_ran(database_url: str, tmp_path: Path) -> None:
    migrate(database_url)
    spool = Spool(tmp_path / "spool.db")
    said: list[Bar] = [bar(0, is_closed=False, volume=1.0), bar(0, is_closed=False, volume=2.0), bar(0, volume=4.4)]
    for each in said:
        spool.append([Message("trades", channel_of(each), 1, encode([each]))])
    began = time.monotonic()
    with LiveStore(database_url) as store:
        Writer(tmp_path, store, KeptFor(), lambda: time.monotonic() - began > 2).run()
    with psycopg.connect(database_url) as connection:
        assert connection.execute("SELECT volume, is_closed FROM md.bars").fetchall() == [(4.4, True)]


def test_what_cannot_be_stored_goes_to_quarantine_and_the_rest_is_stored(database_url: str, tmp_path: Path) -> None:
    migrate(database_url)
    now = time.time_ns()
    spool = Spool(tmp_path / "spool.db")

    def message(*events: Trade) -> Message:
        return Message("trades", channel_of(events[0]), len(events), encode(events))

    good = [message(Trade("sandbox:BTC-USDT", now + id_, now, id_, 1.0, 1.0)) for id_ in range(1, 6)]
    unreadable = Message("trades", "md:trades:sandbox:BTC-USDT", 1, b'{"v":9,"data":[["trade",1]]}')
    too_large = message(Trade("sandbox:BTC-USDT", now + 7, now, 7, 1.0, 1.0, trade_count=2**40))
    spool.append([*good[:2], unreadable, good[2], too_large, *good[3:]])
    began = time.monotonic()
    with LiveStore(database_url) as store:
        writer = Writer(tmp_path, store, KeptFor(), lambda: time.monotonic() - began > 3)
        writer.run()
    with psycopg.connect(database_url) as connection:
        stored = [id_ for (id_,) in connection.execute("SELECT trade_id FROM md.trades ORDER BY 1")]
        kept = connection.execute(
            "SELECT feed, reason, message FROM md.quarantined_messages ORDER BY received_at, reason"
        )
        quarantined = {bytes(raw): (feed, reason) for feed, reason, raw in kept}
    assert stored == [1, 2, 3, 4, 5]
    assert quarantined.keys() == {unreadable.payload, too_large.payload}
    assert {feed for feed, _ in quarantined.values()} == {"spool"}
    assert "it cannot be read" in quarantined[unreadable.payload][1]
    assert "does not fit its column in md.trades" in quarantined[too_large.payload][1]
