"""Gemini's live parser against a real capture and documented messages."""

import json

import pytest

from md_platform.domain.events import Heartbeat, Malformed, Refused, Subscribed, Trade, Unknown
from md_platform.domain.instruments import Instrument
from md_platform.venues import gemini
from md_platform.venues.feeds import Subscription
from md_platform_tests.venues.agreement import RECEIVED, assert_explained, assert_trades, confirmed, conversation
from md_platform_tests.venues.replay import SHARED, Replayed, capture, facts, replay

needs_captures = pytest.mark.skipif(not SHARED.exists(), reason="captures are not here (../shared/data)")

CAPTURE = "GEMINI_20210624T001416"
FEED = gemini.GEMINI.feeds[0]
SYMBOLS = ["BTCGBP", "LINKETH", "FILUSD", "ZECLTC", "BATBTC", "ETHEUR", "LTCETH", "GRTUSD", "ANKRUSD", "ALCXUSD"]
INSTRUMENTS = {symbol: Instrument("gemini", symbol, "X", symbol.lower()) for symbol in SYMBOLS}
BTC_USD = Instrument("gemini", "BTC", "USD", "btcusd")
BTC = BTC_USD.id


def replayed() -> Replayed:
    return replay(FEED, capture(CAPTURE), list(INSTRUMENTS.values()))


@needs_captures
def test_a_capture_gives_the_trades_that_others_counted_and_whole_books():
    out = replayed()
    known = facts(CAPTURE)["message_types"]
    assert_explained(out)
    assert out.kinds == {"Heartbeat": known["heartbeat"], "Subscribed": 20}
    assert confirmed(out) == {(c, i.native) for c in ("trades", "book") for i in INSTRUMENTS.values()}
    assert assert_trades(out.live(), CAPTURE, INSTRUMENTS) == 16
    assert assert_trades([t for t in out.trades if t.sent_late], CAPTURE, INSTRUMENTS, late=True) == 500
    assert out.outcomes == {"applied": known["l2_updates"]}
    assert sum(update.is_snapshot for update in out.updates) == known["l2_updates(first,with trades[])"]
    assert [(book.is_right, book.is_crossed) for book in out.books.values()] == [(True, False)] * 10


@needs_captures
def test_final_books_are_those_of_a_plain_dictionary_of_levels():
    out = replayed()
    for symbol, instrument in INSTRUMENTS.items():
        sides: dict[str, dict[float, str]] = {"buy": {}, "sell": {}}
        for record in capture(CAPTURE):
            message = json.loads(record.data) if record.t == "recv" else {}
            for side, price, size in message.get("changes", ()) if message.get("symbol") == symbol else ():
                sides[side][float(price)] = size
        bids = sorted((p for p, size in sides["buy"].items() if float(size)), reverse=True)
        asks = sorted(p for p, size in sides["sell"].items() if float(size))
        assert [float(price) for price, _ in out.books[instrument.id].bids()] == bids
        assert [float(price) for price, _ in out.books[instrument.id].asks()] == asks


@needs_captures
def test_the_side_of_a_trade_is_the_takers_as_the_book_before_it_shows():
    asks: dict[str, set[float]] = {symbol: set() for symbol in SYMBOLS}
    bids: dict[str, set[float]] = {symbol: set() for symbol in SYMBOLS}
    trades = []
    for record in capture(CAPTURE):
        message = json.loads(record.data) if record.t == "recv" else {}
        for side, price, size in message.get("changes", ()):
            levels = (bids if side == "buy" else asks)[message["symbol"]]
            (levels.add if float(size) else levels.discard)(float(price))
        if message.get("type") == "trade":
            at_ask = float(message["price"]) >= min(asks[message["symbol"]])
            trades.append((message["side"], "buy" if at_ask else "sell"))
    assert len(trades) == 16
    assert all(said == shown for said, shown in trades)


def test_one_subscription_brings_trades_and_book():
    session = FEED.session([Subscription(channel, BTC_USD) for channel in ("trades", "book", "bars")])
    asked = [json.loads(message)["subscriptions"] for message in session.opening()]
    assert asked == [
        [{"name": "l2", "symbols": ["BTCUSD"]}],
        [{"name": "candles_1m", "symbols": ["BTCUSD"]}],
    ]


def test_trades_and_candles_read_as_documented():
    said = conversation(FEED, BTC_USD)
    trade = '{"type":"trade","symbol":"BTCUSD","event_id":3575573053,"timestamp":1547146811357,"price":"9004.21","quantity":"0.0911","side":"sell"}'
    assert said(trade) == [Trade(BTC, 1547146811357000000, RECEIVED, 3575573053, 9004.21, 0.0911, "sell")]
    candles = '{"type":"candles_1m_updates","symbol":"BTCUSD","changes":[[1561054560000,9350.18,9358.35,9350,9355.51,2.07],[1561054500000,9357.33,9357.33,9350.18,9350.18,1.59]]}'
    subscribed, *bars = said(candles)
    assert subscribed == Subscribed("bars", ["btcusd"])
    assert [(b.open_time // 10**6, b.open, b.high, b.low, b.close, b.volume, b.is_closed) for b in bars] == [
        (1561054500000, 9357.33, 9357.33, 9350.18, 9350.18, 1.59, True),
        (1561054560000, 9350.18, 9358.35, 9350.0, 9355.51, 2.07, False),
    ]


def test_what_is_no_market_data():
    said = conversation(FEED, BTC_USD)
    assert said('{"type":"heartbeat","timestamp":1547742998508}') == [Heartbeat()]
    assert said('{"result":"error","reason":"InvalidJson","message":"no"}') == [Refused("InvalidJson no")]
    auction = '{"type":"auction_result","symbol":"BTCUSD","time_ms":1655323200000,"result":"failure"}'
    other = '{"type":"trade","symbol":"ETHUSD","event_id":1,"timestamp":1,"price":"1","quantity":"1","side":"buy"}'
    assert [type(event) for event in said(auction, other)] == [Unknown, Unknown]
    wrong = (
        '{"type":"trade","symbol":"BTCUSD"}',
        other.replace("ETH", "BTC").replace('"1"', '"one"', 1),
        "[1]",
        b"\x00",
    )
    assert [type(event) for event in said(*wrong)] == [Malformed] * 4
