"""Coinbase's live parsers, Advanced Trade and the Pro protocol of 2021, against captures and documented messages."""

import json
from itertools import pairwise

import pytest

from md_platform.domain.books import OrderBook
from md_platform.domain.events import (
    BookUpdate,
    Heartbeat,
    Malformed,
    Refused,
    SequenceGap,
    Subscribed,
    Trade,
    TradingStatus,
    Unknown,
)
from md_platform.domain.instruments import Instrument
from md_platform.venues import coinbase_2021_feed, coinbase_feed, venue_named
from md_platform.venues.feeds import Subscription
from md_platform_tests.venues.agreement import (
    RECEIVED,
    assert_books,
    assert_explained,
    assert_trades,
    confirmed,
    conversation,
)
from md_platform_tests.venues.replay import SHARED, capture, facts, replay

needs_captures = pytest.mark.skipif(not SHARED.exists(), reason="captures are not here (../shared/data)")

ADVANCED_CAPTURE = "COINBASE_20260809T210548_first3s"
PRO_CAPTURE = "COINBASE_20210417T164336_products_A"
PRO_PRODUCTS = [
    "SKL-USD",
    "SKL-BTC",
    "BAND-GBP",
    "NMR-EUR",
    "BAND-BTC",
    "YFI-BTC",
    "DASH-BTC",
    "NU-GBP",
    "CRV-EUR",
    "SKL-GBP",
]
BTC_USD = Instrument("coinbase", "BTC", "USD", "BTC-USD")
BTC = BTC_USD.id


def trade_links(trades: list[Trade]) -> int:
    """How many trade ids follow the one before, of the same instrument."""
    last: dict[str, int | str] = {}
    count = 0
    for trade in trades:
        assert type(trade.trade_id) is int
        count += last.get(trade.instrument) == trade.trade_id - 1
        last[trade.instrument] = trade.trade_id
    return count


def named(*products: str) -> dict[str, Instrument]:
    return {product: Instrument("coinbase", *product.split("-"), product) for product in products}


@needs_captures
def test_advanced_trade_gives_the_trades_that_others_counted_and_whole_books():
    instruments = named("BTC-USD", "ETH-USD")
    out = replay(coinbase_feed.ADVANCED, capture(ADVANCED_CAPTURE), list(instruments.values()))

    known = facts(ADVANCED_CAPTURE)
    assert_explained(out)
    assert out.kinds == {"Heartbeat": known["message_types"]["heartbeats:-"], "Subscribed": 4}
    assert confirmed(out) == {(c, p) for c in ("trades", "quotes", "book", "bars") for p in instruments}
    assert assert_trades(out.live(), ADVANCED_CAPTURE, instruments) == 4
    assert assert_trades([t for t in out.trades if t.sent_late], ADVANCED_CAPTURE, instruments, late=True) == 200
    assert len(out.quotes) == known["message_types"]["ticker:snapshot"] + known["message_types"]["ticker:update"]
    assert out.outcomes == {"applied": 86}
    assert trade_links(out.trades) == len(out.trades) - 2
    assert [(book.is_right, book.is_crossed) for book in out.books.values()] == [(True, False)] * 2


@needs_captures
def test_every_frame_of_advanced_trade_follows_the_one_before_and_a_missing_one_is_a_gap():
    frames = [record.payload for record in capture(ADVANCED_CAPTURE) if record.t == "recv"]
    numbers = [json.loads(frame)["sequence_num"] for frame in frames]
    assert sum(b == a + 1 for a, b in pairwise(numbers)) == facts(ADVANCED_CAPTURE)["sequence"]["sequence_num_ok"]
    said = conversation(coinbase_feed.ADVANCED, BTC_USD)
    events = said(*frames[:50], *frames[52:], frames[51])
    assert [event for event in events if isinstance(event, SequenceGap)] == [SequenceGap(50, 52)]
    book = OrderBook(coinbase_feed.ADVANCED.book)
    outcomes = [book.apply(e) for e in events if isinstance(e, BookUpdate) and e.instrument == BTC]
    assert (outcomes.count("gap"), set(outcomes)) == (1, {"applied", "gap", "waiting"})
    assert not book.is_right


