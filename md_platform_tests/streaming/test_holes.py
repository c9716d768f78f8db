"""What a connection lost is told once, with its range and its numbers, and once repaired is told so."""

import asyncio

import pytest
from websockets.asyncio.server import ServerConnection

from md_platform.domain.events import SequenceGap, Trade
from md_platform_tests.streaming.venue import BTC, START_MS, Listener, speaking, trade
from streaming.holes import Hole
from streaming.link import Link


async def _one_trade(socket: ServerConnection, number: int) -> None:
    await socket.send(trade(1))


def test_a_jump_in_numbering_is_one_gap_with_its_range_and_its_numbers() -> None:
    async def run() -> Listener:
        async with speaking(_one_trade) as url, Listener([url]).listening() as listener:
            await listener.until(lambda: bool(listener.ids and listener.notices("connected")))
            listener.holes.clear()
            link = _link(listener)
            listener.pipeline.events(link, [SequenceGap(50, 53)])
            return listener

    listener = asyncio.run(run())
    (gap,), (hole,) = listener.notices("gap"), listener.holes
    assert (gap.cause, gap.first_missing, gap.last_missing) == ("sequence jumped", 50, 52)
    assert gap.start is not None
    assert gap.end is not None
    assert gap.end - gap.start == 2_000_000_000
    listener.pipeline.holes.repaired(hole, [])
    (repaired,) = listener.notices("repaired")
    assert (repaired.first_missing, repaired.last_missing, repaired.instruments) == (50, 52, [BTC.id])


@pytest.mark.parametrize("found", [range(2, 5), range(2, 4)])
def test_ids_lost_while_disconnected_are_told_apart_only_where_the_repair_lacks_them(found: range) -> None:
    async def script(socket: ServerConnection, number: int) -> None:
        await socket.send(trade([1, 5][number]))
        if number == 0:
            await asyncio.sleep(0.2)
            await socket.close()

    async def run() -> Listener:
        async with speaking(script) as url, Listener([url]).listening() as listener:
            await listener.until(lambda: listener.ids == [1, 5] and bool(listener.notices("gap")))
            (hole,) = [each for each in listener.holes if each.notice]
            await asyncio.sleep(2.1)
            listener.pipeline.tick(running=False)
            (gap,) = listener.notices("gap")
            assert (gap.cause, hole.notice) == ("disconnected", gap)
            listener.pipeline.holes.repaired(hole, [_trade(number) for number in found])
            listener.pipeline.tick(running=False)
            return listener

    listener = asyncio.run(run())
    assert listener.ids == [1, 5, *found]
    assert [(gap.first_missing, gap.last_missing) for gap in listener.notices("gap")[1:]] == [(2, 4)] * (4 not in found)


def test_what_is_lost_reaches_to_the_confirmation_of_the_subscriptions() -> None:
    async def script(socket: ServerConnection, number: int) -> None:
        await socket.send(trade(1))
        if number == 0:
            await asyncio.sleep(0.2)
            await socket.close()

    async def run() -> tuple[Hole, Link]:
        async with speaking(script, confirm_after_s=0.3) as url, Listener([url]).listening() as listener:
            await listener.until(lambda: any(hole.notice for hole in listener.holes))
            return next(hole for hole in listener.holes if hole.notice), _link(listener)

    hole, link = asyncio.run(run())
    assert hole.notice is not None
    assert hole.notice.end is not None
    assert hole.notice.end - link.connected_ns >= 300_000_000


def _trade(number: int) -> Trade:
    at = (START_MS + number) * 1_000_000
    return Trade(BTC.id, at, at, number, 100.0, 1.0, sent_late=True)


def _link(listener: Listener) -> Link:
    link = listener.connection.link
    assert link is not None
    return link
