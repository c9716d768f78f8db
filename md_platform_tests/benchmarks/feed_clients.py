"""A client of the benchmark's venue in a process of its own: a stream in, CPU seconds and messages as JSON out.

    python -m md_platform_tests.benchmarks.feed_clients ours|cryptofeed|ccxt HTTP WS CA_FILE COUNT RATE

All do the same work, from the socket to 1m bars of 20 symbols. Ours do more: bars of every length, rules, duplicates,
quality. The others make their bars in a plain loop. The clock runs from the first messages to the last.
"""

# Each client imports what it measures and no other.
# ruff: noqa: PLC0415

import asyncio
import json
import ssl
import sys
import time
from collections.abc import Callable
from typing import Any

from md_platform_tests.benchmarks.feed_venue import BASES

QUIET_S = 3.0
"""Without a message for so long, it is over."""


async def measured(messages: Callable[[], int], wanted: int) -> dict[str, float]:
    """CPU and wall time while `messages` goes up to `wanted`, or as far as it goes: then the rest was missed."""
    while not (first := messages()):  # noqa: ASYNC110 - a count, asked now and then, costs the client nothing
        await asyncio.sleep(0.001)
    seen, cpu, wall = first, time.process_time(), time.perf_counter()
    changed, end = wall, (cpu, wall)
    while seen < wanted and time.perf_counter() - changed < QUIET_S:
        await asyncio.sleep(0.01)
        if messages() > seen:
            seen, changed, end = messages(), time.perf_counter(), (time.process_time(), time.perf_counter())
    return {"messages": wanted - first, "missed": wanted - seen, "cpu_s": end[0] - cpu, "wall_s": end[1] - wall}


class PlainBars:
    """1m bars as one writes them who has trades."""

    def __init__(self) -> None:
        self.trades = 0
        self.closed: list[list[Any]] = []
        self._running: dict[str, list[Any]] = {}

    def add(self, symbol: str, at_s: float, price: float, size: float, *, is_buy: bool) -> None:
        """Take a trade."""
        self.trades += 1
        minute, quote = at_s // 60, price * size
        bar = self._running.get(symbol)
        if bar is None or bar[0] != minute:
            if bar is not None:
                self.closed.append(bar)
            bought = (size, quote) if is_buy else (0.0, 0.0)
            self._running[symbol] = [minute, price, price, price, price, size, quote, 1, *bought]
            return
        if price > bar[2]:
            bar[2] = price
        elif price < bar[3]:
            bar[3] = price
        bar[4] = price
        bar[5] += size
        bar[6] += quote
        bar[7] += 1
        if is_buy:
            bar[8] += size
            bar[9] += quote


def ours(_http: str, ws: str, ca_file: str, count: int, rate: int) -> dict[str, float]:
    """Connection and Pipeline of the live process, with a sink that counts."""
    from md_platform.domain.instruments import Instrument
    from md_platform.venues.binance_feed import SPOT
    from md_platform.venues.feeds import Subscription
    from streaming.connection import Connection
    from streaming.limits import Pacer
    from streaming.pipeline import Pipeline
    from streaming.run import spare_collector, ticks
    from streaming.socket_link import sockets
    from streaming.tracked import Tail

    url = f"{ws}/{count}/{rate}/stream"
    published = 0

    def put(events: Any) -> None:
        nonlocal published
        published += len(events)

    async def run() -> dict[str, float]:
        pipeline = Pipeline(put)
        instruments = [Instrument("binance", base, "USDT", base + "USDT") for base in BASES]
        for instrument in instruments:
            pipeline.track(instrument, SPOT, Tail(time.time_ns()))
        connection = Connection(
            "binance",
            SPOT,
            "ours",
            [Subscription("trades", instrument) for instrument in instruments],
            [url],
            pipeline,
            Pacer(SPOT.connect_limit, SPOT.message_limit),
            sockets(
                lambda _venue, _feed, url, _subscriptions: url,
                ssl.create_default_context(cafile=ca_file) if ws.startswith("wss") else None,
            ),
        )
        spare_collector()
        tasks = [asyncio.create_task(connection.run()), asyncio.create_task(ticks(pipeline, lambda: False))]
        found = await measured(lambda: pipeline.counts.received["ours"], count)
        for task in tasks:
            task.cancel()
        counts = pipeline.counts
        if counts.duplicates or counts.too_late or published < found["messages"]:
            raise AssertionError(f"every trade counts once: {counts}, published {published}")
        return found

    return asyncio.run(run())


def cryptofeed(http: str, wss: str, ca_file: str, count: int, rate: int) -> dict[str, float]:
    """cryptofeed with its addresses changed, on uvloop as it wants."""
    from cryptofeed import FeedHandler
    from cryptofeed.connection import RestEndpoint, WebsocketEndpoint
    from cryptofeed.defines import TRADES
    from cryptofeed.exchanges import Binance

    bars = PlainBars()

    async def on_trade(trade: Any, _receipt: float) -> None:
        bars.add(trade.symbol, trade.timestamp, float(trade.price), float(trade.amount), is_buy=trade.side == "buy")

    options = {**(Binance.websocket_endpoints[0].options or {}), "ssl": ssl.create_default_context(cafile=ca_file)}
    Binance.websocket_endpoints = [WebsocketEndpoint(f"{wss}/{count}/{rate}", options=options)]
    Binance.rest_endpoints = [RestEndpoint(http, routes=Binance.rest_endpoints[0].routes)]
    handler = FeedHandler(config={"uvloop": True, "log": {"disabled": True}})
    symbols = [f"{base}-USDT" for base in BASES]
    handler.add_feed(Binance(symbols=symbols, channels=[TRADES], callbacks={TRADES: on_trade}))
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    handler.run(start_loop=False, install_signal_handlers=False)
    return loop.run_until_complete(measured(lambda: bars.trades, count))


def ccxt(http: str, ws: str, ca_file: str, count: int, rate: int) -> dict[str, float]:
    """ccxt.pro with its addresses changed; one call watches all symbols, which is the cheapest that it has."""
    import ccxt.pro

    bars = PlainBars()

    async def run() -> dict[str, float]:
        exchange = ccxt.pro.binance({"cafile": ca_file, "options": {"fetchMarkets": {"types": ["spot"]}}})
        api = exchange.urls["api"]
        for name, url in list(api.items()):
            if isinstance(url, str):
                api[name] = f"{http}/" + url.split("/", 3)[3]
        api["ws"]["spot"] = f"{ws}/{count}/{rate}/stream-raw"
        symbols = [f"{base}/USDT" for base in BASES]

        async def watch() -> None:
            while True:
                for trade in await exchange.watch_trades_for_symbols(symbols, params={"name": "aggTrade"}):
                    is_buy = trade["side"] == "buy"
                    bars.add(trade["symbol"], trade["timestamp"] / 1e3, trade["price"], trade["amount"], is_buy=is_buy)

        watching = asyncio.create_task(watch())
        try:
            return await measured(lambda: bars.trades, count)
        finally:
            watching.cancel()
            await exchange.close()

    return asyncio.run(run())


CLIENTS = {"ours": ours, "cryptofeed": cryptofeed, "ccxt": ccxt}

if __name__ == "__main__":
    name, http, ws, ca_file, count, rate = sys.argv[1:]
    print(json.dumps(CLIENTS[name](http, ws, ca_file, int(count), int(rate))), flush=True)
