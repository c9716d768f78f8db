"""Bybit's live parsers: captures of v5 (2025, 2026) and of v2 (2021), and what Bybit documents."""

from collections import Counter
from collections.abc import Iterable

import msgspec
import pytest

from md_platform.domain.books import OrderBook
from md_platform.domain.events import (
    Bar,
    BookUpdate,
    Event,
    Heartbeat,
    Malformed,
    Refused,
    Subscribed,
    Unknown,
)
from md_platform.domain.instruments import Instrument
from md_platform.venues import bybit
from md_platform.venues import bybit_2021_feed as v2
from md_platform_tests.venues.replay import (
    SHARED,
    capture,
    drawn,
    expected_candles,
    expected_trades,
    facts,
    links,
    replay_each,
    subscribed,
    told,
)

NOW = 1_800_000_000_000_000_000
BTC = Instrument("bybit", "BTC", "USDT", "BTCUSDT")
INVERSE = Instrument("bybit", "BTC", "USD", "BTCUSD", is_perpetual=True)

with_captures = pytest.mark.skipif(not SHARED.exists(), reason="captures are not here (../shared/data)")


def perpetuals(symbols: Iterable[str]) -> list[Instrument]:
    return [Instrument("bybit", symbol, "", symbol, is_perpetual=True) for symbol in symbols]


def spots(symbols: Iterable[str]) -> list[Instrument]:
    return [Instrument("bybit", symbol, "", symbol) for symbol in symbols]


def received(*frames: object, instrument: Instrument = BTC) -> list[Event]:
    session = bybit.BybitSession(subscribed(bybit.SPOT, [instrument]))
    session.opening()
    return session.receive([f if isinstance(f, bytes) else msgspec.json.encode(f) for f in frames], NOW)


@with_captures
def test_spot_and_linear_of_2026_give_the_trades_candles_and_books() -> None:
    name = "BYBIT_20260809T212657_first8s"
    known = facts(name)
    linear = perpetuals(("BTCUSDT", "ETHUSDT", "SOLUSDT", "DOGEUSDT"))
    feeds = [(bybit.LINEAR, linear), (bybit.SPOT, spots(("BTCUSDT", "ETHUSDT")))]
    out = replay_each(feeds, capture(name))

    assert out.kinds == {"Subscribed": known["message_types"]["op:subscribe"]}
    assert told(out.trades) == expected_trades(name)
    symbols = Counter(t.instrument.removeprefix("bybit:").removesuffix("-PERP") for t in out.trades)
    assert symbols == known["live_trades_by_symbol"]
    assert drawn(out.bars) == expected_candles(name)
    assert links(bybit.SPOT, out.updates) == known["sequence"]["orderbook_u_ok"]
    assert out.outcomes == {"applied": 408 + 6}
    for book in out.books.values():
        assert book.is_right
        assert not book.is_crossed
        assert (len(book.bids()), len(book.asks())) == (200, 200)


@with_captures
def test_books_of_depth_one_are_quotes() -> None:
    name = "BYBIT_20250613T165111"
    sent = [(r.addr, r.data.split("orderbook.1.")[1].split('"')[0]) for r in capture(name) if r.t == "send"]
    linear = perpetuals(symbol for address, symbol in sent if address.endswith("linear"))
    spot = spots(symbol for address, symbol in sent if address.endswith("spot"))
    out = replay_each([(bybit.LINEAR, linear), (bybit.SPOT, spot)], capture(name))

    assert out.kinds == {"Subscribed": 10}
    assert len(out.quotes) == facts(name)["message_types"]["orderbook.1:snapshot"]
    assert all(quote.bid < quote.ask for quote in out.quotes)
    assert {quote.instrument for quote in out.quotes} == {each.id for each in linear + spot}
    first = out.quotes[0]
    assert (first.instrument, first.bid, first.bid_size, first.ask, first.ask_size, first.ts_event) == (
        "bybit:BANDUSDT-PERP",
        0.6131,
        17.9,
        0.6134,
        35.4,
        1_749_833_474_768_000_000,
    )


@with_captures
def test_the_protocol_of_2021_gives_the_trades_and_books() -> None:
    name = "BYBIT_20210417T164305"
    known = facts(name)
    symbols = sorted(known["live_trades_by_symbol"])
    linear = perpetuals(symbol for symbol in symbols if symbol.endswith("USDT"))
    inverse = perpetuals(symbol for symbol in symbols if not symbol.endswith("USDT"))
    out = replay_each([(v2.LINEAR, linear), (v2.INVERSE, inverse)], capture(name))

    assert out.kinds == {"Subscribed": 20}
    assert told(out.trades) == expected_trades(name)
    symbols_told = Counter(t.instrument.removeprefix("bybit:").removesuffix("-PERP") for t in out.trades)
    assert symbols_told == known["live_trades_by_symbol"]
    assert out.outcomes == {"applied": 10 + 4268}
    for book in out.books.values():
        assert not book.is_crossed
        assert (len(book.bids()), len(book.asks())) == (25, 25)
    bch = next(u for u in out.updates if u.instrument == "bybit:BCHUSDT-PERP" and not u.is_snapshot)
    assert ("1054.15", "10.969999") in bch.bids  # digits as they were written


@with_captures
def test_instruments_are_spot_or_perpetuals() -> None:
    answers = [r.payload for r in capture("BYBIT_20260809T212657_first8s") if r.t == "http"]
    linear, spot = ([*bybit.parse_instruments(answer, "bybit")] for answer in answers)
    assert {"bybit:BTC-USDT-PERP", "bybit:BTC-USDC-PERP"} <= {each.id for each in linear}
    assert next(each for each in linear if each.id == "bybit:BTC-USDC-PERP").native == "BTCPERP"
    assert next(each for each in spot if each.id == "bybit:BTC-USDT").native == "BTCUSDT"
    assert not any("-" in each.native for each in linear)  # nothing that is delivered


