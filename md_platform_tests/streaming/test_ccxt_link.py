"""Exchanges without a feed of ours, through real ccxt.pro, against the sandbox: what is streamed is what history has."""

import asyncio
import dataclasses
import datetime as dt
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from md_platform.domain.events import Book, Channel, FeedNotice, Quote, Trade
from md_platform.domain.intervals import UTC, Interval
from md_platform.domain.wire import Published, decode
from md_platform.errors import UnknownVenue
from md_platform.sandbox.book import Books, sequence_of
from md_platform.sandbox.listings import listings
from md_platform.sandbox.server import Endpoints, SandboxConfig
from md_platform.sandbox.simulation import Simulation
from md_platform.settings import VenueUrls
from md_platform.sources.ccxt_source import CcxtSource
from md_platform.sources.fetch import Meter
from md_platform.storage.spool import Spool
from md_platform.venues.ccxt_feed import feed_of
from md_platform.venues.feeds import Subscription
from md_platform_tests.sandbox_server import running_sandbox
from md_platform_tests.streamed import streamed
from streaming.ccxt_link import CcxtLinks
from streaming.connection import Connection
from streaming.limits import Pacer
from streaming.pipeline import Pipeline
from streaming.run import LiveProcess, StreamConfig, replay, served_until
from streaming.subscriptions import by_venue
from streaming.tracked import Tail

PAIRS = ("BTC-USDT", "LTC-USDT")
CHANNELS: tuple[Channel, ...] = ("trades", "quotes", "book")
TIMES_AS_BUSY = 50  # each pair trades every few seconds, also at night and on week-ends


def published(spool: Path) -> list[Published]:
    """Everything that a process wrote into its spool, in order."""
    opened = Spool(spool)
    try:
        return [event for row in opened.since(0) for event in decode(row.message.payload)]
    finally:
        opened.close()


@asynccontextmanager
async def live(config: StreamConfig) -> AsyncIterator[None]:
    """The live process while the context is open."""
    stop = asyncio.Event()
    task = asyncio.create_task(served_until(LiveProcess(config), stop))
    try:
        yield
    finally:
        stop.set()
        await task


async def said(spool: Path, kind: str, times: int, timeout_s: float = 60) -> list[FeedNotice]:
    """The notices of `kind`, as soon as there are so many."""
    async with asyncio.timeout(timeout_s):
        while True:
            found = [each for each in published(spool) if isinstance(each, FeedNotice) and each.kind == kind]
            if len(found) >= times:
                return found
            await asyncio.sleep(0.5)


async def each_traded(spool: Path, timeout_s: float = 60) -> None:
    """Return as soon as there is a trade of every pair that happened after this call."""
    since_ns, wanted = time.time_ns(), {f"binanceus:{pair}" for pair in PAIRS}
    async with asyncio.timeout(timeout_s):
        while True:
            trades = [each for each in published(spool) if isinstance(each, Trade)]
            if {each.instrument for each in trades if each.ts_event > since_ns} == wanted:
                return
            await asyncio.sleep(0.5)


def test_trades_of_the_live_process_are_those_of_history_once_each_across_disconnects(tmp_path: Path) -> None:
    config = StreamConfig(
        [f"binanceus:{pair}" for pair in PAIRS],
        tmp_path / "spool.db",
        None,
        channels=CHANNELS,
        cache=tmp_path / "cache",
        record=tmp_path / "captures",
    )

    async def run(sandbox: Endpoints) -> None:
        urls = VenueUrls(rest=f"{sandbox.http}/binance", ws=f"{sandbox.ws}/binance")
        async with live(dataclasses.replace(config, urls={"binanceus": urls})):
            await said(config.spool, "connected", 1)
            await each_traded(config.spool)
            for times in (1, 2):
                cut = {"kind": "disconnect", "surface": "live", "duration_s": 3.0}
                await asyncio.to_thread(httpx.post, f"{sandbox.http}/control/faults", json=cut)
                await said(config.spool, "connected", 1 + times)
                await each_traded(config.spool)
            await said(config.spool, "repaired", 2 * len(PAIRS))

    with running_sandbox(activity=TIMES_AS_BUSY) as sandbox:
        asyncio.run(run(sandbox))
    events = published(config.spool)
    for pair in PAIRS:
        trades = [each for each in events if isinstance(each, Trade) and each.instrument == f"binanceus:{pair}"]
        assert_equal_history(pair, trades)
    assert_books_right([each for each in events if isinstance(each, Book)])
    gaps = [each for each in events if isinstance(each, FeedNotice) and each.kind == "gap"]
    assert len(gaps) == 2
    assert all(gap.start is not None and gap.end is not None and gap.end - gap.start > 2e9 for gap in gaps)

    again = StreamConfig([], tmp_path / "again.db", None)
    asyncio.run(replay(again, tmp_path / "captures", None))
    replayed = {(each.instrument, each.trade_id) for each in published(again.spool) if isinstance(each, Trade)}
    received = {(each.instrument, each.trade_id) for each in events if isinstance(each, Trade) and not each.sent_late}
    assert replayed == received


