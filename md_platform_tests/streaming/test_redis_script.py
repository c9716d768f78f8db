"""A flush on a real server: published, kept, latest values and position, all by one call."""

import asyncio
from pathlib import Path

import redis.asyncio as redis

from md_platform.embedded import valkey_running
from streaming.redis_script import Flush


def test_a_flush_publishes_keeps_and_remembers(tmp_path: Path) -> None:
    async def run(url: str) -> list[object]:
        async with redis.Redis.from_url(url) as client, client.pubsub() as heard:
            await heard.psubscribe("md:*")
            flush = Flush()
            flush.add("md:trades:x:A-B", b"\xff1", kept=10, latest="md:latest:x:A-B", values={"price": 1.5}, ttl_s=60)
            flush.add("md:book:x:A-B", b"2", kept=0, latest="md:latest-book:x:A-B", ttl_s=60)
            flush.add("md:events", b"3", kept=10)
            await flush.send(client, "position", 7)
            messages = [await heard.get_message(timeout=5) for _ in range(4)]
            assert [message["data"] for message in messages[1:]] == [b"\xff1", b"2", b"3"]
            assert await client.ttl("md:latest:x:A-B") > 50
            return [
                await client.hgetall("md:latest:x:A-B"),
                await client.get("md:latest-book:x:A-B"),
                [fields for _, fields in await client.xrange("md:log:trades:x:A-B")],
                await client.xlen("md:log:events"),
                await client.exists("md:log:book:x:A-B"),
                await client.get("position"),
            ]

    with valkey_running(tmp_path) as url:
        found = asyncio.run(run(url))
    assert found == [{b"price": b"1.5"}, b"2", [{b"m": b"\xff1"}], 1, 0, b"7"]
