"""Binance's live parser against real captures: trades, candles and books as others counted them."""

from collections import Counter
from typing import Any

import msgspec
import pytest

from md_platform.domain.events import Bar, Event, ReconnectAsked, Subscribed, Trade, TradingStatus, Unknown
from md_platform.domain.instruments import Instrument
from md_platform.venues import binance_feed, binance_futures_feed
from md_platform.venues.feeds import Feed
from md_platform_tests.venues.replay import (
    SHARED,
    Replayed,
    capture,
    facts,
    final_books,
    hftbacktest,
    links,
    replay,
    rows,
    subscribed,
)

with_captures = pytest.mark.skipif(not SHARED.exists(), reason="captures are not here (../shared/data)")

CAPTURES = {
    "BINANCE_20210404T200310": binance_feed.SPOT,
    "BINANCE_20210814T144634": binance_feed.SPOT,
    "BINANCE_20211012T002831": binance_feed.SPOT,
    "BINANCE_US_20210814T144513": binance_feed.SPOT,
    "BINANCE_FUTURES_20210722T222540": binance_futures_feed.USDM,
    "BINANCE_DELIVERY_20210722T011322": binance_futures_feed.COINM,
}
DEPTH_RECORDINGS = {
    "spot/btcusdt_20240808": binance_feed.SPOT,
    "usdm/ethusdt_20240808": binance_futures_feed.USDM,
    "cm/ethusd_perp_20240808": binance_futures_feed.COINM,
}


def instrument(symbol: str) -> Instrument:
    return Instrument("binance", symbol, "X", symbol)


def replayed(name: str, feed: Feed) -> Replayed:
    symbols = set(final_books(name))
    return replay(feed, capture(name), [instrument(symbol) for symbol in sorted(symbols)])


