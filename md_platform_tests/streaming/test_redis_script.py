"""A flush on a real server: published, kept, latest values and position, all by one call or none of it."""

import asyncio
from pathlib import Path

import pytest
import redis.asyncio as redis
from redis.exceptions import RedisError

from md_platform.domain.wire import opened
from md_platform.embedded import valkey_running
from md_platform.errors import LeaseLost
from streaming.redis_script import Fence, Flush, script_on

OURS = Fence("0/2", "ours")


def flush_of(*payloads: bytes) -> Flush:
    flush = Flush()
    for payload in payloads:
        flush.add("md:events", payload, kept=10)
    return flush


def said(event: bytes) -> bytes:
    return b'{"v":1,"data":[%b]}' % event


async def payloads_kept(client: redis.Redis) -> list[bytes]:
    return [fields[b"m"] for _, fields in await client.xrange("md:log:events")]


def test_a_flush_publishes_keeps_and_remembers(redis_url: str) -> None:
    async def main() -> None:
        async with redis.Redis.from_url(redis_url) as client, client.pubsub() as heard:
            await heard.psubscribe("md:*")
            flush = Flush()
            flush.add(
                "md:trades:x:A-B", said(b"\xff1"), kept=10, latest="md:latest:x:A-B", values={"price": 1.5}, ttl_s=60
            )
            flush.add("md:book:x:A-B", said(b"2"), kept=0, latest="md:latest-book:x:A-B", ttl_s=60)
            flush.add("md:events", said(b"3"), kept=10)
            await flush.send(script_on(client), "position", 7)
            messages = [await heard.get_message(timeout=5) for _ in range(4)]
            numbers = [number for number, _ in (opened(message["data"]) for message in messages[1:])]
            assert [opened(message["data"])[1] for message in messages[1:]] == [b"[\xff1]", b"[2]", b"[3]"]
            assert await client.ttl("md:latest:x:A-B") > 50
            assert await client.hgetall("md:latest:x:A-B") == {b"price": b"1.5"}
            assert await client.get("md:latest-book:x:A-B") == messages[2]["data"]
            ((_, kept),) = await client.xrange("md:log:trades:x:A-B")
            assert kept == {b"m": said(b"\xff1"), b"n": b"%d" % numbers[0]}
            assert await payloads_kept(client) == [said(b"3")]
            assert not await client.exists("md:log:book:x:A-B")
            assert await client.get("position") == b"7"

    asyncio.run(main())


def test_numbers_of_a_channel_follow_each_other_and_never_come_again(redis_url: str) -> None:
    async def numbers(client: redis.Redis) -> list[int]:
        return [int(fields[b"n"]) for _, fields in await client.xrange("md:log:events")]

    async def main() -> None:
        async with redis.Redis.from_url(redis_url) as client:
            script = script_on(client)
            await flush_of(said(b"1"), said(b"2")).send(script, "one", 2)
            await flush_of(said(b"3")).send(script, "another", 1)
            before = await numbers(client)
            assert before == list(range(before[0], before[0] + 3))
            await client.flushall()
            await flush_of(said(b"1")).send(script, "one", 2)
            assert (await numbers(client))[0] > before[-1]

    asyncio.run(main())


def test_what_redis_has_already_is_not_done_again(redis_url: str) -> None:
    async def main() -> None:
        async with redis.Redis.from_url(redis_url) as client:
            script = script_on(client)
            for last_id, payload in ((2, b"a"), (2, b"a"), (1, b"old"), (3, b"b")):
                await flush_of(payload).send(script, "position", last_id)
            assert await payloads_kept(client) == [b"a", b"b"]

    asyncio.run(main())


def test_who_has_not_the_shard_changes_nothing(redis_url: str) -> None:
    async def main() -> None:
        async with redis.Redis.from_url(redis_url) as client:
            script = script_on(client)
            with pytest.raises(RedisError, match="about to be told"):
                await flush_of(b"a").send(script, "position", 1, OURS)
            await client.hset(OURS.key, "token", "theirs")
            with pytest.raises(LeaseLost, match="another process"):
                await flush_of(b"a").send(script, "position", 1, OURS)
            assert await client.keys() == [OURS.key.encode()]
            await client.hset(OURS.key, "token", OURS.token)
            await flush_of(b"a").send(script, "position", 1, OURS)
            assert await payloads_kept(client) == [b"a"]

    asyncio.run(main())


def test_a_redis_that_was_restarted_is_told_the_script(open_folder: Path) -> None:
    async def send(client: redis.Redis, last_id: int, payload: bytes) -> None:
        await flush_of(payload).send(script, "position", last_id)
        await client.aclose()

    async def is_known(client: redis.Redis) -> bool:
        found = await client.script_exists(script.sha)
        await client.aclose()
        return bool(found[0])

    home = open_folder / "restarted"
    with valkey_running(home) as url:
        client = redis.Redis.from_url(url)
        script = script_on(client)
        asyncio.run(send(client, 1, b"a"))
    with valkey_running(home) as again:
        assert again == url
        assert not asyncio.run(is_known(client))
        asyncio.run(send(client, 2, b"b"))
        assert asyncio.run(is_known(client))
        assert asyncio.run(payloads_kept(client)) == [b"a", b"b"]
