"""A disk that is really full: the venue waits, memory is bounded, it is said, and then everything is there, once."""

import asyncio
from pathlib import Path

import pytest
from websockets.asyncio.server import ServerConnection

from md_platform.domain.events import FeedNotice, Trade
from md_platform.domain.wire import Published, decode
from md_platform.storage.spool import Spool
from md_platform_tests.small_disk import MAY_MOUNT, filled, small_disk
from md_platform_tests.streaming.venue import Listener, speaking, trade
from streaming.outbox import Outbox
from streaming.run import ended, hold_back

WAITING_AT_MOST = 2_000


def stored(spool: Spool) -> list[Published]:
    return [event for row in spool.since(0) for event in decode(row.message.payload)]


@pytest.mark.skipif(not MAY_MOUNT, reason="only root may mount a small disk")
def test_feeds_are_held_while_the_disk_takes_nothing(tmp_path: Path) -> None:
    sent = 0
    enough, done = asyncio.Event(), asyncio.Event()

    async def script(socket: ServerConnection, number: int) -> None:
        nonlocal sent
        while not enough.is_set():
            await socket.send(trade(sent + 1))
            sent += 1
        done.set()

    async def run(disk: Path) -> list[Published]:
        spool = Spool(disk / "spool.db")
        outbox = Outbox(spool, lambda _messages, _last: None, waiting_at_most=WAITING_AT_MOST)
        most = 0
        async with speaking(script) as url:
            with filled(disk):
                async with Listener([url], put=outbox.put).listening() as listener:
                    jobs = [outbox.run(), hold_back(outbox, [listener.connection], listener.pipeline)]
                    tasks = [asyncio.create_task(job) for job in jobs]
                    await listener.until(lambda: outbox.is_full, 60)
                    before = -1
                    while sent > before:  # until what lies between the two is full
                        before = sent
                        await asyncio.sleep(1)
                        most = max(most, outbox.waiting)
                    assert outbox.is_full
                    enough.set()
                    (disk / "ballast").write_bytes(b"")  # there is room again
                    await asyncio.wait_for(done.wait(), 60)
                    await listener.until(lambda: listener.pipeline.counts.received["binance-0"] >= sent, 60)
                    await listener.until(lambda: not outbox.waiting and not outbox.is_full, 60)
                    said = listener.pipeline.counts.kinds
                    await listener.until(lambda: said["released"] == said["held"], 60)
                    await listener.until(lambda: not outbox.waiting, 60)  # also what a flush has under way
                    await ended(tasks)
        found = stored(spool)
        spool.close()
        print(f"at most {most} events waited in memory, {sent} were sent")
        assert WAITING_AT_MOST <= most < 40_000  # what one tick may read, and no more
        return found

    with small_disk(tmp_path / "disk", 64) as disk:
        found = asyncio.run(run(disk))
    assert [event.trade_id for event in found if isinstance(event, Trade)] == list(range(1, sent + 1))
    kinds = [event.kind for event in found if isinstance(event, FeedNotice)]
    assert kinds.count("held") == kinds.count("released") >= 1
    assert "disconnected" not in kinds
