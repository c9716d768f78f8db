"""Bitfinex's live parser against a real capture and documented messages."""

import json
import zlib

import pytest

from md_platform.domain.books import OrderBook
from md_platform.domain.events import (
    BookUpdate,
    Heartbeat,
    Malformed,
    ReconnectAsked,
    Refused,
    SequenceGap,
    Subscribed,
    Trade,
    TradingStatus,
    Unknown,
)
from md_platform.domain.instruments import Instrument
from md_platform.venues import bitfinex
from md_platform.venues.feeds import Subscription, shards
from md_platform_tests.venues.agreement import (
    RECEIVED,
    assert_books,
    assert_explained,
    assert_trades,
    confirmed,
    conversation,
)
from md_platform_tests.venues.replay import SHARED, capture, facts, final_books, replay

CAPTURE = "BITFINEX_20210417T163903"
FEED = bitfinex.BITFINEX.feeds[0]
BTC_USD = Instrument("bitfinex", "BTC", "USD", "tBTCUSD")
BTC = BTC_USD.id
TRADES = '{"event":"subscribed","channel":"trades","chanId":17470,"symbol":"tBTCUSD","pair":"BTCUSD"}'
BOOK = '{"event":"subscribed","channel":"book","chanId":7,"symbol":"tBTCUSD","prec":"P0","freq":"F0","len":"100"}'
CANDLES = '{"event":"subscribed","channel":"candles","chanId":9,"key":"trade:1m:tBTCUSD"}'
MS = 1_000_000


def conf(flags: int) -> str:
    return f'{{"event":"conf","status":"OK","flags":{flags}}}'


@pytest.mark.skipif(not SHARED.exists(), reason="captures are not here (../shared/data)")
def test_a_capture_gives_the_trades_books_and_numbers_that_others_counted():
    instruments = {s: Instrument("bitfinex", s[1:].replace(":", ""), "X", s) for s in final_books(CAPTURE)}
    out = replay(FEED, capture(CAPTURE), list(instruments.values()))

    known = facts(CAPTURE)
    assert_explained(out)
    assert out.kinds == {"Heartbeat": known["message_types"]["hb"], "Subscribed": 14, "TradingStatus": 1}
    assert confirmed(out) == {(channel, symbol) for channel in ("trades", "book") for symbol in instruments}
    assert out.live() == []
    assert assert_trades(out.trades, CAPTURE, instruments, late=True) == 210
    assert out.outcomes == {"applied": known["message_types"]["book:update"] + 7}
    assert assert_books(out, CAPTURE, instruments) == 7
    frames = [json.loads(record.data) for record in capture(CAPTURE) if record.t == "recv"]
    numbered = [frame for frame in frames if isinstance(frame, list)]
    assert len(numbered) - 1 == known["sequence"]["global_seq_ok"]  # and no SequenceGap among out.kinds


def test_flags_come_first_and_a_connection_carries_25_channels():
    subscriptions = [Subscription(channel, BTC_USD) for channel in ("trades", "book", "bars")]
    asked = [json.loads(message) for message in FEED.session(subscriptions).opening()]
    assert asked == [
        {"event": "conf", "flags": 32_768 + 65_536 + 131_072},
        {"event": "subscribe", "channel": "trades", "symbol": "tBTCUSD"},
        {"event": "subscribe", "channel": "book", "symbol": "tBTCUSD", "prec": "P0", "freq": "F0", "len": "100"},
        {"event": "subscribe", "channel": "candles", "key": "trade:1m:tBTCUSD"},
    ]
    assert [len(part) for part in shards(FEED, subscriptions * 20)] == [25, 25, 10]


def test_trades_are_told_once_with_the_takers_side_whatever_stands_behind_them():
    for flags, tail in ((0, ""), (65_536, ",1"), (32_768, ",1574694478999"), (229_376, ",1,1574694478999")):
        said = conversation(FEED, BTC_USD)
        assert said(conf(flags), TRADES) == [Subscribed("trades", ["tBTCUSD"])]
        executed = f'[17470,"te",[401597395,1574694478808,-0.005,7245.3]{tail}]'
        assert said(executed) == [Trade(BTC, 1574694478808 * MS, RECEIVED, 401597395, 7245.3, 0.005, "sell")]
        assert said(f'[17470,"tu",[401597395,1574694478808,-0.005,7245.3]{tail.replace(",1,", ",2,")}]') == []
        late = f"[17470,[[2,1574694478809,1,7],[1,1574694478808,2,7]]{tail.replace(',1,', ',3,')}]"
        assert [(t.trade_id, t.sent_late, t.taker_side) for t in said(late) if isinstance(t, Trade)] == [
            (1, True, "buy"), (2, True, "buy"),
        ]  # fmt: skip


