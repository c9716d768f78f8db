"""What a process that takes over knows: from a spool, from Redis, from the database."""

import time
import uuid
from pathlib import Path

import pytest
import redis

from md_platform.domain.events import FeedNotice, Quote, Trade
from md_platform.domain.wire import Published, channel_of, decode, encode
from md_platform.storage.live_store import LiveStore
from md_platform.storage.migrate import migrate
from md_platform.storage.spool import Message, Spool
from streaming import remembering
from streaming.remembering import ADOPTED, published, remembered, stored

BTC, ETH = "sandbox:BTC-USDT", "sandbox:ETH-USDT"
NOW = time.time_ns()
SECOND = 1_000_000_000


def trade(id_: int | str, ago_s: float, instrument: str = BTC) -> Trade:
    at = NOW - int(ago_s * SECOND)
    return Trade(instrument, at - 987_654_321, at, id_, 100.25, 0.5, "buy", 1, quality=0.9)


def quote(ago_s: float, instrument: str = BTC) -> Quote:
    at = NOW - int(ago_s * SECOND)
    return Quote(instrument, at, at, 1.0, 1.0, 2.0, 1.0)


def message(*events: Published) -> Message:
    return Message("trades", channel_of(events[0]), len(events), encode(events))


def log(url: str, ago_s: float, *events: Published) -> None:
    with redis.Redis.from_url(url) as client:
        entry = f"{(NOW - int(ago_s * SECOND)) // 1_000_000}-*"
        client.xadd(f"md:log:{channel_of(events[0])[3:]}", {"m": encode(events)}, id=entry)


def notice(kind: str, connection: str, start: int | None, **more: object) -> FeedNotice:
    return FeedNotice(kind, "sandbox", "sandbox", connection, NOW, start=start, **more)  # type: ignore[arg-type]


def test_what_was_published_is_known_and_can_be_spooled_again(redis_url: str) -> None:
    log(redis_url, 2_000, trade(1, 2_000))
    log(redis_url, 60, quote(60))
    log(redis_url, 30, trade(7, 30), trade(8, 29))
    log(redis_url, 10, trade(9, 10))
    log(redis_url, 5, quote(5, ETH))
    log(redis_url, 4, notice("gap", "s0-0", NOW - 20 * SECOND))

    found, messages = published(redis_url, [BTC, ETH], NOW, by_one=True)
    assert [each.trade_id for each in found.trades[BTC]] == [7, 8, 9]
    assert [event for each in messages for event in decode(each.payload)] == found.trades[BTC]
    assert found.last_ns == quote(5, ETH).ts_received
    assert found.gaps == {"s0-0": (NOW - 20 * SECOND, set())}
    assert abs(found.since[BTC] - (NOW - 60 * SECOND)) < SECOND
    tail = found.tail(BTC, NOW)
    assert tail.complete_since_ns + SECOND >= NOW - 60 * SECOND
    assert tail.complete_since_ns % (60 * SECOND) == 0

    several, _ = published(redis_url, [BTC, ETH], NOW, by_one=False)
    assert several.last_ns == quote(5, ETH).ts_received - 5 * SECOND


def test_of_a_log_that_was_cut_only_its_own_time_is_whole(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remembering, "LOG_LENGTH", 2)
    log(redis_url, 300, quote(300))
    log(redis_url, 100, trade(1, 100))
    log(redis_url, 50, trade(2, 50))
    found, _ = published(redis_url, [BTC], NOW, by_one=True)
    assert abs(found.since[BTC] - (NOW - 100 * SECOND)) < SECOND


def test_nothing_published_is_nothing_known(redis_url: str) -> None:
    found, messages = published(redis_url, [BTC], NOW, by_one=True)
    assert (found.last_ns, found.trades, messages) == (0, {}, [])
    assert found.tail(BTC, NOW).complete_since_ns == NOW


def test_what_was_stored_and_not_published_is_published_once_and_not_stored_again(
    redis_url: str, database_url: str
) -> None:
    migrate(database_url)
    log(redis_url, 20, trade(1, 20), trade(2, 19.5))
    waiting = [trade(3, 19), trade("text", 18), trade(4, 17, ETH)]
    with LiveStore(database_url) as store:
        store.write([trade(1, 20), trade(2, 19.5), *waiting], uuid.UUID(int=1), 5)
        found, _ = published(redis_url, [BTC, ETH], NOW, by_one=True)
        messages = found.add(stored(database_url, [BTC, ETH], found.stored_since_ns, NOW), NOW)
        events = [event for each in messages for event in decode(each.payload)]
        assert sorted(events, key=lambda each: each.ts_event) == waiting
        assert [each.trade_id for each in found.trades[BTC]] == [1, 2, 3, "text"]
        assert found.last_ns == trade(2, 19.5).ts_received
        assert store.write(events, uuid.UUID(int=2), 1).stored.total() == 0


def test_when_redis_forgot_everything_the_database_remembers(redis_url: str, database_url: str) -> None:
    migrate(database_url)
    with LiveStore(database_url) as store:
        store.write([trade(1, 200), trade(2, 100)], uuid.UUID(int=1), 5)
    found, _ = published(redis_url, [BTC], NOW, by_one=True)
    assert len(found.add(stored(database_url, [BTC], NOW - remembering.TAIL_NS, NOW), NOW)) == 1
    assert found.last_ns == trade(2, 100).ts_received


def test_a_spool_that_was_handed_on_begins_there(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool.db")
    spool.append([message(trade(1, 30)), message(notice("gap", "s0-0", NOW))])
    handed_on = time.time_ns()
    spool.append([ADOPTED, message(trade(5, 20))])
    found = remembered(spool, time.time_ns())
    assert [each.trade_id for each in found.trades[BTC]] == [5]
    assert not found.gaps
    assert found.first_ns >= handed_on


def test_a_process_that_ended_while_its_feed_was_away_left_a_gap(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool.db")
    away = NOW - 50 * SECOND
    spool.append([message(notice("disconnected", "s0-0", away))])
    assert remembered(spool, NOW + SECOND).gaps == {"s0-0": (away, set())}
    spool.append([message(notice("gap", "s0-0", away), notice("repaired", "s0-0", away, instruments=[BTC]))])
    assert remembered(spool, NOW + SECOND).gaps == {"s0-0": (away, {BTC})}
