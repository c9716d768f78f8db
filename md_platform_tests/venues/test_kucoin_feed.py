"""KuCoin's live parser: captures of 2021, whose protocol is still spoken, and what KuCoin documents."""

from collections import Counter

import msgspec
import pytest

from md_platform.domain.books import OrderBook
from md_platform.domain.events import (
    BookUpdate,
    Event,
    Heartbeat,
    Malformed,
    Quote,
    Refused,
    Subscribed,
    Trade,
    Unknown,
)
from md_platform.domain.instruments import Instrument
from md_platform.venues import kucoin
from md_platform_tests.venues.replay import (
    SHARED,
    capture,
    cells,
    expected_trades,
    facts,
    links,
    replay,
    subscribed,
    told,
)

NOW = 1_800_000_000_000_000_000
BTC = Instrument("kucoin", "BTC", "USDT", "BTC-USDT")

with_captures = pytest.mark.skipif(not SHARED.exists(), reason="captures are not here (../shared/data)")


def asked_in(name: str) -> list[Instrument]:
    """Instruments whose matches the capture's client asked."""
    topic = next(r.data for r in capture(name) if r.t == "send" and "/market/match:" in r.data)
    symbols = msgspec.json.decode(topic)["topic"].partition(":")[2].split(",")
    return [Instrument("kucoin", *symbol.split("-"), native=symbol) for symbol in symbols]


def received(*frames: object) -> list[Event]:
    session = kucoin.KucoinSession(subscribed(kucoin.FEED, [BTC]))
    session.opening()
    return session.receive([f if isinstance(f, bytes) else msgspec.json.encode(f) for f in frames], NOW)


@with_captures
@pytest.mark.parametrize(
    ("name", "confirmed", "quotes"),
    [("KUCOIN_20210423T000204", 2, 788), ("KUCOIN_20210425T191845_first8s", 13, 204)],
)
def test_a_capture_gives_the_trades_and_quotes(name: str, confirmed: int, quotes: int) -> None:
    known = facts(name)
    out = replay(kucoin.FEED, capture(name), asked_in(name))

    assert out.kinds == {"Subscribed": confirmed}
    assert told(out.trades) == expected_trades(name)
    assert Counter(t.instrument.removeprefix("kucoin:") for t in out.trades) == known["live_trades_by_symbol"]
    assert len(out.quotes) == quotes == known["message_types"]["message:trade.ticker"]


@with_captures
def test_books_align_with_their_snapshots_and_equal_the_tickers() -> None:
    name = "KUCOIN_20210425T191845_first8s"
    known = facts(name)
    instruments = asked_in(name)
    out = replay(kucoin.FEED, capture(name), instruments)

    assert links(kucoin.FEED, (u for u in out.updates if not u.is_snapshot)) == known["sequence"]["l2_sequence_ok"]
    assert not {"gap", "checksum"} & out.outcomes.keys()
    assert sum(out.outcomes.values()) == known["message_types"]["message:trade.l2update"] + 9
    compared = 0
    tops: dict[tuple[str, int], Quote] = {(q.instrument, q.sequence): q for q in out.quotes}
    books: dict[str, OrderBook] = {}
    for update in out.updates:
        book = books.setdefault(update.instrument, OrderBook(kucoin.FEED.book))
        book.apply(update)
        quote = tops.get((update.instrument, book.sequence or 0))
        top = book.top(update.instrument, 1)
        if quote and top:
            assert (top.bids[0], top.asks[0]) == ((quote.bid, quote.bid_size), (quote.ask, quote.ask_size))
            compared += 1
    assert compared > 100
    assert all(book.is_right and not book.is_crossed for book in books.values())


