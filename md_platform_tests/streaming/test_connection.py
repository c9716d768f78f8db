"""Connections against a venue that misbehaves, over real sockets: what consumers are told, and that nothing is twice."""

import asyncio
import time
from contextlib import suppress
from dataclasses import replace

import pytest
from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed

from md_platform.domain.events import Quarantined
from md_platform.venues.binance_feed import SPOT
from md_platform_tests.streaming.venue import BTC, Listener, depth, speaking, trade
from streaming import link as link_module
from streaming import pipeline as pipeline_module


def test_a_disconnect_is_told_and_the_next_link_goes_on() -> None:
    async def script(socket: ServerConnection, number: int) -> None:
        await socket.send(trade(number * 10 + 1))
        if number == 0:
            await socket.close()

    async def run() -> Listener:
        async with speaking(script) as url, Listener([url]).listening() as listener:
            await listener.until(lambda: listener.ids == [1, 11] and len(listener.notices("gap")) == 1)
            return listener

    listener = asyncio.run(run())
    (lost,) = listener.notices("disconnected")
    (gap,) = listener.notices("gap")
    assert lost.cause == "the venue hung up"
    assert (gap.start or 0) <= (gap.end or 0)
    assert [hole.instrument for hole in listener.holes if not hole.by_bars] == [BTC]
    assert len(listener.notices("connected")) == 2


def test_an_address_that_does_not_answer_is_left_for_the_next_within_two_seconds() -> None:
    async def script(socket: ServerConnection, number: int) -> None:
        await socket.send(trade(1))

    async def run() -> float:
        async with speaking(script) as url, Listener(["ws://127.0.0.1:9", url]).listening() as listener:
            began = time.monotonic()
            await listener.until(lambda: listener.ids == [1])
            return time.monotonic() - began

    assert asyncio.run(run()) < 2


def test_what_the_venue_refuses_is_told_in_its_own_words() -> None:
    async def script(socket: ServerConnection, number: int) -> None:
        return

    async def run() -> Listener:
        async with speaking(script, refuse=True) as url, Listener([url]).listening() as listener:
            await listener.until(lambda: bool(listener.notices("refused")))
            return listener

    assert "2 Invalid request" in {notice.cause for notice in asyncio.run(run()).notices("refused")}


def test_a_silent_link_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link_module, "_NOTHING_AT_ALL_S", 0.5)

    async def script(socket: ServerConnection, number: int) -> None:
        await socket.send(trade(number + 1))
        while number:
            await asyncio.sleep(0.1)
            await socket.send(trade(number + 1))

    async def run() -> Listener:
        async with speaking(script) as url, Listener([url]).listening() as listener:
            await listener.until(lambda: listener.ids == [1, 2])
            return listener

    (stalled,) = asyncio.run(run()).notices("stalled")
    assert stalled.cause == "silent: nothing at all for 0.5 s"


def test_a_planned_renewal_overlaps_so_that_nothing_is_missed_or_twice() -> None:
    sent = 0
    sockets: set[ServerConnection] = set()

    async def broadcast(socket: ServerConnection, number: int) -> None:
        sockets.add(socket)
        try:
            await socket.wait_closed()
        finally:
            sockets.discard(socket)

    async def run() -> Listener:
        nonlocal sent
        feed = replace(SPOT, max_connection_s=0.6)
        async with speaking(broadcast) as url, Listener([url], feed=feed).listening() as listener:
            await listener.until(lambda: bool(sockets))
            while len(listener.notices("connected")) < 4:
                sent += 1
                for socket in set(sockets):
                    with suppress(ConnectionClosed):  # its successor has been sent it
                        await socket.send(trade(sent))
                await asyncio.sleep(0.005)
            await listener.until(lambda: len(listener.ids) == sent)
            return listener

    listener = asyncio.run(run())
    assert listener.ids == list(range(1, sent + 1))
    assert not listener.notices("gap")
    assert not listener.notices("disconnected")


def test_malformed_and_unknown_frames_are_kept_and_cost_nobody_else() -> None:
    async def script(socket: ServerConnection, number: int) -> None:
        for frame in (trade(1), '{"stream": 7', trade(2), '{"stream": "x@y", "data": {"s": "WHO"}}', trade(3, -1.0)):
            await socket.send(frame)
        await socket.send(trade(4))

    async def run() -> Listener:
        async with speaking(script) as url, Listener([url]).listening() as listener:
            await listener.until(lambda: listener.ids == [1, 2, 4])
            return listener

    rejected = [event for event in asyncio.run(run()).out if isinstance(event, Quarantined)]
    assert {event.reason for event in rejected} >= {"unknown message", "price_not_positive"}
    assert b'{"stream": 7' in {event.message for event in rejected}


