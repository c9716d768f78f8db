"""One holder at a time, on a real Redis-protocol server."""

import asyncio
import contextlib
import subprocess
import sys
import time
from pathlib import Path

import pytest
import redis.asyncio as redis
from redis.exceptions import RedisError

from md_platform.errors import LeaseLost
from streaming import lease as leases
from streaming.assignment import Shard
from streaming.lease import Lease, claimed, first_free
from streaming.redis_script import Flush, script_on
from streaming.run import ended

SHARD = Shard(0, 2)


async def publish(lease: Lease, client: redis.Redis) -> None:
    flush = Flush()
    flush.add("md:events", b"1", kept=10)
    published = await client.xlen("md:log:events")
    await flush.send(script_on(client), "position", published + 1, lease.fence)


async def lapse(client: redis.Redis) -> None:
    await client.delete(f"md:shard:{SHARD}:alive")


def test_one_of_many_gets_a_shard(redis_url: str) -> None:
    async def main() -> None:
        taken = await asyncio.gather(*(Lease(redis_url, SHARD).take() for _ in range(20)))
        assert sum(taken) == 1
        other = await first_free([Lease(redis_url, SHARD), Lease(redis_url, Shard(1, 2))], 0)
        assert other.shard == Shard(1, 2)

    asyncio.run(main())


def test_who_was_replaced_publishes_nothing_and_is_told(redis_url: str) -> None:
    async def main() -> None:
        old, new, client = Lease(redis_url, SHARD), Lease(redis_url, SHARD), redis.Redis.from_url(redis_url)
        assert await old.take()
        await old.describe("spool-1", ["sandbox:A-B", "sandbox:C-D"])
        await publish(old, client)
        await lapse(client)
        await publish(old, client)  # nobody else has it: it is still ours
        assert await new.take()
        assert new.before["spool"] == "spool-1"
        assert new.before["instruments"] == "sandbox:A-B,sandbox:C-D"
        with pytest.raises(LeaseLost):
            await publish(old, client)
        with pytest.raises(LeaseLost):
            await old.keep()
        await old.describe("late", [])
        await old.release()
        assert await client.xlen("md:log:events") == 2
        assert await client.hget(f"md:shard:{SHARD}", "spool") == b"spool-1"
        assert await client.exists(f"md:shard:{SHARD}:alive")
        await publish(new, client)

    asyncio.run(main())


def test_a_redis_that_forgot_everything_is_told_again_by_the_holder(redis_url: str) -> None:
    async def main() -> None:
        holder, client = Lease(redis_url, SHARD), redis.Redis.from_url(redis_url)
        assert await holder.take()
        await client.flushall()
        with pytest.raises(RedisError, match="about to be told"):
            await publish(holder, client)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(holder.keep(), 0.3)
        await publish(holder, client)
        assert not await Lease(redis_url, SHARD).take()

    asyncio.run(main())


def test_after_a_sleep_nothing_is_spooled_before_the_lease_is_asked(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        now = 0.0
        monkeypatch.setattr(leases, "_clock", lambda: now)
        old, client = Lease(redis_url, SHARD), redis.Redis.from_url(redis_url)
        assert await old.take()
        await old.admit()
        now = 20.0
        await lapse(client)
        await old.admit()  # nobody took it
        await lapse(client)
        assert await Lease(redis_url, SHARD).take()
        await old.admit()  # confirmed just now: it has not slept
        now = 40.0
        with pytest.raises(LeaseLost):
            await old.admit()

    asyncio.run(main())


def test_without_redis_feeds_go_on() -> None:
    async def main() -> None:
        lease = Lease("redis://127.0.0.1:1/0", SHARD)
        await lease.admit()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(lease.keep(), 0.5)
        await lease.release()

    asyncio.run(main())


def test_a_released_shard_is_free_at_once(redis_url: str) -> None:
    async def main() -> None:
        first = Lease(redis_url, SHARD)
        assert await first.take()
        await first.release()
        began = time.monotonic()
        await first_free([Lease(redis_url, SHARD)], 0)
        assert time.monotonic() - began < 1

    asyncio.run(main())


def test_a_folder_is_one_process_s_until_that_ends(tmp_path: Path) -> None:
    folder = tmp_path / "shard-0"
    code = "import sys, time\nfrom pathlib import Path\nfrom streaming.lease import claimed\n"
    code += "with claimed(Path(sys.argv[1])) as path:\n    print(path, flush=True)\n    time.sleep(60)\n"
    with subprocess.Popen([sys.executable, "-c", code, str(folder)], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline().strip() == str(folder)
        with claimed(folder) as path:
            assert path == tmp_path / "shard-0-2"
        other.kill()
    with claimed(folder) as path:
        assert path == folder


def test_a_task_that_swallows_its_cancellation_is_ended_all_the_same() -> None:
    async def main() -> None:
        async def stubborn() -> None:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(60)
            await asyncio.sleep(60)

        task = asyncio.create_task(stubborn())
        await asyncio.sleep(0)
        await asyncio.wait_for(ended([task]), 10)
        assert task.cancelled()

    asyncio.run(main())
