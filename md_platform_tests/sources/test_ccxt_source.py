"""Any other exchange through ccxt, met over real HTTP: an exchange that speaks Binance's protocol, moved to our host."""

import datetime as dt
import json

import ccxt
import pytest

from md_platform.domain.instruments import Instrument
from md_platform.domain.intervals import Interval
from md_platform.domain.schemas import RAW_BARS, RAW_TRADES
from md_platform.errors import (
    MalformedPayload,
    RateLimited,
    SourceRejected,
    SourceUnavailable,
    UnknownInstrument,
)
from md_platform.settings import VenueUrls
from md_platform.sources.ccxt_source import CcxtSource, contract_size, error_of, knows
from md_platform.sources.fetch import Meter
from md_platform.sources.history import HistorySources
from md_platform_tests.local_server import Answer

DAY = Interval.day(dt.date(2024, 1, 2))
START = int(DAY.start.timestamp() * 1_000)
BTC = Instrument.parse("binanceus:BTC-USDT")
NOW = dt.datetime(2024, 1, 5, tzinfo=dt.UTC)
SYMBOL = {
    "symbol": "BTCUSDT",
    "status": "TRADING",
    "baseAsset": "BTC",
    "baseAssetPrecision": 8,
    "quoteAsset": "USDT",
    "quotePrecision": 8,
    "quoteAssetPrecision": 8,
    "orderTypes": ["LIMIT"],
    "isSpotTradingAllowed": True,
    "isMarginTradingAllowed": False,
    "filters": [],
    "permissions": ["SPOT"],
}


def exchange(bars=range(1_440), trades=(), page=1_000, *, newest_only=False):
    def answer(asked):
        path, params = asked.path, asked.params
        if path.endswith("/exchangeInfo"):
            return Answer(json.dumps({"symbols": [SYMBOL]}).encode())
        if path.endswith("/klines"):
            rows = [[START + 60_000 * n, "1", "2", "0.5", "1.5", "10", 0, "15", 3, "5", "7", "0"] for n in bars]
            return Answer(json.dumps(chosen(rows, 0, params)).encode())
        rows = [{"a": n, "p": "1.5", "q": "2", "f": n, "l": n, "T": t, "m": n % 2 == 0, "M": True} for n, t in trades]
        return Answer(json.dumps(chosen(rows, "T", params)).encode())

    def chosen(rows, time, params):
        if "startTime" in params and not newest_only:
            return [row for row in rows if row[time] >= int(params["startTime"])][:page]
        return rows[-page:]

    return answer


def source(server, tmp_path, impatient):
    return HistorySources(
        {"binanceus": VenueUrls(rest=server.url)}, tmp_path / "cache", clock=lambda: NOW, retry=impatient
    )


def test_bars_come_in_pages_without_what_ccxt_does_not_tell(serve, tmp_path, impatient):
    server = serve(exchange(page=600))
    fetched = source(server, tmp_path, impatient).bars(BTC, DAY)
    assert fetched.source == f"ccxt-binanceus@{server.url.removeprefix('http://')}"
    assert fetched.frame.schema == RAW_BARS.schema
    assert fetched.frame["open_time"].n_unique() == fetched.frame.height == 1_440
    assert fetched.frame["taker_buy_volume"].null_count() == 1_440
    assert fetched.frame["quote_volume"].null_count() == 1_440
    assert fetched.bytes > 0


def test_a_hole_in_the_bars_is_stepped_over(serve, tmp_path, impatient):
    server = serve(exchange(bars=[*range(10), *range(1_400, 1_440)]))
    assert source(server, tmp_path, impatient).bars(BTC, DAY).frame.height == 50


def test_trades_come_in_pages_once_each(serve, tmp_path, impatient):
    trades = [(n, START - 500 + n * 400) for n in range(2_500)]
    server = serve(exchange(trades=trades, page=300))
    fetched = source(server, tmp_path, impatient).trades(BTC, DAY)
    assert fetched.frame.schema == RAW_TRADES.schema
    assert fetched.frame["trade_id"].to_list() == [str(n) for n in range(2, 2_500)]
    assert set(fetched.frame["taker_side"]) == {"buy", "sell"}
    assert list((tmp_path / "cache").rglob("*")) == []


