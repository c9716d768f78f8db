"""Unmodified ccxt.pro watches the sandbox with only its URLs changed."""

import asyncio

import ccxt.pro
import pytest

from md_platform.sandbox.prices import HOUR_US
from md_platform_tests.sandbox_server import running_sandbox


@pytest.fixture(scope="module")
def fast():
    with running_sandbox(start_us=494_000 * HOUR_US, speed=30.0) as endpoints:
        yield endpoints


def binance(sandbox):
    exchange = ccxt.pro.binance()
    api = exchange.urls["api"]
    for name, url in list(api.items()):
        if isinstance(url, str):
            api[name] = f"{sandbox.http}/binance/" + url.split("/", 3)[3]
    api["ws"]["spot"] = f"{sandbox.ws}/binance/ws"
    return exchange


def coinbase(sandbox):
    exchange = ccxt.pro.coinbase()
    exchange.urls["api"]["rest"] = f"{sandbox.http}/coinbase"
    exchange.urls["api"]["ws"] = f"{sandbox.ws}/coinbase/ws"
    return exchange


def kraken(sandbox):
    exchange = ccxt.pro.kraken()
    exchange.urls["api"]["public"] = f"{sandbox.http}/kraken"
    exchange.urls["api"]["ws"]["publicV2"] = f"{sandbox.ws}/kraken/v2"
    return exchange


VENUES = pytest.mark.parametrize(
    ("make", "symbol"), [(binance, "BTC/USDT"), (coinbase, "BTC/USD"), (kraken, "BTC/USD")]
)


def watch(exchange, *calls, times=1):
    """What each call yields at its last time, in one event loop."""

    async def repeat(call):
        for _ in range(times):
            result = await asyncio.wait_for(call(exchange), 20)
        return result

    async def together():
        try:
            return await asyncio.gather(*(repeat(call) for call in calls))
        finally:
            await exchange.close()

    return asyncio.run(together())


@VENUES
def test_trades_run_on(fast, make, symbol):
    exchange = make(fast)
    exchange.newUpdates = False
    (trades,) = watch(exchange, lambda e: e.watch_trades(symbol), times=5)
    ids = [int(trade["id"]) for trade in trades]
    assert ids == list(range(ids[0], ids[0] + len(ids)))


@VENUES
def test_order_books_stay_ordered(fast, make, symbol):
    (book,) = watch(make(fast), lambda e: e.watch_order_book(symbol), times=60)
    assert len(book["bids"]) == len(book["asks"]) == 10
    assert [level[0] for level in book["bids"]] == sorted((level[0] for level in book["bids"]), reverse=True)
    assert book["bids"][0][0] < book["asks"][0][0]


@VENUES
def test_tickers(fast, make, symbol):
    (ticker,) = watch(make(fast), lambda e: e.watch_ticker(symbol), times=2)
    assert ticker["last"] > 0


@pytest.mark.parametrize(("make", "symbol"), [(binance, "BTC/USDT"), (kraken, "BTC/USD")])
def test_bars_watched_are_bars_of_history(fast, make, symbol):
    exchange = make(fast)
    exchange.newUpdates = False
    kept = {}

    async def until_two_closed(e):
        first = None
        while first is None or len([opened for opened in kept if opened > first]) < 2:
            for bar in await e.watch_ohlcv(symbol, "1m"):
                kept[bar[0]] = list(bar)
            first = first or max(kept)
        closed = min(opened for opened in kept if opened > first)  # Kraken says nothing of minutes without trades
        return closed, await e.fetch_ohlcv(symbol, "1m", since=closed, limit=3)

    ((closed, history),) = watch(exchange, until_two_closed)
    assert kept[closed] == history[0]
