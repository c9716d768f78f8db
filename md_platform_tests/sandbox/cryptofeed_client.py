"""Runs unmodified cryptofeed against a sandbox given by its addresses; prints what its callbacks received as JSON.

A process of its own, as cryptofeed installs loop policies and keeps symbols in class attributes.
"""

import asyncio
import json
import logging
import ssl
import sys
from collections import Counter

from cryptofeed import FeedHandler
from cryptofeed.connection import RestEndpoint, WebsocketEndpoint
from cryptofeed.defines import CANDLES, L2_BOOK, TICKER, TRADES
from cryptofeed.exchanges import Binance, Coinbase, Kraken

http, wss, ca_file, seconds = sys.argv[1:5]
tls = {"ssl": ssl.create_default_context(cafile=ca_file)}
problems = []
received = Counter()
ids = []


class Kept(logging.Handler):
    def emit(self, record):
        problems.append(record.getMessage() + (f": {record.exc_info[1]!r}" if record.exc_info else ""))


logging.getLogger("feedhandler").addHandler(Kept(logging.WARNING))

PREFIXES = {
    Binance: ("/binance", "/binance"),
    Kraken: ("/kraken", "/kraken"),
    Coinbase: ("/coinbase", "/coinbase/api/v3/brokerage"),
}
for exchange, (live, rest) in PREFIXES.items():
    options = exchange.websocket_endpoints[0].options or {}
    exchange.websocket_endpoints = [WebsocketEndpoint(wss + live, options={**options, **tls})]
    exchange.rest_endpoints = [RestEndpoint(http + rest, routes=exchange.rest_endpoints[0].routes)]


def counting(exchange, channel):
    async def callback(item, _receipt):
        received[f"{exchange} {channel}"] += 1
        if (exchange, channel) == ("binance", TRADES):
            ids.append(int(item.id))

    return callback


def callbacks(exchange, *channels):
    return {channel: counting(exchange, channel) for channel in channels}


handler = FeedHandler(config={"uvloop": False, "log": {"disabled": True}})
every = (TRADES, L2_BOOK, TICKER, CANDLES)
handler.add_feed(
    Binance(symbols=["BTC-USDT"], channels=every, candle_closed_only=False, callbacks=callbacks("binance", *every))
)
handler.add_feed(
    Kraken(
        symbols=["BTC-USD", "DOGE-USD"],
        channels=every,
        max_depth=10,
        checksum_validation=True,
        callbacks=callbacks("kraken", *every),
    )
)
keys = {"coinbase": {"key_id": "any", "key_secret": "any"}}  # it signs every subscription; the sandbox does not look
handler.add_feed(
    Coinbase(
        config=keys, symbols=["BTC-USD"], channels=[TRADES, L2_BOOK], callbacks=callbacks("coinbase", TRADES, L2_BOOK)
    )
)
loop = asyncio.new_event_loop()
asyncio.set_event_loop(loop)
handler.run(start_loop=False, install_signal_handlers=False)
loop.call_later(float(seconds), loop.stop)
loop.run_forever()
print(json.dumps({"received": received, "problems": problems, "ids": ids}), flush=True)