def test_an_exchange_that_serves_only_its_newest_says_so(serve, tmp_path, impatient):
    bars = serve(exchange(bars=range(1_000, 1_440), newest_only=True, page=300))
    with pytest.raises(SourceRejected, match="serves only its newest bars, from 2024-01-02T19:00:00 on"):
        source(bars, tmp_path, impatient).bars(BTC, DAY)
    trades = serve(exchange(trades=[(n, START + n * 60_000) for n in range(1_400)], newest_only=True, page=300))
    with pytest.raises(SourceRejected, match="serves only its newest trades, from 2024-01-02T18:20:00 on"):
        source(trades, tmp_path, impatient).trades(BTC, DAY)


def test_a_market_that_began_within_the_interval_is_whole(serve, tmp_path, impatient):
    server = serve(exchange(bars=range(700, 1_440), trades=[(1, START + 9_000_000)], page=300))
    history = source(server, tmp_path, impatient)
    assert history.bars(BTC, DAY).frame.height == 740


def test_a_day_without_trades_is_empty(serve, tmp_path, impatient):
    fetched = source(serve(exchange()), tmp_path, impatient).trades(BTC, DAY)
    assert (fetched.frame.height, fetched.frame.schema) == (0, RAW_TRADES.schema)


def test_instruments_bear_canonical_ids(serve, tmp_path, impatient):
    found = source(serve(exchange()), tmp_path, impatient).instruments("binanceus")
    assert found == [Instrument("binanceus", "BTC", "USDT", "BTCUSDT")]


def test_an_unknown_symbol_is_an_error(serve, tmp_path, impatient):
    with pytest.raises(UnknownInstrument, match="lists no XMR/USDT"):
        source(serve(exchange()), tmp_path, impatient).bars(Instrument.parse("binanceus:XMR-USDT"), DAY)


def test_an_exchange_without_bars_says_so(serve, tmp_path, impatient):
    server = serve(exchange())
    found = CcxtSource("binanceus", "ccxt-binanceus", tmp_path, server.url, retry=impatient)
    found._exchange.has["fetchOHLCV"] = False
    with pytest.raises(SourceRejected, match="serves no bars"):
        found.bars(BTC, DAY, Meter())


@pytest.mark.parametrize(
    ("answer", "error", "tries"),
    [
        (Answer(b"{}", 503), SourceUnavailable, 3),
        (Answer(b"{}", 429), RateLimited, 3),
        (Answer(b'{"code":-1121,"msg":"Invalid symbol."}', 400), SourceRejected, 1),
        (Answer(b"<html>"), MalformedPayload, 1),
    ],
)
def test_errors_of_ccxt_become_ours_with_their_policy(serve, tmp_path, impatient, answer, error, tries):
    good = exchange()
    server = serve(lambda asked: answer if asked.path.endswith("klines") else good(asked))
    with pytest.raises(error, match="ccxt-binanceus"):
        source(server, tmp_path, impatient).bars(BTC, DAY)
    assert sum(asked.path.endswith("klines") for asked in server.asked) == tries


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        (ccxt.RequestTimeout, SourceUnavailable),
        (ccxt.OnMaintenance, SourceUnavailable),
        (ccxt.DDoSProtection, RateLimited),
        (ccxt.BadSymbol, SourceRejected),
        (ccxt.BadResponse, MalformedPayload),
        (ccxt.NotSupported, SourceRejected),
    ],
)
def test_each_kind_of_error_has_its_meaning(theirs, ours):
    error = error_of("ccxt-okx", theirs("why"))
    assert type(error) is ours
    assert f"{theirs.__name__} why" in str(error)


def test_ccxt_knows_the_exchanges_of_the_packaged_universe():
    assert all(map(knows, ["okx", "bitfinex", "bitstamp", "bybit", "gate", "gemini", "htx", "kucoin"]))
    assert not knows("mtgox")


@pytest.mark.parametrize(
    ("market", "size"),
    [({"contract": False, "contractSize": 100}, 1.0), ({"contract": True, "contractSize": 0.001}, 0.001), ({}, 1.0)],
)
def test_amounts_are_counted_in_contracts_where_there_are_any(market, size):
    assert contract_size(market) == size