@needs_captures
def test_the_side_of_a_trade_is_the_makers_as_the_prices_show():
    """Trades of the last seconds at what is now the best ask have mostly bought: under the other reading, 3 of 24."""
    products = named("BTC-USD", "ETH-USD")
    out = replay(coinbase_feed.ADVANCED, capture(ADVANCED_CAPTURE), list(products.values()))
    agreeing = []
    for quote in out.quotes[:2]:
        near = [t for t in out.trades if t.instrument == quote.instrument and t.price in (quote.bid, quote.ask)]
        agreeing += [t.taker_side == ("buy" if t.price == quote.ask else "sell") for t in near]
    assert (sum(agreeing), len(agreeing)) == (21, 24)


@needs_captures
def test_candles_of_five_minutes_close_when_the_next_begins():
    out = replay(coinbase_feed.ADVANCED, capture(ADVANCED_CAPTURE), list(named("BTC-USD", "ETH-USD").values()))
    frames = [
        json.loads(r.data) for r in capture(ADVANCED_CAPTURE) if r.t == "recv" and '"channel":"candles"' in r.data
    ]
    told = sorted(
        (int(c["start"]) * 10**9, float(c["close"])) for f in frames for e in f["events"] for c in e["candles"]
    )
    assert sorted((bar.open_time, bar.close) for bar in out.bars) == told
    assert {(bar.timeframe, (bar.close_time - bar.open_time) // 10**9) for bar in out.bars} == {("5m", 300)}
    for product in ("coinbase:BTC-USD", "coinbase:ETH-USD"):
        closed = [bar.is_closed for bar in out.bars if bar.instrument == product]
        assert closed == [True] * (len(closed) - 1) + [False]


@needs_captures
def test_pro_of_2021_gives_the_trades_and_books_that_others_counted():
    instruments = named(*PRO_PRODUCTS)
    out = replay(coinbase_2021_feed.PRO, capture(PRO_CAPTURE), list(instruments.values()))

    assert_explained(out)
    assert out.kinds == {"Subscribed": 2}
    assert trade_links(out.trades) == facts(PRO_CAPTURE)["sequence"]["match_trade_id_ok"] == 65
    assert confirmed(out) == {(channel, product) for channel in ("trades", "book") for product in PRO_PRODUCTS}
    assert assert_trades(out.live(), PRO_CAPTURE, instruments) == 65
    assert assert_trades([t for t in out.trades if t.sent_late], PRO_CAPTURE, instruments, late=True) == 5
    assert out.outcomes == {"applied": 5 + 4_291}
    assert assert_books(out, PRO_CAPTURE, instruments) == 5


def test_a_quiet_connection_is_kept_by_heartbeats_and_each_channel_is_its_own_message():
    many = [Instrument("coinbase", f"C{n}", "USD", f"C{n}-USD") for n in range(60)]
    session = coinbase_feed.ADVANCED.session([Subscription("trades", each) for each in many])
    asked = [json.loads(message) for message in session.opening()]
    assert [(a["channel"], len(a.get("product_ids", ()))) for a in asked] == [
        ("heartbeats", 0), ("market_trades", 50), ("market_trades", 10), ("status", 50), ("status", 10),
    ]  # fmt: skip


def advanced(number: int, channel: str, event: str) -> str:
    head = f'{{"channel":"{channel}","client_id":"","timestamp":"2026-04-07T14:30:02.789012345Z"'
    return f'{head},"sequence_num":{number},"events":[{event}]}}'


def test_advanced_trade_reads_as_documented():
    said = conversation(coinbase_feed.ADVANCED, BTC_USD)
    trades = '{"type":"update","trades":[{"trade_id":"12","product_id":"BTC-USD","price":"68900.50","size":"0.0015","side":"BUY","time":"2026-04-07T14:30:02.789012Z"},{"trade_id":"11","product_id":"BTC-USD","price":"68900.00","size":"0.05","side":"SELL","time":"2026-04-07T14:30:02.5Z"}]}'
    assert said(advanced(0, "market_trades", trades)) == [
        Trade(BTC, 1775572202500000000, RECEIVED, 11, 68900.0, 0.05, "buy"),
        Trade(BTC, 1775572202789012000, RECEIVED, 12, 68900.5, 0.0015, "sell"),
    ]
    ticker = '{"type":"snapshot","tickers":[{"type":"ticker","product_id":"BTC-USD","price":"1","best_bid":"68900.00","best_bid_quantity":"1.5","best_ask":"68901.00","best_ask_quantity":"0.5"}]}'
    (quote,) = said(advanced(1, "ticker", ticker))
    assert (quote.bid, quote.bid_size, quote.ask, quote.ask_size) == (68900.0, 1.5, 68901.0, 0.5)
    assert (quote.ts_event, quote.sequence) == (1775572202789012345, 0)


def test_advanced_trade_halts_refusals_and_what_nobody_asked_for():
    said = conversation(coinbase_feed.ADVANCED, BTC_USD)
    products = '{"type":"snapshot","products":[{"product_type":"SPOT","id":"BTC-USD","status":"%s","status_message":"%s"},{"id":"X-Y","status":"delisted"}]}'
    assert said(advanced(0, "status", products % ("online", ""))) == []
    assert said(advanced(1, "status", products % ("offline", "back soon"))) == [TradingStatus(True, BTC, "back soon")]
    assert said(advanced(2, "status", products % ("offline", "back soon"))) == []
    assert said(advanced(3, "status", products % ("online", ""))) == [TradingStatus(False, BTC, "online")]
    assert said('{"type":"error","message":"failure to subscribe"}') == [Refused("failure to subscribe")]
    beat = '{"current_time":"2026-04-07 14:30:10.0 +0000 UTC m=+1.5","heartbeat_counter":42}'
    assert said(advanced(4, "heartbeats", beat)) == [Heartbeat()]
    standing = advanced(5, "subscriptions", '{"subscriptions":{"level2":["BTC-USD"],"heartbeats":["heartbeats"]}}')
    assert said(standing) == [Subscribed("book", ["BTC-USD"])]
    assert said(standing) == []
    strange = advanced(6, "l2_data", '{"type":"update","product_id":"X-Y","updates":[]}'), advanced(7, "futures", "1")
    assert [type(event) for event in said(*strange)] == [Unknown, Unknown]
    (wrong, gap) = said(advanced(8, "l2_data", "7"), advanced(9, "heartbeats", beat))[:2]
    assert isinstance(wrong, Malformed)
    assert gap == SequenceGap(7, 9)


def test_pro_of_2021_reads_as_documented():
    said = conversation(coinbase_2021_feed.PRO, BTC_USD)
    match = '{"type":"match","trade_id":%d,"sequence":50,"maker_order_id":"a","taker_order_id":"b","time":"2014-11-07T08:19:27.028459Z","product_id":"BTC-USD","size":"5.23512","price":"400.23","side":"sell"}'
    trade = Trade(BTC, 1415348367028459000, RECEIVED, 10, 400.23, 5.23512, "buy")
    assert said(match % 10) == [trade]
    assert said('{"type":"error","message":"Failed to subscribe","reason":"X is not a valid product"}') == [
        Refused("Failed to subscribe: X is not a valid product")
    ]
    assert said('{"type":"heartbeat","sequence":90,"last_trade_id":20,"product_id":"BTC-USD"}') == [Heartbeat()]
    status = '{"type":"status","products":[{"id":"BTC-USD","status":"%s"}],"currencies":[]}'
    assert said(status % "offline", status % "online") == [
        TradingStatus(True, BTC, "offline"), TradingStatus(False, BTC, "online"),
    ]  # fmt: skip
    assert [type(event) for event in said('{"type":"received"}')] == [Unknown]
    assert [type(event) for event in said('{"type":"match"}', "[]")] == [Malformed, Malformed]


def test_products_in_usdc_are_not_carried_under_another_products_name():
    accepts = venue_named("coinbase").feeds[0].accepts
    assert accepts(BTC_USD)
    assert accepts(Instrument("coinbase", "USDT", "USDC", "USDT-USDC"))
    assert not accepts(Instrument("coinbase", "BTC", "USDC", "BTC-USDC"))