@with_captures
def test_candles_that_begin_are_told_beside_those_that_change() -> None:
    name = "KUCOIN_20210425T191845_first8s"
    out = replay(kucoin.FEED, capture(name), asked_in(name))

    [[_, _, start, opened, close, high, low, volume, turnover]] = cells(f"{name}.candles")  # trade.candles.update
    changed = out.bars[2]
    assert (changed.open_time, changed.is_closed) == (int(start) * 10**9, False)
    assert [changed.open, changed.close, changed.high, changed.low, changed.volume, changed.quote_volume] == [
        float(cell) for cell in (opened, close, high, low, volume, turnover)
    ]
    begun = [(bar.open_time // 10**9, bar.volume, bar.quote_volume, bar.is_closed) for bar in out.bars[:2]]
    assert begun == [(1619378220, 0.0, 0.0, True), (1619378280, 3437.9375, 0.00038556424505, False)]


@with_captures
def test_instruments_have_the_names_that_people_use() -> None:
    answer = next(r.payload for r in capture("KUCOIN_20210423T000204") if r.url.endswith("/symbols"))
    found = {each.id: each.native for each in kucoin.parse_instruments(answer, "kucoin")}
    assert found["kucoin:BTC-USDT"] == "BTC-USDT"
    assert found["kucoin:BSV-USDT"] == "BCHSV-USDT"
    assert len(found) == 631


def test_topics_hold_a_hundred_symbols_and_candles_one() -> None:
    many = [Instrument("kucoin", f"A{n}", "USDT", f"A{n}-USDT") for n in range(101)]
    session = kucoin.KucoinSession([s for s in subscribed(kucoin.FEED, many) if s.channel in ("trades", "bars")])
    messages = [msgspec.json.decode(message) for message in session.opening()]
    assert len(messages) == 2 + 101
    assert messages[1]["topic"] == "/market/match:A100-USDT"
    assert messages[2] == {"id": "3", "type": "subscribe", "topic": "/market/candles:A0-USDT_1min", "response": True}
    frames = [b'{"id":"2","type":"ack"}', b'{"id":"3","type":"ack"}']
    assert session.receive(frames, NOW) == [Subscribed("trades", ["A100-USDT"]), Subscribed("bars", ["A0-USDT"])]


def test_a_token_is_posted_for_and_names_the_address() -> None:
    server = {"endpoint": "wss://ws-api-spot.kucoin.com/", "pingInterval": 18000, "pingTimeout": 10000}
    answer = {"code": "200000", "data": {"token": "2neA==.WN+Q", "instanceServers": [server]}}
    assert kucoin.token_url(msgspec.json.encode(answer)) == "wss://ws-api-spot.kucoin.com/?token=2neA%3D%3D.WN%2BQ"
    assert kucoin.FEED.token_request is not None
    assert (kucoin.FEED.token_request.method, kucoin.FEED.token_request.path) == ("POST", "/api/v1/bullet-public")
    for wrong in (b"{}", b"not json", msgspec.json.encode({"data": {"token": "x", "instanceServers": []}})):
        with pytest.raises(ValueError, match=r"data|JSON|server"):
            kucoin.token_url(wrong)


def test_answers() -> None:
    assert received(
        {"id": "hQvf8jkno", "type": "welcome"},
        {"id": "ping", "type": "pong", "timestamp": 1},
        {"id": "1", "type": "error", "code": 404, "data": "topic /market/match:NO-USDT is not found"},
    ) == [Heartbeat(), Refused("404 topic /market/match:NO-USDT is not found", "trades", ["BTC-USDT"])]


def test_a_match_of_today_has_a_number_for_its_name() -> None:
    data = {"makerOrderId": "671b5007389355", "price": "67523", "sequence": "11067996711960577", "side": "sell"}
    data |= {"size": "0.003", "symbol": "BTC-USDT", "tradeId": "11067996711960577", "type": "match"}
    topic = {"topic": "/market/match:BTC-USDT", "type": "message", "subject": "trade.l3match"}
    assert received({**topic, "data": {**data, "time": "1729843222921000000"}}) == [
        Trade("kucoin:BTC-USDT", 1_729_843_222_921_000_000, NOW, "11067996711960577", 67523.0, 0.003, "sell")
    ]


def change(first: int, last: int, **sides: list[list[str]]) -> dict[str, object]:
    data = {"changes": {"asks": [], "bids": [], **sides}, "sequenceStart": first, "sequenceEnd": last}
    data |= {"symbol": "BTC-USDT", "time": 1729816425625}
    return {"topic": "/market/level2:BTC-USDT", "type": "message", "subject": "trade.l2update", "data": data}


def test_the_documented_example_of_a_book() -> None:
    """KuCoin's own: a snapshot at 16, changes of 15 to 19 that overlap it."""
    asks = [["3988.59", "3"], ["3988.60", "47"], ["3988.61", "32"], ["3988.62", "8"]]
    bids = [["3988.51", "56"], ["3988.50", "15"], ["3988.49", "100"], ["3988.48", "10"]]
    answer = {"code": "200000", "data": {"time": 1, "sequence": "16", "bids": bids, "asks": asks}}
    snapshot = kucoin.parse_snapshot(msgspec.json.encode(answer), BTC, NOW)
    changed = {
        "asks": [["3988.59", "3", "16"], ["3988.61", "0", "19"], ["3988.62", "8", "15"], ["0", "0", "17"]],
        "bids": [["3988.50", "44", "18"]],
    }
    [update] = received(change(15, 19, **changed))
    assert isinstance(update, BookUpdate)
    book = OrderBook(kucoin.FEED.book)
    assert [book.apply(update), book.apply(snapshot)] == ["waiting", "applied"]
    assert book.asks() == [("3988.59", "3"), ("3988.60", "47"), ("3988.62", "8")]
    assert book.bids() == [("3988.51", "56"), ("3988.50", "44"), ("3988.49", "100"), ("3988.48", "10")]
    [after] = received(change(21, 21))
    assert isinstance(after, BookUpdate)
    assert book.apply(after) == "gap"


def test_a_payload_that_is_no_book() -> None:
    for wrong in (b"{}", b"[]", b'{"code":"400100","msg":"symbol"}'):
        with pytest.raises(ValueError, match=r"data|object"):
            kucoin.parse_snapshot(wrong, BTC, NOW)


@pytest.mark.parametrize(
    ("frame", "kind"),
    [
        ({"topic": "/market/match:ETH-USDT", "type": "message", "data": {}}, Unknown),
        ({"topic": "/market/match:BTC-USDT", "type": "message", "data": "text"}, Unknown),
        ({"id": "1", "type": "unsubscribed"}, Unknown),
        ({"topic": "/market/match:BTC-USDT", "type": "message", "data": {"price": "1"}}, Malformed),
        ({"topic": "/market/level2:BTC-USDT", "type": "message", "data": {}}, Malformed),
        (change(1, 1, asks=[["1"]]), Malformed),
        ({"topic": "/market/candles:BTC-USDT_1min", "type": "message", "data": {"candles": ["1"]}}, Malformed),
        (b"\x00", Malformed),
    ],
)
def test_what_is_not_understood_is_kept(frame: object, kind: type) -> None:
    assert [type(event) for event in received(frame)] == [kind]
