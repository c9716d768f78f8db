"""Bitstamp's live parser against a real capture and documented messages."""

import json
from urllib.parse import urlsplit

import pytest

from md_platform.domain.events import Heartbeat, Malformed, ReconnectAsked, Refused, Unknown
from md_platform.domain.instruments import Instrument
from md_platform.storage.captures import Record
from md_platform.venues import bitstamp
from md_platform.venues.feeds import Subscription
from md_platform_tests.venues.agreement import (
    RECEIVED,
    assert_explained,
    assert_trades,
    confirmed,
    conversation,
    sequence_links,
)
from md_platform_tests.venues.replay import SHARED, capture, facts, replay

needs_captures = pytest.mark.skipif(not SHARED.exists(), reason="captures are not here (../shared/data)")

CAPTURE = "BITSTAMP_20220105T004810"
FEED = bitstamp.BITSTAMP.feeds[0]
SYMBOLS = ["sgbeur", "ethusd", "xrpeur", "bateur", "usdteur", "usdtusd", "xlmgbp", "adaeur", "batbtc", "galaeur"]
INSTRUMENTS = {symbol: Instrument("bitstamp", symbol.upper(), "X", symbol) for symbol in SYMBOLS}
BTC_USD = Instrument("bitstamp", "BTC", "USD", "btcusd")


def whose(record: Record) -> Instrument | None:
    *_, endpoint, symbol = urlsplit(record.url).path.rstrip("/").split("/")
    return INSTRUMENTS[symbol] if endpoint == "order_book" else None


@needs_captures
def test_a_capture_gives_the_trades_that_others_counted_and_whole_books():
    out = replay(FEED, capture(CAPTURE), list(INSTRUMENTS.values()), snapshot_of=whose)

    known = facts(CAPTURE)["message_types"]
    assert_explained(out)
    assert out.kinds == {"Subscribed": 20}
    assert confirmed(out) == {(channel, symbol) for channel in ("trades", "book") for symbol in SYMBOLS}
    assert assert_trades(out.trades, CAPTURE, INSTRUMENTS) == 10
    diffs = [update for update in out.updates if not update.is_snapshot]
    assert len(diffs) == known["data:diff_order_book_*"] == sequence_links(diffs)
    assert set(out.outcomes) == {"applied", "old"}  # those of before the REST answer are in it
    assert sum(out.outcomes.values()) == len(diffs) + 10
    assert [(book.is_right, book.is_crossed) for book in out.books.values()] == [(True, False)] * 10


@needs_captures
def test_changes_from_before_the_snapshot_are_in_it_and_those_after_fit_on_it():
    """A change that removes a level removes one that is there: true for all after the snapshot's time, for no other cut."""
    books = {
        urlsplit(r.url).path.rsplit("/", 1)[-1]: json.loads(r.data) for r in capture(CAPTURE) if "order_book" in r.url
    }
    unknown = 0
    for symbol, book in books.items():
        levels = {side: {float(price) for price, _ in book[side]} for side in ("bids", "asks")}
        for record in capture(CAPTURE):
            message = json.loads(record.data) if record.t == "recv" else {}
            data = message.get("data", {})
            if (
                message.get("channel") == f"diff_order_book_{symbol}"
                and data.get("microtimestamp", "0") > book["microtimestamp"]
            ):
                for side, known in levels.items():
                    for price, size in data[side]:
                        unknown += not float(size) and float(price) not in known
                        (known.add if float(size) else known.discard)(float(price))
    assert unknown == 0


def test_each_channel_is_its_own_message_and_books_are_asked_over_rest():
    session = FEED.session([Subscription("trades", BTC_USD), Subscription("book", BTC_USD)])
    assert [json.loads(message)["data"]["channel"] for message in session.opening()] == [
        "live_trades_btcusd",
        "diff_order_book_btcusd",
    ]
    assert FEED.snapshot_request(BTC_USD).path == "/api/v2/order_book/btcusd/"
    payload = b'{"timestamp":"1643643584","microtimestamp":"1643643584684047","bids":[["3284.06","0.16927410"]],"asks":[["3284.07","1"]]}'
    book = FEED.parse_snapshot(payload, BTC_USD, RECEIVED)
    assert (book.is_snapshot, book.sequence, book.bids) == (True, 1643643584684047, [("3284.06", "0.16927410")])
    for wrong in (b"<html>", b"{}", b'{"microtimestamp":"x","bids":[],"asks":[]}'):
        with pytest.raises(ValueError):  # noqa: PT011 - msgspec's and int's own words
            FEED.parse_snapshot(wrong, BTC_USD, RECEIVED)


def test_what_is_no_market_data():
    said = conversation(FEED, BTC_USD)
    assert said('{"event":"bts:request_reconnect","channel":"","data":""}') == [ReconnectAsked()]
    assert said('{"event":"bts:heartbeat","channel":"","data":{"status":"success"}}') == [Heartbeat()]
    refusal = '{"event":"bts:error","channel":"","data":{"code":null,"message":"Bad subscription string."}}'
    assert said(refusal) == [Refused("Bad subscription string.")]
    trade = '{"data":{"id":1,"amount_str":"1","price_str":"2","type":%s,"microtimestamp":"1643643584684047"},"channel":"live_trades_%s","event":"trade"}'
    (bought,) = said(trade % (0, "btcusd"))
    assert (bought.taker_side, bought.ts_event) == ("buy", 1643643584684047000)
    strange = ('{"event":"order_created","channel":"live_orders_btcusd","data":{}}', trade % (0, "ethusd"))
    assert [type(event) for event in said(*strange)] == [Unknown, Unknown]
    book = '{"event":"data","channel":"diff_order_book_btcusd","data":{"microtimestamp":"1","bids":[]}}'
    assert [
        type(e)
        for e in said(
            trade % (2, "btcusd"),
            trade % ("null", "btcusd"),
            book,
            '{"event":"trade","channel":"live_trades_btcusd","data":""}',
        )
    ] == [Malformed] * 4
