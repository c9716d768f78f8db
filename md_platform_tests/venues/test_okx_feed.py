"""OKX's live parser: a capture of 2022 with checksums, and what OKX documents of today's protocol."""

from collections import Counter

import msgspec
import pytest

from md_platform.domain.books import OrderBook
from md_platform.domain.events import (
    Bar,
    BookUpdate,
    Event,
    Heartbeat,
    Malformed,
    Quote,
    ReconnectAsked,
    Refused,
    Subscribed,
    Trade,
    TradingStatus,
    Unknown,
)
from md_platform.domain.instruments import Instrument
from md_platform.venues import okx
from md_platform_tests.venues.replay import (
    SHARED,
    capture,
    expected_trades,
    facts,
    replay,
    subscribed,
    told,
)

NAME = "OKX_20220513T162316"
SPOT = Instrument("okx", "BTC", "USDT", "BTC-USDT")
SWAP = Instrument("okx", "BTC", "USDT", "BTC-USDT-SWAP", is_perpetual=True)
NOW = 1_800_000_000_000_000_000

with_captures = pytest.mark.skipif(not SHARED.exists(), reason="captures are not here (../shared/data)")


def received(*frames: object) -> list[Event]:
    session = okx.OkxSession(subscribed(okx.PUBLIC, [SPOT, SWAP]) + subscribed(okx.CANDLES, [SPOT, SWAP]))
    session.opening()
    return session.receive([f if isinstance(f, bytes) else msgspec.json.encode(f) for f in frames], NOW)


def book(action: str, sequence: int, previous: int, bids: list[list[str]], checksum: int = 0) -> dict[str, object]:
    row = {"bids": bids, "asks": [], "ts": "1700000000123", "checksum": checksum}
    arg = {"channel": "books", "instId": "BTC-USDT"}
    return {"arg": arg, "action": action, "data": [{**row, "seqId": sequence, "prevSeqId": previous}]}


@with_captures
def test_the_capture_gives_the_trades_and_every_checksum() -> None:
    known = facts(NAME)
    symbols = sorted(known["live_trades_by_symbol"])
    out = replay(okx.PUBLIC, capture(NAME), [Instrument("okx", symbol, "", symbol) for symbol in symbols])

    assert out.kinds == {"Subscribed": known["message_types"]["event:subscribe"]}
    assert told(out.trades) == expected_trades(NAME)
    assert Counter(t.instrument.removeprefix("okx:") for t in out.trades) == known["live_trades_by_symbol"]
    assert len(out.quotes) == known["message_types"]["tickers"]
    assert out.outcomes == {"applied": known["checksum"]["ok"]}
    assert all(update.checksum for update in out.updates)
    assert all(each.is_right and not each.is_crossed for each in out.books.values())
    assert max(len(each.bids()) for each in out.books.values()) == 400


@with_captures
def test_a_wrong_digit_fails_the_checksum() -> None:
    out = replay(okx.PUBLIC, capture(NAME), [SPOT])
    snapshot = next(update for update in out.updates if update.is_snapshot)
    price, size = snapshot.bids[0]
    assert OrderBook(okx.PUBLIC.book).apply(snapshot) == "applied"
    snapshot.bids[0] = (price, size + "0")
    assert OrderBook(okx.PUBLIC.book).apply(snapshot) == "checksum"


@with_captures
def test_instruments_are_spot_and_swaps() -> None:
    answers = [record.payload for record in capture(NAME) if "instType=S" in record.url][:2]
    found = {each.id: each.native for answer in answers for each in okx.parse_instruments(answer, "okx")}

    assert found["okx:BTC-USDT"] == "BTC-USDT"
    assert found["okx:BTC-USDT-PERP"] == "BTC-USDT-SWAP"
    assert found["okx:BTC-USD-PERP"] == "BTC-USD-SWAP"
    assert len(found) == 513 + 166


def test_subscriptions_are_batched_and_candles_have_an_address_of_their_own() -> None:
    many = [Instrument("okx", f"A{n}", "USDT", f"A{n}-USDT") for n in range(60)]
    messages = [msgspec.json.decode(m) for m in okx.OkxSession(subscribed(okx.PUBLIC, many)).opening()]
    assert [len(m["args"]) for m in messages] == [100, 81]
    assert messages[-1]["args"][-1] == {"channel": "status"}
    candles = msgspec.json.decode(okx.OkxSession(subscribed(okx.CANDLES, [SPOT])).opening()[0])
    assert candles == {"op": "subscribe", "args": [{"channel": "candle1m", "instId": "BTC-USDT"}]}
    assert okx.PUBLIC.urls[0].endswith("/public")
    assert okx.CANDLES.urls[0].endswith("/business")


def test_trades_are_aggregated_and_ids_are_numbers() -> None:
    arg = {"channel": "trades", "instId": "BTC-USDT"}
    row = {"instId": "BTC-USDT", "tradeId": "130639474", "px": "42219.9", "sz": "0.12060306", "side": "sell"}
    [trade] = received({"arg": arg, "data": [{**row, "ts": "1630048897897", "count": "3", "seqId": 1234}]})
    assert trade == Trade(
        "okx:BTC-USDT", 1_630_048_897_897_000_000, NOW, 130639474, 42219.9, 0.12060306, "sell", trade_count=3
    )


