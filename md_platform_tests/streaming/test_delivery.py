"""The loop that all sinks share, against a sink that fails on request: nothing lost, nothing blocked, order kept."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import UUID

import pytest

from md_platform.storage.spool import EVERY_CHANNEL, Message, Spool
from streaming.delivery import Delivery, Numbered


class Refused(Exception):
    """What a client's own errors are like."""


class Listed:
    """A sink that keeps what it gets, and is away, slow or forgetful as the test has it."""

    failures = (Refused,)
    slowest_retry_s = 0.05

    def __init__(self, name: str = "listed", wanted: str = EVERY_CHANNEL) -> None:
        self.name = name
        self.wanted = wanted
        self.known: int | None = None
        self.is_away = False
        self.gate = asyncio.Event()
        self.gate.set()
        self.got: list[int] = []
        self.largest = 0
        self.closed = 0

    async def open(self, spool: UUID) -> int | None:
        self._refuse()
        return self.known

    async def send(self, messages: Sequence[Numbered]) -> None:
        await self.gate.wait()
        self._refuse()
        self.largest = max(self.largest, len(messages))
        self.got += [each.id for each in messages]

    async def close(self) -> None:
        self.closed += 1

    def _refuse(self) -> None:
        if self.is_away:
            raise Refused


def trades(count: int = 1, channel: str = "md:trades:x") -> list[Message]:
    return [Message("trades", channel, 1, b"{}") for _ in range(count)]


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "spool.db")


@asynccontextmanager
async def delivering(sink: Listed, spool: Spool) -> AsyncIterator[Delivery]:
    spool.keep_for({sink.name: sink.wanted})
    delivery = Delivery(sink, spool.path)
    task = asyncio.create_task(delivery.run())
    try:
        yield delivery
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - the delivery has no event for each of these
            await asyncio.sleep(0.005)


def test_each_message_goes_out_once_in_order_while_all_is_well(spool: Spool) -> None:
    async def run() -> None:
        sink = Listed()
        spool.append(trades(3))
        async with delivering(sink, spool) as delivery:
            await until(lambda: delivery.is_up)
            for _ in range(20):
                batch = trades(5)
                delivery.put(batch, spool.append(batch))
                await asyncio.sleep(0)
            await delivery.reached(103)
        assert sink.got == list(range(1, 104))
        assert delivery.sent == 103
        assert sink.closed == 1
        assert spool.position("listed") == 103

    asyncio.run(run())


def test_while_a_sink_is_away_nothing_waits_in_memory_and_all_of_it_comes_later(spool: Spool) -> None:
    async def run() -> None:
        sink = Listed()
        async with delivering(sink, spool) as delivery:
            await until(lambda: delivery.is_up)
            sink.is_away = True
            for _ in range(50):
                batch = trades(10)
                delivery.put(batch, spool.append(batch))
                await asyncio.sleep(0.001)
            await until(lambda: not delivery.is_up)
            assert not delivery._waiting
            sink.is_away = False
            await asyncio.wait_for(delivery.reached(500), 10)
            await until(lambda: delivery.is_up)
        assert sink.got == list(range(1, 501))

    asyncio.run(run())


def test_a_slow_sink_is_not_waited_for_and_what_it_could_not_take_is_read_again(spool: Spool) -> None:
    async def run() -> None:
        sink = Listed()
        async with delivering(sink, spool) as delivery:
            await until(lambda: delivery.is_up)
            sink.gate.clear()
            last = spool.append(trades(2_500))
            for id_ in range(1, last + 1):
                delivery.put(trades(), id_)
                if id_ == 1:
                    await asyncio.sleep(0.01)
            assert len(delivery._waiting) <= 2_000
            assert not delivery.is_up
            sink.gate.set()
            await asyncio.wait_for(delivery.reached(last), 10)
        assert sink.got == list(range(1, last + 1))

    asyncio.run(run())


def test_messages_that_were_appended_but_never_queued_come_with_the_next_catching_up(spool: Spool) -> None:
    async def run() -> None:
        sink = Listed()
        async with delivering(sink, spool) as delivery:
            await until(lambda: delivery.is_up)
            for _ in range(200):  # some of it is put while the delivery catches up
                batch = trades(3)
                delivery.put(batch, spool.append(batch))
                sink.is_away = not sink.is_away
                await asyncio.sleep(0.002)
            sink.is_away = False
            await asyncio.wait_for(delivery.reached(600), 10)
        assert sink.got == list(range(1, 601))

    asyncio.run(run())


def test_a_new_process_goes_on_where_the_one_before_was_remembered(spool: Spool) -> None:
    async def run() -> None:
        spool.append(trades(10))
        async with delivering(Listed(), spool) as first:
            await first.reached(10)
        spool.append(trades(2))
        async with delivering(again := Listed(), spool) as second:
            await second.reached(12)
        assert again.got == [11, 12]

    asyncio.run(run())


def test_what_the_other_side_remembers_itself_comes_before_what_the_spool_does(spool: Spool) -> None:
    async def run() -> None:
        spool.append(trades(10))
        spool.keep_for({"listed": EVERY_CHANNEL})
        spool.remember("listed", 9)
        sink = Listed()
        sink.known = 4
        async with delivering(sink, spool) as delivery:
            await delivery.reached(10)
        assert sink.got == [5, 6, 7, 8, 9, 10]

    asyncio.run(run())


def test_a_sink_that_was_never_reached_does_not_change_what_is_remembered(spool: Spool) -> None:
    async def run() -> None:
        spool.append(trades(10))
        spool.keep_for({"listed": EVERY_CHANNEL})
        spool.remember("listed", 9)
        sink = Listed()
        sink.is_away = True
        async with delivering(sink, spool):
            await until(lambda: sink.closed > 2)
        assert spool.position("listed") == 9

    asyncio.run(run())


def test_a_sink_gets_the_channel_that_it_wants_and_passes_the_others_by(spool: Spool) -> None:
    async def run() -> None:
        sink = Listed(wanted="md:events")
        async with delivering(sink, spool) as delivery:
            await until(lambda: delivery.is_up)
            batch = [*trades(2), *trades(1, "md:events"), *trades(1)]
            delivery.put(batch, spool.append(batch))
            await delivery.reached(4)
        assert sink.got == [3]

    asyncio.run(run())


def test_the_spool_keeps_what_a_sink_has_yet_to_take_and_nothing_else(spool: Spool) -> None:
    later = time.time_ns() + 10**12
    spool.keep_for({"all": EVERY_CHANNEL, "notices": "md:events"})
    last = spool.append([*trades(2), *trades(1, "md:events"), *trades(3)])
    assert spool.forget(last, later) == 0
    spool.remember("all", 5)
    assert spool.forget(last, later) == 4  # not the notice, not what `all` has yet to take
    assert [row.id for row in spool.read(0)] == [3, 6]
    spool.remember("notices", 5)
    assert spool.forget(last, later) == 1
    spool.keep_for({"notices": "md:events"})
    assert spool.forget(last, later) == 1
    assert spool.position("all") == 0


def test_when_the_disk_is_nearly_full_sinks_are_not_waited_for_and_it_is_said_what_they_lost(spool: Spool) -> None:
    later = time.time_ns() + 10**12
    spool.keep_for({"all": EVERY_CHANNEL, "notices": "md:events", "current": EVERY_CHANNEL})
    last = spool.append([*trades(2), *trades(1, "md:events"), *trades(3)])
    spool.remember("current", last)
    spool.remember("all", 1)
    assert spool.overrun(5, later) == {"all": 4, "notices": 1}
    assert [row.id for row in spool.read(0)] == [6]
