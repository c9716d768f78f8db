"""Kraken's live parsers, v2 and v1, against captures and the documentation's own messages."""

import json
from collections.abc import Iterator
from dataclasses import replace

import pytest

from md_platform.domain.events import (
    Bar,
    BookUpdate,
    Heartbeat,
    Malformed,
    Quote,
    Refused,
    Subscribed,
    Trade,
    TradingStatus,
    Unknown,
)
from md_platform.domain.instruments import Instrument
from md_platform.storage.captures import Record
from md_platform.venues import kraken_feed, kraken_v1_feed, venue_named
from md_platform.venues.feeds import Subscription
from md_platform_tests.venues.agreement import (
    RECEIVED,
    assert_books,
    assert_explained,
    assert_trades,
    confirmed,
    conversation,
)
from md_platform_tests.venues.replay import SHARED, capture, facts, final_books, replay

needs_captures = pytest.mark.skipif(not SHARED.exists(), reason="captures are not here (../shared/data)")

V1_CAPTURE = "KRAKEN_20210417T164852"
V2_CAPTURE = SHARED / "ws" / "kraken_v2" / "kraken_minagbp_d25_20260816.ndjson"
BTC_USD = Instrument("kraken", "BTC", "USD", "XXBTZUSD")
BTC = BTC_USD.id


def of_v1(pair: str) -> Instrument:
    base, quote = ("BTC" if code == "XBT" else code for code in pair.split("/"))
    return Instrument("kraken", base, quote, pair.replace("/", ""))


def v2_records() -> Iterator[Record]:
    yield Record("connect", "1", 0.0)
    for line in V2_CAPTURE.read_text().splitlines():
        head, is_frame, frame = line.partition('"frame": ')
        if is_frame and '"dir"' not in head:
            yield Record("recv", "1", 0.0, data=frame[:-1])  # the text as it was: its digits make the checksums


@needs_captures
def test_v1_gives_the_trades_and_books_that_others_counted_and_every_checksum_passes():
    instruments = {pair: of_v1(pair) for pair in final_books(V1_CAPTURE)}
    feed = replace(kraken_v1_feed.V1, book=replace(kraken_v1_feed.V1.book, depth=1_000))  # as the capture asked
    out = replay(feed, capture(V1_CAPTURE), list(instruments.values()))

    known = facts(V1_CAPTURE)
    assert_explained(out)
    assert out.kinds == {
        "Heartbeat": known["message_types"]["event:heartbeat"],
        "Subscribed": known["message_types"]["event:subscriptionStatus"],
        "TradingStatus": known["message_types"]["event:systemStatus"],
    }
    assert confirmed(out) == {(c, i.native) for c in ("trades", "quotes", "book") for i in instruments.values()}
    assert assert_trades(out.trades, V1_CAPTURE, instruments, ids=False) == 10
    assert len({(trade.instrument, trade.trade_id) for trade in out.trades}) == 10
    assert len(out.quotes) == known["message_types"]["ticker"]
    with_checksum = [update for update in out.updates if update.checksum is not None]
    assert len(with_checksum) == known["checksum"]["ok"] == 4_269
    assert out.outcomes == {"applied": 4_269 + 10}
    assert assert_books(out, V1_CAPTURE, instruments) == 10


@needs_captures
def test_v2_books_pass_every_checksum():
    feed = replace(kraken_feed.V2, book=replace(kraken_feed.V2.book, depth=25))  # as the capture asked
    out = replay(feed, v2_records(), [Instrument("kraken", "MINA", "GBP", "MINAGBP")])

    assert out.kinds == {"Heartbeat": 60, "TradingStatus": 1, "Subscribed": 1}
    assert confirmed(out) == {("book", "MINAGBP")}
    assert all(update.checksum for update in out.updates)
    assert out.outcomes == {"applied": 30}
    assert [update.is_snapshot for update in out.updates] == [True] + [False] * 29
    assert (len(out.books["kraken:MINA-GBP"].bids()), out.books["kraken:MINA-GBP"].is_crossed) == (25, False)


@needs_captures
def test_a_checksum_notices_a_digit_that_is_not_the_venues():
    records = [replace_digits(record) for record in v2_records()]
    feed = replace(kraken_feed.V2, book=replace(kraken_feed.V2.book, depth=25))
    out = replay(feed, records, [Instrument("kraken", "MINA", "GBP", "MINAGBP")])
    assert out.outcomes["checksum"] == 1