def test_the_best_of_a_book_is_a_quote_unless_a_side_is_empty() -> None:
    arg = {"channel": "bbo-tbt", "instId": "BTC-USDT"}
    both = {"asks": [["8476.98", "415", "0", "13"]], "bids": [["8476.97", "256", "0", "12"]], "ts": "1597026383085"}
    assert received({"arg": arg, "data": [{**both, "seqId": 123456}]}) == [
        Quote("okx:BTC-USDT", 1_597_026_383_085_000_000, NOW, 8476.97, 256.0, 8476.98, 415.0)
    ]
    assert received({"arg": arg, "data": [{**both, "asks": []}]}) == []


def test_candles_of_swaps_count_the_base_currency_as_those_of_spot_do() -> None:
    cells = ["1597026360000", "8533.02", "8553.74", "8527.17", "8548.26", "45247", "529.58", "5000000.5", "1"]
    spot, swap = received(
        {"arg": {"channel": "candle1m", "instId": "BTC-USDT"}, "data": [cells]},
        {"arg": {"channel": "candle1m", "instId": "BTC-USDT-SWAP"}, "data": [[*cells[:8], "0"]]},
    )
    assert isinstance(spot, Bar)
    assert isinstance(swap, Bar)
    assert (spot.volume, spot.is_closed, swap.volume, swap.is_closed) == (45247, True, 529.58, False)
    assert (spot.open, spot.high, spot.low, spot.close) == (8533.02, 8553.74, 8527.17, 8548.26)
    assert spot.quote_volume == swap.quote_volume == 5000000.5
    assert spot.close_time - spot.open_time == 60_000_000_000


def test_a_book_of_today_has_numbers_and_no_checksum() -> None:
    events = received(
        book("snapshot", 100, -1, [["10", "1", "0", "1"]]),
        book("update", 110, 100, [["9", "2", "0", "1"]]),
        book("update", 110, 110, []),  # nothing changed for a minute
        book("update", 5, 110, [["8", "3", "0", "1"]]),  # numbered anew after maintenance
        book("update", 9, 5, [["10", "0", "0", "0"]]),
        book("update", 20, 15, []),
    )
    kept = OrderBook(okx.PUBLIC.book)
    outcomes = [kept.apply(e) for e in events if isinstance(e, BookUpdate)]
    assert outcomes == ["applied"] * 5 + ["gap"]


def test_an_older_number_that_does_not_follow_is_a_gap_and_no_old_update() -> None:
    events = received(book("snapshot", 100, -1, [["10", "1", "0", "1"]]), book("update", 7, 3, []))
    kept = OrderBook(okx.PUBLIC.book)
    assert [kept.apply(e) for e in events if isinstance(e, BookUpdate)] == ["applied", "gap"]


def test_answers_and_maintenance() -> None:
    status = {"title": "Upgrade", "state": "ongoing", "serviceType": "5", "begin": "1672823400000"}
    assert received(
        b"pong",
        {"event": "subscribe", "arg": {"channel": "books", "instId": "BTC-USDT"}, "connId": "a4d3ae55"},
        {"event": "subscribe", "arg": {"channel": "status"}, "connId": "a4d3ae55"},
        {"event": "error", "code": "60018", "msg": "channel:books,instId:NO-USDT doesn't exist", "connId": "a4d3ae55"},
        {"event": "notice", "code": "64008", "msg": "The connection will soon be closed", "connId": "a4d3ae55"},
        {"arg": {"channel": "status"}, "data": [status]},
        {"arg": {"channel": "status"}, "data": [{**status, "state": "completed"}, {**status, "serviceType": "7"}]},
    ) == [
        Heartbeat(),
        Subscribed("book", ["BTC-USDT"]),
        Refused("60018 channel:books,instId:NO-USDT doesn't exist"),
        ReconnectAsked("64008 The connection will soon be closed"),
        TradingStatus(is_halted=True, reason="Upgrade"),
        TradingStatus(is_halted=False, reason="Upgrade"),
    ]


@pytest.mark.parametrize(
    ("frame", "kind"),
    [
        ({"arg": {"channel": "trades", "instId": "ETH-USDT"}, "data": []}, Unknown),
        ({"arg": {"channel": "funding-rate", "instId": "BTC-USDT"}, "data": []}, Unknown),
        ({"event": "login"}, Unknown),
        ({"arg": {"channel": "trades", "instId": "BTC-USDT"}, "data": [{"px": "1"}]}, Malformed),
        ({"arg": {"channel": "trades", "instId": "BTC-USDT"}, "data": [["1"]]}, Malformed),
        ({"arg": {"channel": "candle1m", "instId": "BTC-USDT"}, "data": [["1"]]}, Malformed),
        (book("merge", 1, 0, []), Malformed),
        (book("update", 1, 0, [["x", "1"]]), Malformed),
        (book("update", 1, 0, [["1"]]), Malformed),
        (b"\xff\xfe", Malformed),
        (b"[1]", Malformed),
    ],
)
def test_what_is_not_understood_is_kept(frame: object, kind: type) -> None:
    assert [type(event) for event in received(frame)] == [kind]
    assert [type(event) for event in received(b"pong", frame, b"pong")].count(kind) == 1
