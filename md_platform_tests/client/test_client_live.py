"""Streams and replays through a real gateway process that is killed: each event once, none missing."""

import asyncio
import contextlib
import datetime as dt
import threading
import time

import pytest

from md_platform.client import AsyncMarketData, Gap, MarketData
from md_platform.domain.events import Bar, FeedNotice, Trade
from md_platform.domain.intervals import DAY, UTC, Interval
from md_platform.errors import InvalidParameter, PlatformUnavailable, UnknownInstrument
from md_platform.storage.migrate import migrate
from md_platform_tests.client.gateway_process import gateway_process
from md_platform_tests.gateway.speaking import ID, Publisher, trade
from md_platform_tests.streamed import live_bars, stored, streamed

NOWHERE = "http://127.0.0.1:9"
MIDNIGHT = dt.datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
HOUR = Interval(MIDNIGHT - DAY, MIDNIGHT - DAY + dt.timedelta(hours=1))


@pytest.fixture
def gateway(tmp_path, module_database_url, redis_url):
    migrate(module_database_url)
    with gateway_process(tmp_path, redis_url, module_database_url) as running:
        yield running


@contextlib.contextmanager
def publishing(redis_url: str, trades: int, first: int = 0):
    """So many trades, one message each, by a thread; some hundred of them a second."""

    def publish() -> None:
        async def say() -> None:
            publisher = Publisher(redis_url)
            publisher._position = first
            for number in range(first, first + trades, 5):
                await publisher.say(*map(trade, range(number, number + 5)))
                await asyncio.sleep(0.01)
            await publisher.client.aclose()

        asyncio.run(say())

    thread = threading.Thread(target=publish)
    thread.start()
    yield thread
    thread.join()


def until(events, last: int) -> list[int]:
    """Ids of the trades that come, up to `last`."""
    ids = []
    for event in events:
        assert not isinstance(event, Gap), event
        if isinstance(event, Trade):
            ids.append(event.trade_id)
            if event.trade_id == last:
                break
    return ids


@pytest.mark.parametrize("past", [{}, {"last": 500}, {"since": dt.datetime.now(UTC) - dt.timedelta(minutes=5)}])
def test_a_killed_gateway_costs_nothing_and_tells_nothing_twice(gateway, redis_url, past):
    count = 3_000
    with publishing(redis_url, 500) as before:
        before.join()
    with MarketData(NOWHERE, live_url=gateway.url) as client, client.stream(trades=[ID], **past) as stream:
        ids: list[int] = []
        reading = threading.Thread(target=lambda: ids.extend(until(stream, 500 + count - 1)))
        reading.start()
        if not past:
            time.sleep(1.5)  # it is subscribed: what comes before is not asked for
        with publishing(redis_url, count, first=500):
            for _ in range(1 if past else 3):
                time.sleep(1)
                gateway.kill()
                gateway.start()
        reading.join(60)
        assert not reading.is_alive()
    first = 0 if "since" in past else ids[0]
    assert first <= 500  # of the last 500, fewer are from before where some came meanwhile
    assert ids == list(range(first, 500 + count))


def test_what_is_awaited_resumes_too(gateway, redis_url):
    count = 1_500

    async def main() -> list[int]:
        ids: list[int] = []
        async with (
            AsyncMarketData(NOWHERE, live_url=gateway.url) as client,
            client.stream(trades=[ID], last=10) as stream,
        ):
            async for batch in stream.batches():
                ids += [event.trade_id for event in batch.events]
                if ids[-1] == count - 1:
                    break
        return ids

    with publishing(redis_url, 10) as before:
        before.join()
    with publishing(redis_url, count - 10, first=10):
        killing = threading.Timer(1, lambda: (gateway.kill(), gateway.start()))
        killing.start()
        ids = asyncio.run(asyncio.wait_for(main(), 60))
        assert ids == list(range(ids[0], count))
        killing.join()


def test_bars_of_history_and_live_are_one_stream_and_one_table(gateway, redis_url, module_database_url):
    trades = streamed(ID, HOUR)
    bars = [bar for bar in live_bars(trades, int(HOUR.start.timestamp()) * 10**9) if bar.timeframe == "1m"]
    stored(module_database_url, bars[:40])
    publisher_bars = bars[20:]

    async def say(events, position: int) -> None:
        publisher = Publisher(redis_url)
        publisher._position = position
        await publisher.say(*events)
        await publisher.client.aclose()

    asyncio.run(say(publisher_bars[:25], 0))
    with MarketData(NOWHERE, live_url=gateway.url) as client:
        with client.stream(bars=[(ID, "1m")], since=HOUR.start, events=True) as stream:
            batches = stream.batches()
            history = next(batches)
            assert history.kind == "history"
            gateway.kill()
            gateway.start()
            asyncio.run(say([*publisher_bars[25:], FeedNotice("gap", "sandbox", "f", "c", time.time_ns())], 25))
            live = []
            while sum(map(len, (each.events for each in live))) < len(publisher_bars) - 25 + 1:
                live.append(next(batches))
        told = [event for batch in (history, *live) for event in batch.events if isinstance(event, Bar)]
        assert [bar.open_time for bar in told] == [bar.open_time for bar in bars]
        assert [batch.channel for batch in live if batch.channel == "events"] == ["events"]
        frame = history.frame()
        assert frame.schema == live[0].frame().schema
        assert frame["open_time"].to_list()[0] == HOUR.start


def test_a_replay_is_whole_although_the_gateway_is_killed(gateway, module_database_url):
    trades = streamed(ID, HOUR)
    stored(module_database_url, trades)
    with MarketData(NOWHERE, live_url=gateway.url) as client:
        asked = (ID, HOUR.start, HOUR.end)
        with client.replay(*asked, ["trades"]) as replay:
            once = [event.trade_id for event in replay]
        assert once == [each.trade_id for each in trades]
        with client.replay(*asked, ["trades"], speed=400.0) as replay:
            ids = []
            for event in replay:
                ids.append(event.trade_id)
                if len(ids) in (500, 3_000):
                    gateway.kill()
                    gateway.start()
            assert ids == once
        with client.replay(*asked, ["trades"], speed=1.0) as replay:
            events = iter(replay)
            next(events)
            replay.seek(HOUR.end - dt.timedelta(minutes=1))
            replay.speed(None)
            late = [event.trade_id for event in events]
            assert late[-1] == once[-1]
            assert len(late) < len(once) / 10


def test_what_cannot_be_streamed_is_said_at_once(gateway):
    with MarketData(NOWHERE, live_url=gateway.url, patience_s=0.5) as client:
        with pytest.raises(UnknownInstrument):
            next(iter(client.stream(trades=["?"])))
        with pytest.raises(InvalidParameter):
            client.stream()
        gateway.kill()
        with pytest.raises(PlatformUnavailable):
            next(iter(client.stream(trades=[ID])))
        gateway.start()