def replace_digits(record: Record) -> Record:
    return Record(record.t, record.conn, record.ts, data=record.data.replace("13099.18007352", "13099.18007353"))


def test_v2_asks_for_each_channel_in_messages_of_a_hundred_symbols():
    many = [Instrument("kraken", f"C{n}", "USD", f"C{n}USD") for n in range(120)]
    session = kraken_feed.V2.session([Subscription(channel, i) for channel in ("trades", "book") for i in many])
    asked = [json.loads(message) for message in session.opening()]
    assert [(a["params"]["channel"], len(a["params"].get("symbol", ()))) for a in asked] == [
        ("trade", 100),
        ("trade", 20),
        ("book", 100),
        ("book", 20),
        ("instrument", 0),
    ]
    assert asked[2]["params"]["symbol"][0] == "C0/USD"
    assert asked[2]["params"]["depth"] == kraken_feed.V2.book.depth
    assert len({a["req_id"] for a in asked}) == len(asked)


def test_v2_trades_quotes_and_candles_read_as_documented():
    said = conversation(kraken_feed.V2, BTC_USD)
    assert said(
        '{"channel":"trade","type":"update","data":[{"symbol":"BTC/USD","side":"buy","price":105944.20,"qty":0.00027625,'
        '"ord_type":"limit","trade_id":10218208,"timestamp":"2023-10-06T17:35:55.440295Z"},{"symbol":"BTC/USD","side":'
        '"sell","price":105910,"qty":1,"ord_type":"market","trade_id":10218209,"timestamp":"2023-10-06T17:35:56.123456Z"}]}'
    ) == [
        Trade(BTC, 1696613755440295000, RECEIVED, 10218208, 105944.2, 0.00027625, "buy"),
        Trade(BTC, 1696613756123456000, RECEIVED, 10218209, 105910.0, 1.0, "sell"),
    ]
    assert said(
        '{"channel":"ticker","type":"update","data":[{"symbol":"BTC/USD","bid":105944.20,"bid_qty":2.5,"ask":105944.30,'
        '"ask_qty":3.2,"last":105899.40,"timestamp":"2022-12-25T09:30:59.123456Z"}]}'
    ) == [Quote(BTC, 1671960659123456000, RECEIVED, 105944.2, 2.5, 105944.3, 3.2)]

    def candle(minute: int) -> str:
        return (
            '{"channel":"ohlc","type":"update","data":[{"symbol":"BTC/USD","open":4.0,"high":5.0,"low":3.0,"close":4.5,'
            f'"trades":7,"volume":2.5,"vwap":4.2,"interval_begin":"2023-10-04T16:{minute}:00.000000000Z","interval":1}}]}}'
        )

    opened = 1696436700000000000
    values = 4.0, 5.0, 3.0, 4.5, 2.5, None, 7, None, None
    first = Bar(BTC, "1m", opened, opened + 60 * 10**9, *values, False, "venue", 0, RECEIVED)
    assert said(candle(25)) == [first]
    closed, second = said(candle(26))
    assert closed == Bar(BTC, "1m", opened, opened + 60 * 10**9, *values, True, "venue", 0, RECEIVED)
    assert (second.open_time, second.is_closed) == (opened + 60 * 10**9, False)


