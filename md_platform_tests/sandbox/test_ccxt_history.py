"""Unmodified ccxt reads the sandbox's history with only its URLs changed."""

import asyncio
import time

import ccxt
import ccxt.async_support
import pytest

HOUR_MS = 3_600_000


@pytest.fixture(scope="module")
def binance(sandbox):
    exchange = ccxt.binance()
    api = exchange.urls["api"]
    for name, url in list(api.items()):
        if isinstance(url, str):
            api[name] = f"{sandbox.http}/binance/" + url.split("/", 3)[3]
    return exchange


@pytest.fixture(scope="module")
def coinbase(sandbox):
    exchange = ccxt.coinbase()
    exchange.urls["api"]["rest"] = f"{sandbox.http}/coinbase"
    return exchange


@pytest.fixture(scope="module")
def kraken(sandbox):
    exchange = ccxt.kraken()
    exchange.urls["api"]["public"] = f"{sandbox.http}/kraken"
    return exchange


@pytest.fixture(scope="module", params=["binance", "coinbase", "kraken"])
def exchange(request):
    return request.getfixturevalue(request.param)


def dollar(exchange):
    return "USDT" if exchange.id == "binance" else "USD"


def test_markets_are_the_dozen(exchange):
    markets = exchange.load_markets()
    assert len(markets) == 12
    assert {f"BTC/{dollar(exchange)}", f"DOGE/{dollar(exchange)}", "ETH/BTC"} <= set(markets)
    market = exchange.market(f"BTC/{dollar(exchange)}")
    assert market["active"]
    assert market["precision"]["price"] == (0.1 if exchange.id == "kraken" else 0.01)


def test_order_book_has_ten_levels_a_side(exchange):
    book = exchange.fetch_order_book(f"ETH/{dollar(exchange)}")
    assert len(book["bids"]) == len(book["asks"]) == 10
    assert book["bids"][0][0] < book["asks"][0][0]


def test_recent_trades_end_now(exchange):
    trades = exchange.fetch_trades(f"BTC/{dollar(exchange)}", limit=50)
    assert len(trades) == 50
    assert 0 <= time.time() - trades[-1]["timestamp"] / 1000 < 120
    ids = [int(trade["id"]) for trade in trades]
    assert ids == list(range(ids[0], ids[0] + 50))


def test_hourly_bars(exchange):
    bars = exchange.fetch_ohlcv(f"SOL/{dollar(exchange)}", "1h")[-24:]
    assert [bar[0] for bar in bars] == [bars[0][0] + n * HOUR_MS for n in range(24)]
    assert all(low <= min(open_, close) <= max(open_, close) <= high for _, open_, high, low, close, _ in bars)


def test_ticker(exchange):
    ticker = exchange.fetch_ticker(f"BTC/{dollar(exchange)}")
    assert ticker["last"] > 0


def test_paging_binance_klines_yields_every_minute_once(binance):
    start = 1_700_000_000_000 // HOUR_MS * HOUR_MS
    bars = []
    while len(bars) < 2_500:
        bars += binance.fetch_ohlcv("DOT/USDT", "1m", since=start + 60_000 * len(bars), limit=1_000)
    assert [bar[0] for bar in bars] == [start + 60_000 * n for n in range(len(bars))]


def test_paging_coinbase_candles_leaves_no_gap_in_a_busy_market(coinbase):
    start = 1_700_000_000_000 // HOUR_MS * HOUR_MS
    pages = [coinbase.fetch_ohlcv("BTC/USD", "5m", since=start + 300_000 * n, limit=300) for n in (0, 300)]
    assert [bar[0] for bar in pages[0] + pages[1]] == [start + 300_000 * n for n in range(600)]


def test_paging_kraken_trades_meets_every_id(kraken):
    since, ids = 1_700_000_000, []
    for _ in range(3):
        answer = kraken.publicGetTrades({"pair": "XXBTZUSD", "since": str(since)})["result"]
        ids += [trade[6] for trade in answer["XXBTZUSD"]]
        since = answer["last"]
    assert ids == list(range(ids[0], ids[0] + len(ids)))
    assert len(ids) > 2_900


@pytest.mark.parametrize(
    ("exchange", "call", "error"),
    [
        ("binance", lambda e: e.publicGetKlines({"symbol": "NOPE", "interval": "1m"}), ccxt.BadSymbol),
        ("binance", lambda e: e.publicGetKlines({"symbol": "BTCUSDT", "interval": "7m"}), ccxt.BadRequest),
        ("binance", lambda e: e.publicGetAggTrades({"symbol": "BTCUSDT", "fromId": "x"}), ccxt.BadRequest),
        ("coinbase", lambda e: e.fetch_ohlcv("BTC/USD", "2h"), ccxt.BadRequest),
        ("kraken", lambda e: e.publicGetTrades({"pair": "NOPE"}), ccxt.ExchangeError),
    ],
    indirect=["exchange"],
)
def test_mistakes_are_told_as_the_venue_tells_them(exchange, call, error):
    exchange.load_markets()
    with pytest.raises(error):
        call(exchange)


def test_async_ccxt_reads_the_same(sandbox, binance):
    async def fetch():
        exchange = ccxt.async_support.binance()
        exchange.urls["api"] = binance.urls["api"]
        try:
            return await exchange.fetch_ohlcv("ETH/USDT", "1m", since=1_700_000_000_000, limit=10)
        finally:
            await exchange.close()

    assert asyncio.run(fetch()) == binance.fetch_ohlcv("ETH/USDT", "1m", since=1_700_000_000_000, limit=10)