def assert_equal_history(pair: str, trades: Sequence[Trade]) -> None:
    """All that the simulated venue traded from the first to the last of `trades`, and nothing twice."""
    assert len({trade.trade_id for trade in trades}) == len(trades)
    found = sorted(trades, key=lambda trade: int(trade.trade_id))
    first, last = (dt.datetime.fromtimestamp(trade.ts_event / 1e9, UTC) for trade in (found[0], found[-1]))
    around = Interval(first.replace(microsecond=0), last.replace(microsecond=0) + dt.timedelta(seconds=1))
    history = {trade.trade_id: trade for trade in streamed(f"sandbox:{pair}", around, TIMES_AS_BUSY)}
    whole = [history[id_] for id_ in range(int(found[0].trade_id), int(found[-1].trade_id) + 1)]
    assert [shown(trade) for trade in found] == [shown(trade) for trade in whole]


def shown(trade: Trade) -> tuple[object, ...]:
    return trade.trade_id, trade.ts_event // 1_000_000, trade.price, trade.size, trade.taker_side


def assert_books_right(books: Sequence[Book]) -> None:
    """Each book is the venue's at its sequence."""
    simulation = Simulation(SandboxConfig().seed, listings())
    truth = Books(simulation)
    assert {book.instrument for book in books} == {f"binanceus:{pair}" for pair in PAIRS}
    for book in books:
        listing = simulation.listings[f"binance:{book.instrument.partition(':')[2]}"]
        side = truth.at(listing, book.sequence - sequence_of(0))
        for levels, lots in ((book.bids, side.bids), (book.asks, side.asks)):
            assert levels == [(listing.price(ticks), listing.size(size)) for ticks, size in lots.items()]


@pytest.mark.parametrize(
    ("exchange", "rest", "ws"), [("kraken", "kraken", "kraken/v2"), ("coinbase", "coinbase", "coinbase/ws")]
)
def test_other_protocols_stream_alike(exchange: str, rest: str, ws: str, tmp_path: Path) -> None:
    out: list[Published] = []

    async def run(sandbox: Endpoints) -> None:
        urls = VenueUrls(rest=f"{sandbox.http}/{rest}", ws=f"{sandbox.ws}/{ws}")
        listed = CcxtSource(exchange, exchange, tmp_path, urls.rest).instruments(Meter())
        btc = next(each for each in listed if each.id == f"{exchange}:BTC-USD")
        feed = feed_of(exchange)
        pipeline = Pipeline(out.extend)
        pipeline.track(btc, feed, Tail(0))
        subscribed = [Subscription(channel, btc) for channel in CHANNELS]
        pacer = Pacer(feed.connect_limit, feed.message_limit)
        links = CcxtLinks(exchange, urls, None)
        connection = Connection(exchange, feed, feed.name, subscribed, feed.urls, pipeline, pacer, links)
        task = asyncio.create_task(connection.run())
        async with asyncio.timeout(60):
            while sum(isinstance(each, Trade) for each in out) < 4 or not any(isinstance(each, Book) for each in out):
                await asyncio.sleep(0.2)
                pipeline.tick(running=True)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    with running_sandbox(activity=TIMES_AS_BUSY) as sandbox:
        asyncio.run(run(sandbox))
    ids = [int(each.trade_id) for each in out if isinstance(each, Trade)]
    assert ids == list(range(ids[0], ids[0] + len(ids)))
    assert all(each.bids[0] < each.asks[0] for each in out if isinstance(each, Book))
    assert all(each.bid < each.ask for each in out if isinstance(each, Quote))


def test_an_exchange_that_refuses_or_is_away_is_told_and_asked_again(tmp_path: Path) -> None:
    config = StreamConfig(["binanceus:BTC-USDT", "binanceus:NOPE-USDT"], tmp_path / "spool.db", None, channels=CHANNELS)

    async def run(sandbox: Endpoints) -> list[FeedNotice]:
        urls = VenueUrls(rest=f"{sandbox.http}/binance", ws="ws://127.0.0.1:9")
        async with live(dataclasses.replace(config, urls={"binanceus": urls})):
            return await said(config.spool, "disconnected", 2)

    with running_sandbox() as sandbox:
        notices = asyncio.run(run(sandbox))
    assert {notice.instruments == [] and "127.0.0.1:9" in notice.cause.replace(" ", "") for notice in notices}


def test_a_venue_that_nobody_knows_is_an_error() -> None:
    with pytest.raises(UnknownVenue, match=r"was 'mtgox'; nor does ccxt\.pro watch it"):
        by_venue(["mtgox:BTC-USD"], CHANNELS)
    assert list(by_venue(["gate:BTC-USDT"], CHANNELS)) == ["gate"]