def test_v2_halts_refusals_and_what_nobody_asked_for():
    said = conversation(kraken_feed.V2, BTC_USD)
    status = '{"channel":"status","type":"update","data":[{"system":"%s","api_version":"v2","connection_id":1,"version":"2"}]}'
    assert said(status % "maintenance") == [TradingStatus(True, None, "maintenance")]
    assert said(status % "online") == [TradingStatus(False, None, "online")]
    pairs = '{"channel":"instrument","type":"update","data":{"assets":[],"pairs":[{"symbol":"BTC/USD","status":"%s"},{"symbol":"X/Y","status":"delisted"}]}}'
    assert said(pairs % "online") == []
    assert said(pairs % "cancel_only") == [TradingStatus(True, BTC, "cancel_only")]
    assert said(pairs % "cancel_only") == []
    assert said(pairs % "limit_only") == [TradingStatus(False, BTC, "limit_only")]
    refusal = '{"error":"Currency pair not supported BTC/USD","method":"subscribe","req_id":%d,"success":false,"symbol":"BTC/USD"}'
    assert said(refusal % 1) == [Refused("Currency pair not supported BTC/USD", "bars", ["XXBTZUSD"])]
    halts = '{"error":"Channel not supported","method":"subscribe","req_id":5,"success":false}'
    assert [type(event) for event in said(halts)] == [Unknown]
    assert said('{"error":"Malformed request","success":false}') == [Refused("Malformed request")]
    answer = '{"method":"subscribe","result":{"channel":"%s","symbol":"%s","snapshot":true},"success":true}'
    assert said(answer % ("trade", "BTC/USD")) == [Subscribed("trades", ["XXBTZUSD"])]
    assert said(answer % ("instrument", "")) == []
    assert [type(event) for event in said(answer % ("trade", "ETH/USD"), '{"channel":"level3","data":[]}')] == [
        Unknown
    ] * 2
    assert said('{"method":"pong","req_id":3}', '{"channel":"heartbeat"}') == [Heartbeat()] * 2
    (unmapped,) = said(
        '{"channel":"book","type":"update","data":[{"symbol":"ETH/USD","bids":[],"asks":[],"checksum":1}]}'
    )
    assert isinstance(unmapped, Unknown)
    (wrong,) = said('{"channel":"trade","type":"update","data":[{"symbol":"BTC/USD"}]}')
    assert isinstance(wrong, Malformed)


def test_v1_reads_as_documented():
    said = conversation(kraken_v1_feed.V1, BTC_USD)
    spread = '[0,["5698.40000","5700.00000","1542057299.545897","1.01234567","0.98765432"],"spread","XBT/USD"]'
    assert said(spread) == [Quote(BTC, 1542057299545897000, RECEIVED, 5698.4, 1.01234567, 5700.0, 0.98765432)]
    row = '["5541.20000","0.15850568","1534614057.321597","s","l",""]'
    first, second = said(f'[0,[{row},{row}],"trade","XBT/USD"]')
    assert (first.ts_event, first.taker_side, first.price) == (1534614057321597000, "sell", 5541.2)
    assert first.trade_id == "1534614057.321597 5541.20000 0.15850568 sl"
    assert second.trade_id == first.trade_id + " 2"
    ohlc = '[42,["1542057314.748456","1542057360.000000","3586.7","3588.0","3586.6","3587.5","3586.68894","0.03373000",2],"ohlc-1","XBT/USD"]'
    (bar,) = said(ohlc)
    assert (bar.open_time, bar.close_time) == (1542057300000000000, 1542057360000000000)
    assert (bar.open, bar.high, bar.low, bar.close, bar.volume, bar.trade_count) == (
        3586.7,
        3588.0,
        3586.6,
        3587.5,
        0.03373,
        2,
    )
    refusal = '{"errorMessage":"Subscription depth not supported","event":"subscriptionStatus","pair":"XBT/USD","status":"error","subscription":{"depth":42,"name":"book"}}'
    assert said(refusal) == [Refused("Subscription depth not supported", "book", ["XXBTZUSD"])]
    assert said('{"event":"systemStatus","status":"cancel_only"}') == [TradingStatus(True, None, "cancel_only")]
    assert said('{"event":"pong"}', '{"event":"error","errorMessage":"no"}') == [Heartbeat(), Refused("no")]
    republished = '[1,{"b":[["5.1","0.00000000","1534614335.345903"],["5.0","2.0","1534614248.123678","r"]],"c":"974942666"},"book-100","XBT/USD"]'
    (update,) = said(republished)
    assert update == BookUpdate(
        BTC, 1534614335345903000, RECEIVED, [("5.1", "0.00000000"), ("5.0", "2.0")], [], checksum=974942666
    )
    assert [type(e) for e in said('[0,[],"trade","ETH/XBT"]', '[0,{},"own","XBT/USD"]', "[1]", '[0,[["1"]],"trade","XBT/USD"]')] == [
        Unknown, Unknown, Unknown, Malformed,
    ]  # fmt: skip


def test_kraken_speaks_v2_first_and_v1_beside():
    assert [feed.name for feed in venue_named("kraken").feeds] == ["kraken", "kraken-v1"]
    assert kraken_v1_feed.pair_of(Instrument("kraken", "DOGE", "BTC", "XXDGXXBT")) == "XDG/XBT"
    ours = [feed for name in ("kraken", "sandbox-kraken") for feed in venue_named(name).feeds]
    assert all(feed.ping is not None and b"ping" in feed.ping() for feed in ours)
