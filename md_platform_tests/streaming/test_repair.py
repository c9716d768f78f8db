"""Holes wait for their time without keeping others waiting, and no failure of one ends the repair of the rest."""

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path

import httpx
import pytest

from md_platform.domain.events import Bar, Trade
from md_platform.domain.instruments import Instrument
from md_platform.sandbox.server import Endpoints
from md_platform.settings import VenueUrls
from md_platform.sources.history import HistorySources
from md_platform_tests.sandbox_server import running_sandbox
from streaming import repair as repair_module
from streaming.holes import Hole
from streaming.repair import Repair

PAIRS = ("BTC", "ETH", "SOL", "XRP", "DOGE", "ADA")
SECOND_NS = 1_000_000_000


def hole(base: str, start_s: float, end_s: float) -> Hole:
    """Of the time from `start_s` to `end_s` after now."""
    now = time.time_ns()
    instrument = Instrument("sandbox", base, "USDT", f"{base}USDT")
    return Hole(instrument, now + int(start_s * SECOND_NS), now + int(end_s * SECOND_NS))


async def repaired(cache: Path, holes: Sequence[Hole], wanted: int, within_s: float) -> list[Hole]:
    """The first `wanted` of `holes` that the sandbox's history filled."""
    with running_sandbox() as venue:
        return await filled(venue, cache, holes, wanted, within_s)


async def filled(venue: Endpoints, cache: Path, holes: Sequence[Hole], wanted: int, within_s: float) -> list[Hole]:
    given: list[Hole] = []

    def give(hole: Hole, found: Sequence[Trade] | Sequence[Bar]) -> bool:
        assert found
        given.append(hole)
        return True

    repair = Repair(HistorySources({"sandbox": VenueUrls(rest=f"{venue.http}/binance")}, cache), give)
    for each in holes:
        repair.put(each)
    task = asyncio.create_task(repair.run())
    async with asyncio.timeout(within_s):
        while len(given) < wanted and not task.done():  # noqa: ASYNC110 - a list that grows
            await asyncio.sleep(0.02)
    assert not task.done()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return given


def test_holes_that_wait_for_their_end_keep_no_other_waiting(tmp_path: Path) -> None:
    later = [hole(base, 50, 60) for base in PAIRS]
    due = hole("BTC", -600, -60)
    assert asyncio.run(repaired(tmp_path, [*later, due], wanted=1, within_s=20)) == [due]


def test_equal_holes_are_filled_one_after_the_other(tmp_path: Path) -> None:
    equal = hole("BTC", -600, -60)
    assert asyncio.run(repaired(tmp_path, [equal] * 8, wanted=8, within_s=30)) == [equal] * 8


def test_a_hole_before_a_quiet_moment_is_filled_as_soon_as_anything_came_after_it(tmp_path: Path) -> None:
    """What was traded later shows that history has come so far, though the seconds after the hole have nothing."""

    with running_sandbox(activity=5) as venue:
        while True:
            answer = httpx.get(f"{venue.http}/binance/api/v3/aggTrades?symbol=BTCUSDT&limit=2").raise_for_status()
            before_s, after_s = (trade["T"] / 1_000 for trade in answer.json())
            if after_s - before_s > 1.5 and time.time() - after_s < 10:
                break
            time.sleep(0.5)
        quiet = hole("BTC", -60, before_s + 0.01 - time.time())
        assert asyncio.run(filled(venue, tmp_path, [quiet], wanted=1, within_s=6)) == [quiet]


def test_a_disk_that_refuses_a_page_ends_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repair_module, "_WAITS_S", (0.1,) * 30)
    cache = tmp_path / "cache"
    cache.write_text("a file where a folder belongs")

    async def run() -> list[Hole]:
        mended = asyncio.get_running_loop().call_later(1.0, cache.unlink)
        try:
            return await repaired(cache, [hole("BTC", -600, -60)], wanted=1, within_s=30)
        finally:
            mended.cancel()

    assert len(asyncio.run(run())) == 1