@with_captures
@pytest.mark.parametrize(("name", "feed"), CAPTURES.items())
def test_a_capture_gives_the_trades_candles_and_books_that_others_counted(name: str, feed: Feed) -> None:
    out = replayed(name, feed)

    known = facts(name)
    assert out.kinds == {}
    assert Counter(trade.instrument.removeprefix("binance:").removesuffix("-X") for trade in out.trades) == Counter(
        known["live_trades_by_symbol"]
    )
    expected = rows(f"{name}.trades")
    assert [(str(t.trade_id), t.price, t.size, t.taker_side, t.ts_event // 1_000_000) for t in out.trades] == [
        (r["trade_id"], float(r["price"]), float(r["amount"]), r["taker_side"], int(r["exchange_ts_ms"]))
        for r in expected
    ]
    assert len(out.bars) == known["candle_updates"]
    assert out.outcomes["gap"] == 0
    assert links(feed, (u for u in out.updates if not u.is_snapshot)) == known["sequence"]["depth_ok"]
    assert_books(out, final_books(name))


@with_captures
@pytest.mark.parametrize(("name", "feed"), DEPTH_RECORDINGS.items())
def test_minutes_of_deep_books_end_as_others_left_them(name: str, feed: Feed) -> None:
    books = final_books(f"hftbacktest/{name}")
    out = replay(feed, hftbacktest(name), [instrument(symbol) for symbol in books])

    assert out.kinds == {}
    assert out.outcomes["gap"] == 0
    assert len(out.updates) == sum(book["events_total"] for book in books.values()) + 1
    assert_books(out, books)


def assert_books(out: Replayed, books: dict[str, Any]) -> None:
    for symbol, book in books.items():
        mine = out.books[instrument(symbol).id]
        assert mine.is_right
        assert [list(level) for level in mine.bids(10)] == book["bids"]
        assert [list(level) for level in mine.asks(10)] == book["asks"]
        assert (len(mine.bids()), len(mine.asks())) == (book["n_bids"], book["n_asks"])


PERP = Instrument("binance", "BTC", "USDT", "BTCUSDT", is_perpetual=True)
INVERSE = Instrument("binance", "BTC", "USD", "BTCUSD_PERP", is_perpetual=True)


def received(feed: Feed, instrument: Instrument, *payloads: dict[str, Any]) -> list[Event]:
    session = feed.session(subscribed(feed, [instrument]))
    session.opening()
    frames = [msgspec.json.encode(p if "id" in p else {"stream": "x", "data": p}) for p in payloads]
    return session.receive(frames, 1)


def test_quotes_and_books_of_usdm_have_one_address_and_the_rest_another() -> None:
    public, market = binance_futures_feed.USDM, binance_futures_feed.USDM_MARKET
    assert public.channels | market.channels == binance_futures_feed.COINM.channels == binance_feed.SPOT.channels
    assert not public.channels & market.channels
    [message] = market.session(subscribed(market, [PERP])).opening()
    assert msgspec.json.decode(message)["params"] == ["btcusdt@kline_1m", "btcusdt@aggTrade", "!contractInfo"]
    [message] = public.session(subscribed(public, [PERP])).opening()
    assert msgspec.json.decode(message)["params"] == ["btcusdt@depth@100ms", "btcusdt@bookTicker"]
    assert received(market, PERP, {"id": 1, "result": None}) == [
        Subscribed("bars", ["BTCUSDT"]),
        Subscribed("trades", ["BTCUSDT"]),
    ]


def test_each_future_is_accepted_by_the_feed_that_knows_its_symbol() -> None:
    accepted = [
        [feed.name for feed in (binance_feed.SPOT, *binance_futures_feed.FEEDS) if feed.accepts(each)]
        for each in (Instrument("binance", "BTC", "USDT", "BTCUSDT"), PERP, INVERSE)
    ]
    assert accepted == [["binance"], ["binance-usdm", "binance-usdm-market"], ["binance-coinm"]]


@with_captures
def test_perpetuals_of_exchange_info() -> None:
    answer = (
        SHARED / "rest_ws_samples" / "nautilus_it_binance" / "http_futures_market_exchange_info.json"
    ).read_bytes()
    found = {each.id: each.native for each in binance_futures_feed.parse_futures(answer, "binance")}
    assert found["binance:BTC-USDT-PERP"] == "BTCUSDT"
    symbol = {"symbol": "BTCUSD_PERP", "baseAsset": "BTC", "quoteAsset": "USD", "contractType": "PERPETUAL"}
    quarter = {**symbol, "symbol": "BTCUSD_250926", "contractType": "CURRENT_QUARTER"}
    coinm = binance_futures_feed.parse_futures(msgspec.json.encode({"symbols": [symbol, quarter]}), "binance")
    assert [(each.id, each.native) for each in coinm] == [("binance:BTC-USD-PERP", "BTCUSD_PERP")]


def test_aggregated_trades_and_halts_of_futures() -> None:
    market = binance_futures_feed.USDM_MARKET
    trade = {"e": "aggTrade", "E": 123456789, "s": "BTCUSDT", "a": 5933014, "p": "0.001", "q": "100"}
    trade |= {"f": 100, "l": 105, "T": 123456785, "m": True}
    contract = {"e": "contractInfo", "E": 1669647330115, "s": "BTCUSDT", "ps": "BTCUSDT", "ct": "PERPETUAL"}
    assert received(
        market,
        PERP,
        trade,
        {**contract, "cs": "SETTLING"},
        {**contract, "cs": "TRADING"},
        {**contract, "s": "IOTAUSDT", "cs": "SETTLING"},
        {**trade, "s": "IOTAUSDT"},
    )[:3] == [
        Trade("binance:BTC-USDT-PERP", 123456785000000, 1, 5933014, 0.001, 100.0, "sell", 6),
        TradingStatus(is_halted=True, instrument="binance:BTC-USDT-PERP", reason="SETTLING"),
        TradingStatus(is_halted=False, instrument="binance:BTC-USDT-PERP", reason="TRADING"),
    ]
    assert [type(e) for e in received(market, PERP, {**contract, "s": "IOTAUSDT"}, {**trade, "s": "I"})] == [Unknown]


def test_candles_of_coinm_count_contracts_and_have_no_quote_volume() -> None:
    kline = {"t": 1591256460000, "T": 1591256519999, "s": "BTCUSD_PERP", "i": "1m", "f": 606400, "L": 606430}
    kline |= {"o": "9638.9", "c": "9639.8", "h": "9639.8", "l": "9638.6", "v": "156", "n": 31, "x": False}
    kline |= {"q": "1.61836886", "V": "73", "Q": "0.75731156", "B": "0"}
    frame = {"e": "kline", "E": 1591261542539, "s": "BTCUSD_PERP", "k": kline}
    [bar] = received(binance_futures_feed.COINM, INVERSE, frame)
    assert isinstance(bar, Bar)
    assert (bar.volume, bar.taker_buy_volume, bar.quote_volume, bar.taker_buy_quote_volume) == (156, 73, None, None)


def test_a_server_that_says_that_it_goes_asks_for_another_connection() -> None:
    going = {"e": "serverShutdown", "E": 1770123456789}
    session = binance_feed.SPOT.session(subscribed(binance_feed.SPOT, [instrument("BTCUSDT")]))
    frames = [msgspec.json.encode(frame) for frame in (going, {"stream": "!events", "data": going}, {"e": "other"})]
    assert session.receive(frames, 1) == [ReconnectAsked("serverShutdown")] * 2 + [Unknown(frames[2])]
