"""Replays of stored days: the same events in the same order as they happened, at any speed, controlled by the client."""

import asyncio
import contextlib
import datetime as dt
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import polars as pl
import pytest
from websockets.asyncio.client import connect

from md_platform.catalog.ledger import Ledger, PartitionRecord
from md_platform.domain.events import Bar, Trade
from md_platform.domain.intervals import DAY, UTC, Interval
from md_platform.domain.schemas import INDICATORS
from md_platform.serving.market import Market, open_market
from md_platform.storage.archive import Archive
from md_platform.storage.lake import Lake
from md_platform.storage.migrate import migrate
from md_platform_tests.gateway.speaking import Client, running
from md_platform_tests.streamed import live_bars, stored, streamed

ID = "sandbox:BTC-USDT"
TODAY = dt.datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
HOURS = Interval(TODAY - DAY, TODAY - DAY + dt.timedelta(hours=3))


@dataclass
class Past:
    """What is stored, and how it is read."""

    market: Market
    url: str
    trades: list[Trade]
    bars: list[Bar]


@pytest.fixture(scope="module")
def past(module_database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Past]:
    migrate(module_database_url)
    trades = streamed(ID, HOURS)
    bars = [bar for bar in live_bars(trades, int(HOURS.start.timestamp()) * 10**9) if bar.timeframe == "1m"]
    for bar in bars:
        bar.known_at = bar.close_time + 1_500_000_000
    stored(module_database_url, [*trades, *bars])
    folder: Path = tmp_path_factory.mktemp("lake")
    lake, date = Lake(folder), HOURS.start.date()
    values = pl.DataFrame(
        {
            "instrument": ID,
            "timeframe": "1m",
            "open_time": [HOURS.start + dt.timedelta(minutes=n) for n in range(180)],
            "sma_20": [float(n) for n in range(180)],
        },
        schema_overrides={"open_time": pl.Datetime("us", "UTC")},
    )
    lake.write(lake.path(INDICATORS, ID, date), values)
    Ledger(module_database_url).record([PartitionRecord("indicators", ID, date, "ok", rows=180)])
    with contextlib.closing(open_market(lake, Archive(str(folder / "archive")), module_database_url)) as market:
        yield Past(market, module_database_url, trades, bars)


@contextlib.asynccontextmanager
async def replaying(past: Past, redis_url: str):
    async with (
        running(redis_url, database_url=past.url, market=past.market) as port,
        connect(f"ws://127.0.0.1:{port}/replay", max_size=None) as connection,
    ):
        yield Client(connection)


def asked(**given):
    usual = {
        "instruments": [ID],
        "channels": ["trades"],
        "start": str(HOURS.start),
        "end": str(HOURS.end),
        "speed": None,
    }
    return usual | given


def events(client: Client) -> list[list]:
    return [event for message in client.told("data") for event in message["data"]]


def test_all_of_it_in_step_and_no_faster_than_it_is_read(past: Past, redis_url: str):
    async def main():
        async with replaying(past, redis_url) as client:
            channels = ["trades", "bars:1m", "indicators:1m"]
            await client.ask("replay", id=1, **asked(channels=channels))
            end = await client.next("end", timeout_s=60)
            played = events(client)
            assert end["events"] == len(played)
            assert [event[4] for event in played if event[0] == "trade"] == [trade.trade_id for trade in past.trades]
            bars = [event for event in played if event[0] == "bar"]
            assert [bar[3] for bar in bars] == [bar.open_time for bar in past.bars]
            assert sum(event[0] == "indicators" for event in played) == 179  # the last comes when the range is over
            clock = [{"trade": 2, "bar": 4, "indicators": 5}[event[0]] for event in played]
            times = [event[at] for event, at in zip(played, clock, strict=True)]
            assert all(a <= b for a, b in pairwise(times))
            told = [message["seq"] for message in client.told("data") if message["channel"] == f"trades:{ID}"]
            assert told == list(range(1, len(told) + 1))

    asyncio.run(main())


def test_as_known_a_bar_comes_when_it_was_received(past: Past, redis_url: str):
    async def main():
        async with replaying(past, redis_url) as client:
            await client.ask("replay", **asked(channels=["trades", "bars:1m"], as_known=True))
            await client.next("end", timeout_s=60)
            played = [event for event in events(client) if event[0] in ("trade", "bar")]
            times = [event[3] if event[0] == "trade" else event[17] for event in played]
            assert all(a <= b for a, b in pairwise(times))
            end_ns = int(HOURS.end.timestamp()) * 10**9
            assert sum(event[0] == "bar" for event in played) == sum(bar.known_at < end_ns for bar in past.bars)

    asyncio.run(main())


def test_speed_pause_seek_and_mistakes(past: Past, redis_url: str):
    async def main():
        async with replaying(past, redis_url) as client:
            await client.ask("pause")
            assert (await client.next("error"))["code"] == "invalid_parameter"
            for wrong, code in (
                ({"speed": 0}, "invalid_parameter"),
                ({"channels": ["quotes"]}, "invalid_parameter"),
                ({"channels": []}, "invalid_parameter"),
                ({"instruments": ["?"]}, "unknown_instrument"),
                ({"end": str(TODAY + 2 * DAY)}, "invalid_range"),
                ({"channels": ["indicators:1s"]}, "invalid_timeframe"),
            ):
                await client.ask("replay", **asked(**wrong))
                assert (await client.next("error"))["code"] == code, wrong
            await client.ask("replay", **asked(speed=600))
            began = time.monotonic()
            await client.until(lambda: events(client))
            await asyncio.sleep(1)
            await client.ask("pause")
            await client.next("done")
            so_far = events(client)[-1][2] / 1e9 - HOURS.start.timestamp()
            assert so_far == pytest.approx(600 * (time.monotonic() - began), rel=0.3)
            with pytest.raises(TimeoutError):
                await client.next("data", timeout_s=0.5)
            to = HOURS.start + dt.timedelta(hours=2)
            await client.ask("seek", to=str(to))
            await client.next("done")
            await client.ask("speed", speed=None)
            await client.next("done")
            before = len(events(client))
            await client.ask("resume")
            await client.next("end")
            wanted = [trade.trade_id for trade in past.trades if trade.ts_event >= to.timestamp() * 1e9]
            assert [event[4] for event in events(client)[before:]] == wanted

    asyncio.run(main())


def test_a_client_that_reads_nothing_holds_its_own_replay_only(past: Past, redis_url: str):
    async def main():
        async with replaying(past, redis_url) as slow, replaying(past, redis_url) as quick:
            await slow.connection.send(json.dumps({"op": "replay"} | asked()))
            await asyncio.sleep(0.5)
            await quick.ask("replay", **asked())
            await quick.next("end", timeout_s=30)
            await slow.next("end", timeout_s=30)
            assert len(events(slow)) == len(events(quick)) == len(past.trades)

    asyncio.run(main())