def test_ten_topics_a_message_and_the_answer_names_its_number() -> None:
    session = bybit.BybitSession(subscribed(bybit.SPOT, spots(("A", "B", "C"))))
    messages = [msgspec.json.decode(message) for message in session.opening()]
    assert [(m["req_id"], len(m["args"])) for m in messages] == [("1", 10), ("2", 2)]
    assert messages[0]["args"][:4] == ["kline.1.A", "orderbook.200.A", "orderbook.1.A", "publicTrade.A"]
    ok = {"success": True, "ret_msg": "subscribe", "conn_id": "x", "op": "subscribe", "req_id": "2"}
    bad = {"success": False, "ret_msg": "error:handler not found,topic:kline.1.A", "op": "subscribe", "req_id": "1"}
    events = session.receive([msgspec.json.encode(ok), msgspec.json.encode(bad)], NOW)
    assert events[:2] == [Subscribed("quotes", ["C"]), Subscribed("trades", ["C"])]
    assert events[2] == Refused("error:handler not found,topic:kline.1.A", "bars", ["A", "B", "C"])
    assert len(events) == 6


def test_pongs_and_refusals() -> None:
    assert received(
        {"success": True, "ret_msg": "pong", "conn_id": "0970e817", "op": "ping"},
        {"req_id": "2", "op": "pong", "args": ["1757405570352"], "conn_id": "d266"},
        {"success": False, "ret_msg": "error:invalid op", "conn_id": "5e079fdd", "op": ""},
    ) == [Heartbeat(), Heartbeat(), Refused("error:invalid op")]


def test_a_restarted_service_sends_the_book_again_and_a_jump_is_a_gap() -> None:
    def message(kind: str, u: int) -> dict[str, object]:
        data = {"s": "BTCUSDT", "b": [["10", "1"]], "a": [["11", "1"]], "u": u, "seq": 7961638724}
        return {"topic": "orderbook.200.BTCUSDT", "type": kind, "ts": 1687940967466, "data": data, "cts": 1687940967464}

    events = received(message("snapshot", 50), message("delta", 51), message("snapshot", 1), message("delta", 2))
    updates = [event for event in [*events, *received(message("delta", 4))] if isinstance(event, BookUpdate)]
    book = OrderBook(bybit.SPOT.book)
    assert [book.apply(update) for update in updates] == ["applied"] * 4 + ["gap"]
    assert updates[0].ts_event == 1_687_940_967_464_000_000


def test_the_turnover_of_inverse_contracts_is_no_quote_volume() -> None:
    row = {"start": 1672324800000, "end": 1672324859999, "interval": "1", "open": "16649.5", "close": "16677"}
    row |= {"high": "16677", "low": "16608", "volume": "2081", "turnover": "0.125", "confirm": True}
    [bar] = received({"topic": "kline.1.BTCUSD", "type": "snapshot", "data": [row]}, instrument=INVERSE)
    assert isinstance(bar, Bar)
    assert (bar.quote_volume, bar.volume, bar.is_closed, bar.timeframe) == (None, 2081, True, "1m")


@pytest.mark.parametrize(
    ("frame", "kind"),
    [
        ({"topic": "publicTrade.ETHUSDT", "data": []}, Unknown),
        ({"op": "auth", "success": True}, Unknown),
        ({}, Unknown),
        ({"topic": "publicTrade.BTCUSDT", "data": {"b": []}}, Malformed),
        ({"topic": "publicTrade.BTCUSDT", "data": [{"p": "1", "v": "1", "S": "Both"}]}, Malformed),
        ({"topic": "orderbook.1.BTCUSDT", "type": "delta", "data": {"b": [], "a": []}}, Malformed),
        ({"topic": "orderbook.200.BTCUSDT", "type": "delta", "data": []}, Malformed),
        ({"topic": "orderbook.200.BTCUSDT", "type": "delta", "data": {"b": [["nine", "1"]], "u": 1}}, Malformed),
        (b"{", Malformed),
    ],
)
def test_what_is_not_understood_is_kept(frame: object, kind: type) -> None:
    assert [type(event) for event in received(frame)] == [kind]


def test_the_protocol_of_2021_keeps_what_it_does_not_understand() -> None:
    session = v2.Bybit2021Session(subscribed(v2.LINEAR, [INVERSE]))
    assert [msgspec.json.decode(message)["args"] for message in session.opening()] == [
        ["orderBookL2_25.BTCUSD", "trade.BTCUSD"]
    ]
    asked = {"op": "subscribe", "args": ["trade.NOUSD"]}
    frames = [
        {"success": False, "ret_msg": "error:topic:trade.NOUSD", "request": asked},
        {"success": True, "ret_msg": "pong", "request": {"op": "ping", "args": None}},
        {"topic": "trade.NOUSD", "data": []},
        {"topic": "trade.BTCUSD", "data": [{"side": "Buy", "price": "1", "size": 1}]},
        {"topic": "orderBookL2_25.BTCUSD", "type": "delta", "data": {"delete": [{"side": "Buy"}]}},
        {"topic": "orderBookL2_25.BTCUSD", "type": "delta", "data": []},
    ]
    events = session.receive([msgspec.json.encode(frame) for frame in frames], NOW)
    assert events[:2] == [Refused("error:topic:trade.NOUSD", "trades", ["NOUSD"]), Heartbeat()]
    assert [type(event) for event in events[2:]] == [Unknown, Malformed, Malformed, Malformed]