def test_duplicates_are_dropped_and_ids_that_never_came_are_looked_for() -> None:
    async def script(socket: ServerConnection, number: int) -> None:
        for id_ in (1, 2, 2, 3, 7, 5, 5):
            await socket.send(trade(id_))

    async def run() -> Listener:
        async with speaking(script) as url, Listener([url]).listening() as listener:
            await listener.until(lambda: len(listener.ids) == 5)
            await asyncio.sleep(2.2)
            listener.pipeline.tick(running=False)
            return listener

    listener = asyncio.run(run())
    assert listener.ids == [1, 2, 3, 7, 5]
    (hole,) = [each for each in listener.holes if each.ids]
    assert hole.ids == range(4, 7)
    (gap,) = listener.notices("gap")
    assert (gap.first_missing, gap.last_missing, gap.cause) == (4, 6, "trade ids jumped")


def test_a_book_whose_sequence_jumps_is_not_shown_until_it_is_whole_again() -> None:
    async def script(socket: ServerConnection, number: int) -> None:
        await socket.send(depth(8, 10, [["99", "1"]], []))
        await asyncio.sleep(0.3)
        await socket.send(depth(11, 11, [["99.5", "1"]], []))
        await asyncio.sleep(0.3)
        await socket.send(depth(15, 15, [["98", "1"]], []))

    async def run() -> Listener:
        async with speaking(script) as url, Listener([url], channels=["book"]).listening() as listener:
            await listener.until(lambda: bool(listener.resyncs) and listener.connection.is_up)
            link = listener.connection.link
            assert link is not None
            snapshot = SPOT.parse_snapshot
            assert snapshot is not None
            whole = b'{"lastUpdateId": 9, "bids": [["98.5", "2"]], "asks": [["101", "3"]]}'
            listener.pipeline.snapshot(link, snapshot(whole, BTC, 1))
            await listener.until(lambda: (book := listener.pipeline.book(BTC.id)) is not None and book.sequence == 11)
            book = listener.pipeline.book(BTC.id)
            assert book is not None
            assert book.bids() == [("99.5", "1"), ("99", "1"), ("98.5", "2")]
            await listener.until(lambda: bool(listener.notices("book_resync")))
            assert not book.is_right
            assert book.top(BTC.id, 10) is None
            return listener

    assert asyncio.run(run()).notices("book_resync")[0].cause == "sequence jumped"


def test_a_link_whose_successor_fails_keeps_asking_for_one() -> None:
    async def script(socket: ServerConnection, number: int) -> None:
        await socket.send(trade(number * 10 + 1))

    async def before(socket: ServerConnection, number: int) -> None:
        if number == 1:
            await socket.close()

    async def run() -> Listener:
        async with speaking(script, before=before) as url, Listener([url]).listening() as listener:
            await listener.until(lambda: listener.ids == [1] and bool(listener.notices("connected")))
            link = listener.connection.link
            assert link is not None
            link.renew()
            await listener.until(lambda: listener.ids == [1, 21] and len(listener.notices("connected")) == 2)
            return listener

    listener = asyncio.run(run())
    assert [notice.cause for notice in listener.notices("disconnected")] == [
        "the venue hung up before it confirmed the subscriptions"
    ]


def test_a_link_that_ended_while_its_successor_came_leaves_a_gap_that_is_told() -> None:
    first: list[ServerConnection] = []

    async def script(socket: ServerConnection, number: int) -> None:
        await socket.send(trade(number * 10 + 1))
        first.append(socket)

    async def before(socket: ServerConnection, number: int) -> None:
        if number == 1:
            await first[0].close()

    async def run() -> Listener:
        async with speaking(script, before=before) as url, Listener([url]).listening() as listener:
            await listener.until(lambda: listener.ids == [1] and bool(listener.notices("connected")))
            link = listener.connection.link
            assert link is not None
            link.renew()
            await listener.until(lambda: bool(listener.notices("gap")))
            return listener

    listener = asyncio.run(run())
    assert len(listener.notices("disconnected")) == 1
    assert [hole.instrument for hole in listener.holes if not hole.by_bars] == [BTC]


def test_a_book_whose_snapshot_never_comes_is_asked_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline_module, "_SNAPSHOT_WITHIN_NS", 300_000_000)

    async def script(socket: ServerConnection, number: int) -> None:
        for n in range(1, 100):
            await socket.send(depth(n, n, [["100", "1"]], [["101", "1"]]))
            await asyncio.sleep(0.01)

    async def run() -> Listener:
        feed = replace(SPOT, snapshot_request=None)
        async with speaking(script) as url, Listener([url], ["book"], feed).listening() as listener:
            await listener.until(lambda: bool(listener.resyncs))
            return listener

    assert asyncio.run(run()).notices("book_resync")[0].cause == "no snapshot came"
