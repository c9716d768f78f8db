"""Books on demand, over a real socket each way: the right one to the depth asked, else why there is none."""

import asyncio
from typing import Any

import aiohttp
from aiohttp import web
from websockets.asyncio.server import ServerConnection

from md_platform.venues.binance_feed import SPOT
from md_platform_tests.streaming.venue import BTC, Listener, depth, speaking
from streaming.book_answers import book_route

WHOLE = b'{"lastUpdateId": 9, "bids": [["98.5", "2"], ["98", "1"]], "asks": [["101", "3"]]}'


async def _asked(port: int, path: str) -> tuple[int, dict[str, Any]]:
    async with aiohttp.ClientSession() as client, client.get(f"http://127.0.0.1:{port}{path}") as answer:
        return answer.status, await answer.json()


async def _answers(listener: Listener, *paths: str) -> list[tuple[int, dict[str, Any]]]:
    app = web.Application()
    app.add_routes([book_route(listener.pipeline)])
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    found = [await _asked(port, path) for path in paths]
    await runner.cleanup()
    return found


def test_a_book_is_told_to_any_depth_while_it_is_right() -> None:
    path = f"/book/{BTC.id}"

    async def script(socket: ServerConnection, number: int) -> None:
        await socket.send(depth(8, 10, [["99", "1"]], []))
        await asyncio.sleep(0.6)
        await socket.send(depth(15, 15, [["98", "1"]], []))

    async def run() -> None:
        async with speaking(script) as url, Listener([url], channels=["book"]).listening() as listener:
            await listener.until(lambda: bool(listener.resyncs) and listener.connection.is_up)
            [(waiting, why)] = await _answers(listener, path)
            assert (waiting, "no connection serves" in why["error"] or "asked anew" in why["error"]) == (503, True)
            link = listener.connection.link
            assert link is not None
            assert SPOT.parse_snapshot is not None
            snapshot = SPOT.parse_snapshot(WHOLE, BTC, 1)
            assert snapshot is not None
            listener.pipeline.snapshot(link, snapshot)
            found = await _answers(
                listener, path, f"{path}?depth=1", f"{path}?depth=all", f"{path}?depth=0", "/book/x:A-B"
            )
            assert [status for status, _ in found] == [200, 200, 200, 400, 404]
            assert found[0][1]["bids"] == [[99.0, 1.0], [98.5, 2.0], [98.0, 1.0]]
            assert found[1][1]["bids"] == [[99.0, 1.0]]
            assert found[2][1] == found[0][1]
            assert found[0][1]["sequence"] == 10
            await listener.until(lambda: bool(listener.notices("book_resync")))
            [(wrong, why)] = await _answers(listener, path)
            assert (wrong, why["error"]) == (503, f"the book of {BTC.id} went wrong and is asked anew")

    asyncio.run(run())
