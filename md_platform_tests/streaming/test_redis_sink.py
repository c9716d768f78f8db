"""The Redis sink against a real server: pub/sub, tails, latest values, and the position that Redis itself keeps."""

import asyncio
from pathlib import Path

import redis

from md_platform.domain.events import Bar, Book, Quote, Trade
from md_platform.domain.wire import Published, channel_of, decode, encode
from md_platform.storage.spool import Message, Spool
from streaming.delivery import Delivery
from streaming.sinks import deliveries

ID = "sandbox:BTC-USDT"
EVENTS: tuple[Published, ...] = (
    Trade(ID, 1, 2, 7, 100.5, 0.25),
    Quote(ID, 3, 4, 100.0, 1.0, 101.0, 2.0),
    Book(ID, 5, 6, [(100.0, 1.0)], [(101.0, 2.0)]),
    Bar(ID, "1m", 0, 60, 1.0, 2.0, 0.5, 1.5, 3.0, 4.5, 2, 1.0, 1.5, True, "trades", 0, 61),
)


def message(event: Published) -> Message:
    return Message("book" if isinstance(event, Book) else "trades", channel_of(event), 1, encode([event]))


def deliver(url: str, spool: Spool, *, upto: int) -> Delivery:
    async def run() -> Delivery:
        (delivery,) = deliveries(url, [], spool)
        task = asyncio.create_task(delivery.run())
        await asyncio.wait_for(delivery.reached(upto), 10)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return delivery

    return asyncio.run(run())


def test_messages_are_published_kept_as_tails_and_as_latest_values(redis_url: str, tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool.db")
    last = spool.append([message(event) for event in EVENTS])
    with redis.Redis.from_url(redis_url) as client, client.pubsub(ignore_subscribe_messages=True) as heard:
        heard.psubscribe("md:*")
        heard.get_message(timeout=1)
        assert deliver(redis_url, spool, upto=last).sent == len(EVENTS)
        got = [found for _ in range(50) if (found := heard.get_message(timeout=0.05)) is not None]
        assert [event for found in got for event in decode(found["data"])] == list(EVENTS)
        assert {key.decode() for key in client.keys("md:log:*")} == {
            f"md:log:trades:{ID}",
            f"md:log:quotes:{ID}",
            f"md:log:bars:{ID}:1m",
        }
        latest = {key.decode(): float(value) for key, value in client.hgetall(f"md:latest:{ID}").items()}
        assert latest.items() >= {"price": 100.5, "size": 0.25, "bid": 100.0, "ask": 101.0}.items()
        assert decode(client.get(f"md:latest-book:{ID}")) == [EVENTS[2]]
        assert decode(client.get(f"md:latest-bars:{ID}:1m")) == [EVENTS[3]]
        assert int(client.get(f"md:spool:{spool.id}")) == last


def test_a_new_process_sends_nothing_again_unless_redis_was_emptied(redis_url: str, tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool.db")
    last = spool.append([message(event) for event in EVENTS])
    assert deliver(redis_url, spool, upto=last).sent == len(EVENTS)
    assert deliver(redis_url, spool, upto=last).sent == 0
    with redis.Redis.from_url(redis_url) as client:
        client.flushall()
    assert deliver(redis_url, spool, upto=last).sent == len(EVENTS)
