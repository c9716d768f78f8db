"""Shards in; the first that nobody serves, served from where its last holder ended, out."""

import asyncio
import contextlib
import time
from collections.abc import Sequence
from dataclasses import replace

from redis.exceptions import RedisError

from md_platform.errors import ServiceError, StorageError
from md_platform.storage.spool import Spool
from streaming.lease import LEASE_S, Lease, claimed, first_free
from streaming.redis_sink import skip
from streaming.remembering import ADOPTED, TAIL_NS, Remembered, published, remembered, stored
from streaming.run import LiveProcess, StreamConfig, ended, served_until, stop_signal

_DATABASE_ANSWERS_S = 2.0


async def stream_shard(configs: Sequence[StreamConfig], *, is_standby: bool) -> None:
    """Run the first of `configs`, one for each shard, that nobody serves; wait for one until SIGINT or SIGTERM.

    A standby leaves shards to their usual processes at first, and takes over the instruments of the last holder.
    LeaseLost where another process took the shard over meanwhile. Without Redis there is nothing to wait for.
    """
    stop = stop_signal()
    leases = {Lease(each.redis_url, each.shard): each for each in configs if each.redis_url and each.shard}
    if not leases:
        [config] = configs
        with claimed(config.spool.parent) as folder:
            await served_until(LiveProcess(replace(config, spool=folder / config.spool.name)), stop)
        return
    waiting = asyncio.create_task(first_free(list(leases), LEASE_S if is_standby else 0))
    stopped = asyncio.create_task(stop.wait())
    await asyncio.wait({waiting, stopped}, return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    if not waiting.done():
        await ended([waiting])
        return
    lease = waiting.result()
    keeping = asyncio.create_task(lease.keep())
    config = leases[lease]
    if is_standby and (names := lease.before.get("instruments")):
        config = replace(config, instruments=names.split(","))
    try:
        with claimed(config.spool.parent) as folder:
            config = replace(config, spool=folder / config.spool.name)
            memory = await _handed_on(config, lease)
            await served_until(LiveProcess(config, lease, memory), stop, keeping)
    finally:
        await lease.release()


async def _handed_on(config: StreamConfig, lease: Lease) -> Remembered:
    """What is known of the shard's past, by our spool where its last holder used that."""
    spool = Spool(config.spool)
    try:
        if lease.before.get("spool") == str(spool.id):
            found = await asyncio.to_thread(remembered, spool, time.time_ns())
        else:
            found = await _taken_over(config, spool, is_of_one="spool" in lease.before)
        await lease.describe(str(spool.id), config.instruments)
    except (RedisError, OSError) as error:
        raise ServiceError(
            f"Redis went away while shard {lease.shard} was taken over ({error}): start again"
        ) from error
    finally:
        spool.close()
    return found


async def _taken_over(config: StreamConfig, spool: Spool, *, is_of_one: bool) -> Remembered:
    """What the last holder, or holders, published, now in `spool`, too: it is stored once more, and not published.

    What they had stored and not published follows it, to be published.
    """
    now_ns, url = time.time_ns(), config.redis_url or ""
    found, messages = await asyncio.to_thread(published, url, config.instruments, now_ns, by_one=is_of_one)
    await skip(url, spool, await asyncio.to_thread(spool.append, [ADOPTED, *messages]))
    if config.database_url is not None:
        since_ns = found.stored_since_ns or now_ns - TAIL_NS
        asking = asyncio.to_thread(stored, config.database_url, config.instruments, since_ns, now_ns)
        with contextlib.suppress(StorageError, TimeoutError):  # then history tells, and keys keep each trade once
            rest = found.add(await asyncio.wait_for(asking, _DATABASE_ANSWERS_S), now_ns)
            await asyncio.to_thread(spool.append, rest)
    return found
