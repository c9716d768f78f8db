"""What goes wrong around a gateway: Redis is killed or emptied, clients read too slowly."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import time
from pathlib import Path

import redis
from redis.exceptions import RedisError
from websockets.asyncio.client import connect

from md_platform.embedded import valkey_running
from md_platform_tests.gateway.speaking import ID, Client, Publisher, connected, running, trade


async def published(publisher: Publisher, count: int, per_s: float = 500) -> None:
    """`count` trades, at any cost: as the live process does, it goes on from where Redis says that it is."""
    events = [trade(0)]
    while len(events) <= count:
        await asyncio.sleep(1 / per_s)
        events.append(trade(len(events)))
        try:
            position = int(await publisher.client.get("position") or 0)
            publisher._position = position
            await publisher.say(*events[position + 1 : position + 51])
        except (RedisError, OSError):
            continue


def test_redis_is_killed_under_load_and_comes_back(open_folder: Path):
    async def main(client: Client, publisher: Publisher) -> None:
        await client.ask("subscribe", channel="trades", instruments=[ID])
        await client.next("subscribed")
        publishing = asyncio.create_task(published(publisher, 3_000))
        await client.until(lambda: len(client.ids) > 300)
        os.kill(redis.Redis.from_url(url).info("server")["process_id"], signal.SIGKILL)
        await client.next("degraded", timeout_s=20)
        await client.ask("subscribe", id=2, channel="quotes", instruments=[ID])
        await asyncio.sleep(1)
        server.close()
        server.enter_context(valkey_running(home))
        await client.next("restored", timeout_s=30)
        await client.until(lambda: client.ids[-1] == 3_000, timeout_s=60)
        await publishing
        assert client.ids == list(range(1, 3_001))
        numbers = [message["seq"] for message in client.told("data")]
        assert numbers == list(range(numbers[0], numbers[0] + 3_000))

    async def with_gateway() -> None:
        async with running(url) as port, connected(port) as client:
            await main(client, Publisher(url))

    home = open_folder / "killed"
    with contextlib.ExitStack() as server:
        url = server.enter_context(valkey_running(home))
        asyncio.run(with_gateway())


def test_an_emptied_redis_is_told_and_nothing_comes_twice(redis_url: str):
    async def main() -> None:
        publisher = Publisher(redis_url)
        async with running(redis_url) as port, connected(port) as client:
            await client.ask("subscribe", channel="trades", instruments=[ID])
            await client.next("subscribed")
            publishing = asyncio.create_task(published(publisher, 1_500))
            await client.until(lambda: len(client.ids) > 300)
            await publisher.client.flushall()
            await client.until(lambda: client.ids[-1] == 1_500, timeout_s=30)
            await publishing
            (gap,) = client.told("gap")
            assert gap["cause"] == "renumbered"
            assert client.ids == list(range(1, 1_501))

    asyncio.run(main())


def unread(port: int, query: str = "") -> socket.socket:
    """A client that subscribes and reads nothing more."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    client.connect(("127.0.0.1", port))
    request = json.dumps({"op": "subscribe", "channel": "trades", "instruments": [ID]}).encode()
    client.sendall(
        f"GET /{query} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n".encode()
        + b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        + bytes((0x81, 0x80 | len(request)))
        + bytes(4)
        + request
    )
    return client


async def lateness_ms(client: Client, seconds: float) -> float:
    """How late half of the trades are."""
    late: list[float] = []
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        message = await client.next("data")
        late.append((time.time_ns() - message["data"][0][3]) / 1e6)
    return sorted(late)[len(late) // 2]


def test_slow_readers_raise_nobody_elses_latency_and_end_or_are_conflated(redis_url: str):
    async def main() -> None:
        publisher = Publisher(redis_url)
        async with running(redis_url) as port, connected(port) as client:
            await client.ask("subscribe", channel="trades", instruments=[ID])
            await client.next("subscribed")
            publishing = asyncio.create_task(published(publisher, 10**9, per_s=400))
            before_ms = await lateness_ms(client, 3)
            closing = [unread(port) for _ in range(40)]
            conflated = [unread(port, "?slow=conflate") for _ in range(40)]
            beside_ms = await lateness_ms(client, 3)
            print(
                f"half of the trades are at most {before_ms:.2f} ms late; beside 80 that read nothing {beside_ms:.2f} ms"
            )
            assert beside_ms < max(3 * before_ms, 20)
            for each in (*closing, *conflated):
                each.close()
            publishing.cancel()

    asyncio.run(main())


def test_who_reads_too_slowly_is_closed_or_gets_the_newest(redis_url: str):
    async def main() -> None:
        publisher = Publisher(redis_url)
        options = {"max_size": None, "compression": None, "max_queue": 1}
        async with running(redis_url) as port:
            url = f"ws://127.0.0.1:{port}"
            async with connect(f"{url}/", **options) as closed, connect(f"{url}/", **options) as newest:
                for connection in (closed, newest):
                    connection.transport.get_extra_info("socket").setsockopt(
                        socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536
                    )
                    await connection.send(json.dumps({"op": "subscribe", "channel": "trades", "instruments": [ID]}))
                await newest.send(json.dumps({"op": "configure", "slow": "conflate"}))
                await asyncio.sleep(0.5)
                total = 24_000
                for start in range(0, total, 500):
                    await publisher.say(*(trade(number) for number in range(start, start + 500)))
                    await asyncio.sleep(0.005)
                late, early = Client(newest), Client(closed)
                await asyncio.gather(
                    late.until(lambda: late.ids and late.ids[-1] == total - 1, timeout_s=30),
                    early.until(lambda: early.told("error"), timeout_s=30),
                )
                skipped = sum(message["skipped"] for message in late.told("conflated"))
                assert skipped > 0
                assert len(late.ids) + skipped == total
                assert late.ids == sorted(late.ids)
                await closed.wait_closed()
                assert early.told("error")[0]["code"] == "too_slow"
                assert closed.close_code == 1008
                assert early.ids == list(range(len(early.ids)))

    asyncio.run(main())