def test_numbers_that_jump_are_a_gap_and_old_ones_are_not():
    said = conversation(FEED, BTC_USD)
    said(conf(65_536), TRADES)
    assert said('[17470,"hb",1]', '[17470,"hb",2]', '[17470,"hb",5]', '[17470,"hb",4]', '[17470,"hb",6]') == [
        Heartbeat(), Heartbeat(), SequenceGap(3, 5), Heartbeat(), Heartbeat(), Heartbeat(),
    ]  # fmt: skip


def test_a_books_checksum_is_of_the_digits_as_they_were_sent():
    said = conversation(FEED, BTC_USD)
    said(conf(229_376), BOOK)
    digits = "6000:1:6001:-2.50:5999.5:0.00000012:6002:-3"
    crc = zlib.crc32(digits.encode())
    signed = crc - (1 << 32) if crc >= 1 << 31 else crc
    book = OrderBook(FEED.book)
    events = said(
        "[7,[[6000,1,1],[5999.5,2,0.00000012],[5998,1,9],[6001,1,-2.50],[6002,4,-3]],1,1574694478808]",
        "[7,[5998,0,1],2,1574694478809]",
        f'[7,"cs",{signed},3,1574694478810]',
    )
    assert events[1] == BookUpdate(
        BTC, 1574694478809 * MS, RECEIVED, [("5998", "0")], [], sequence=2, previous_sequence=1
    )
    assert [book.apply(event) for event in events] == ["applied"] * 3
    assert book.asks() == [("6001", "2.50"), ("6002", "3")]
    (wrong,) = said(f'[7,"cs",{signed + 1},4,1574694478811]')
    assert book.apply(wrong) == "checksum"


def test_after_a_gap_no_book_follows_what_stood_before():
    said = conversation(FEED, BTC_USD)
    said(conf(65_536), BOOK)
    book = OrderBook(FEED.book)
    first, second, third = said("[7,[[6000,1,1],[6001,1,-2]],1]", "[7,[6000,1,2],2]", '[17470,"hb",3]')
    assert [book.apply(first), book.apply(second)] == ["applied"] * 2
    assert third == Heartbeat()
    jump, update = said("[7,[6000,1,3],5]")
    assert jump == SequenceGap(4, 5)
    assert book.apply(update) == "gap"


def test_candles_are_open_close_high_low():
    said = conversation(FEED, BTC_USD)
    assert said(CANDLES) == [Subscribed("bars", ["tBTCUSD"])]
    bars = said(
        "[9,[[1574698260000,7379.7,7383.8,7388.3,7379.7,1.68],[1574698200000,7399.9,7379.7,7399.9,7371.8,41.6]]]"
    )
    assert [(b.open_time // MS, b.open, b.close, b.high, b.low, b.volume, b.is_closed) for b in bars] == [
        (1574698200000, 7399.9, 7379.7, 7399.9, 7371.8, 41.6, True),
        (1574698260000, 7379.7, 7383.8, 7388.3, 7379.7, 1.68, False),
    ]
    assert [bar.is_closed for bar in said("[9,[1574698320000,7379.7,7383.8,7388.3,7379.7,1.68]]")] == [True, False]


def test_maintenance_restarts_and_refusals():
    said = conversation(FEED, BTC_USD)
    assert said('{"event":"info","version":2,"serverId":"x","platform":{"status":0}}') == [TradingStatus(True)]
    assert said('{"event":"info","code":20060,"msg":"Entering"}') == [TradingStatus(True, None, "Entering")]
    assert said('{"event":"info","code":20061,"msg":"Ended"}') == [
        TradingStatus(False, None, "Ended"), ReconnectAsked("Ended"),
    ]  # fmt: skip
    assert said('{"event":"info","code":20051,"msg":"Stopping"}') == [ReconnectAsked("Stopping")]
    refusal = '{"event":"error","msg":"symbol: invalid","code":10300,"channel":"book","symbol":"tNOPE","prec":"P0"}'
    assert said(refusal) == [Refused("10300 symbol: invalid", "book", ["tNOPE"])]
    limit = '{"event":"error","msg":"subscribe: limit","code":10305}'
    assert said(limit) == [Refused("10305 subscribe: limit")]
    assert said('{"event":"conf","status":"FAILED"}') == [Refused("flags 229376 were refused")]
    assert said('{"event":"pong","ts":1511545528111,"cid":1234}') == [Heartbeat()]


def test_what_is_not_explained_is_kept():
    said = conversation(FEED, BTC_USD)
    said(TRADES)
    strange = ('[17470,"fte",[1]]', "[5,[1]]", '{"event":"news"}', TRADES.replace("BTC", "ETH"))
    assert [type(event) for event in said(*strange)] == [Unknown] * 4
    wrong = ('[17470,"te",[1,2]]', '[17470,"te",null]', "[]", '[17470,"te",[1,"x",1,1]]', "7", b"\xff")
    assert [type(event) for event in said(*wrong)] == [Malformed] * 6
