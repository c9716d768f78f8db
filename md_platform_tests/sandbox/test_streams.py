"""Streams without sockets: what a session says is what history says, however time is cut."""

import json
from itertools import pairwise
from zlib import crc32

import pytest

from md_platform.domain.intervals import Timeframe
from md_platform.sandbox.binance import BinanceRest
from md_platform.sandbox.binance_payloads import kline_row
from md_platform.sandbox.binance_stream import BinanceSession, BinanceStreams
from md_platform.sandbox.coinbase import CoinbaseRest, rfc3339
from md_platform.sandbox.coinbase_stream import CoinbaseSession, CoinbaseStreams
from md_platform.sandbox.history import History
from md_platform.sandbox.kraken import KrakenRest
from md_platform.sandbox.kraken_stream import KrakenSession, KrakenStreams
from md_platform.sandbox.kraken_v1 import KrakenV1Session, KrakenV1Streams
from md_platform.sandbox.listings import listings
from md_platform.sandbox.prices import HOUR_US
from md_platform.sandbox.rest import Request
from md_platform.sandbox.simulation import Halt, Simulation

HISTORY = History(Simulation(1, listings()))
START_US = 494_000 * HOUR_US - 45_300_000
END_US = START_US + 150_000_000


def after(start_us, end_us, pieces=7):
    """Uneven cuts of a span."""
    cuts = [start_us + (end_us - start_us) * n * n // pieces**2 for n in range(pieces + 1)]
    return list(pairwise(cuts))


def streamed(session, cuts):
    return [json.loads(frame.text) for since, now in cuts for frame in session.due(since, now)]


def binance(*names, history=HISTORY):
    return (
        BinanceSession(BinanceStreams(history), "/ws", "/".join(names), START_US)
        if not names
        else BinanceSession(BinanceStreams(history), "/ws/" + "/".join(names), "", START_US)
    )


def coinbase(channel, *products):
    session = CoinbaseSession(CoinbaseStreams(HISTORY))
    said = session.receive(json.dumps({"type": "subscribe", "channel": channel, "product_ids": products}), START_US)
    return session, [json.loads(frame.text) for frame in said]


def kraken(channel, *symbols, **params):
    session = KrakenSession(KrakenStreams(HISTORY))
    request = {"method": "subscribe", "params": {"channel": channel, "symbol": symbols, **params}, "req_id": 7}
    return session, [
        json.loads(frame.text, parse_float=str) for frame in session.receive(json.dumps(request), START_US)
    ]


@pytest.mark.parametrize(
    "open_session",
    [
        lambda: binance(
            "btcusdt@trade", "ethbtc@depth@100ms", "dotusdt@kline_1m", "ethusdt@bookTicker", "xrpusdt@depth"
        ),
        lambda: coinbase("market_trades", "BTC-USD", "DOT-USD")[0],
        lambda: coinbase("level2", "ETH-BTC")[0],
        lambda: coinbase("candles", "BTC-USD")[0],
        lambda: kraken("trade", "BTC/USD")[0],
        lambda: kraken("book", "DOGE/USD")[0],
        lambda: kraken("ohlc", "BTC/USD", interval=5)[0],
    ],
)
def test_cutting_time_differently_changes_nothing(open_session):
    whole = streamed(open_session(), [(START_US, END_US)])
    assert len(whole) > 20

    def key(message):
        return json.dumps({k: v for k, v in message.items() if k != "sequence_num"}, sort_keys=True)

    assert sorted(map(key, streamed(open_session(), after(START_US, END_US)))) == sorted(map(key, whole))


def test_binance_trades_are_historys():
    api = BinanceRest(HISTORY)
    for symbol in ("BTCUSDT", "LTCBTC"):
        live = streamed(binance(f"{symbol.lower()}@trade"), after(START_US, END_US))
        asked = Request(
            "/api/v3/historicalTrades", {"symbol": symbol, "fromId": str(live[0]["t"]), "limit": "1000"}, END_US + 1
        )
        rows = json.loads(api.respond(asked).body)
        mine = [(m["t"], m["p"], m["q"], m["T"], m["m"]) for m in live]
        assert mine == [(r["id"], r["price"], r["qty"], r["time"], r["isBuyerMaker"]) for r in rows]


def test_binance_aggregates_are_historys():
    live = streamed(binance("ethusdt@aggTrade"), after(START_US, END_US))
    span = {"startTime": str(START_US // 1_000 + 1), "endTime": str(END_US // 1_000), "limit": "1000"}
    rows = json.loads(
        BinanceRest(HISTORY).respond(Request("/api/v3/aggTrades", {"symbol": "ETHUSDT", **span}, END_US + 1)).body
    )
    assert [{k: m[k] for k in rows[0]} for m in live] == rows


@pytest.mark.parametrize("symbol", ["BTCUSDT", "LTCBTC"])
def test_closed_klines_are_historys_and_the_running_ones_lead_to_them(symbol):
    end_us = START_US + 600_000_000
    live = streamed(binance(f"{symbol.lower()}@kline_1m"), after(START_US, end_us))
    closed = [m["k"] for m in live if m["k"]["x"]]
    assert len(closed) == 10
    listing = HISTORY.simulation.listings[f"binance:{symbol[:3]}-{symbol[3:]}"]
    bars = HISTORY.filled_bars(listing, Timeframe.M1, closed[0]["t"] * 1_000, end_us, end_us)[:10]
    order = ("t", "o", "h", "l", "c", "v", "T", "q", "n", "V", "Q", "B")
    assert [[k[name] for name in order] for k in closed] == [kline_row(bar) for bar in bars]
    for k in closed:
        trades = HISTORY.trades(listing, k["t"] * 1_000, (k["T"] + 1) * 1_000)
        assert (k["f"], k["L"]) == ((trades[0].id, trades[-1].id) if trades else (-1, -1))
        running = [m["k"] for m in live if m["k"]["t"] == k["t"] and not m["k"]["x"]]
        assert [r["n"] for r in running] == sorted({r["n"] for r in running})


@pytest.mark.parametrize("speed", ["@100ms", "", "@1000ms"])
def test_binance_depth_continues_and_ends_at_the_snapshot(speed):
    session = binance(f"btcusdt@depth{speed}")
    api = BinanceRest(HISTORY)

    def snapshot(now_us):
        return json.loads(api.respond(Request("/api/v3/depth", {"symbol": "BTCUSDT"}, now_us)).body)

    first, live = snapshot(START_US), streamed(session, after(START_US, END_US))
    usable = [m for m in live if m["u"] > first["lastUpdateId"]]
    assert usable[0]["U"] <= first["lastUpdateId"] + 1
    assert all(left["u"] + 1 == right["U"] for left, right in pairwise(usable))
    sides = {"b": dict(first["bids"]), "a": dict(first["asks"])}
    for message in usable:
        for side, levels in sides.items():
            levels.update(message[side])
    last = snapshot(usable[-1]["E"] * 1_000)
    for side, name in (("b", "bids"), ("a", "asks")):
        assert {p: q for p, q in sides[side].items() if float(q)} == dict(last[name])
    assert last["lastUpdateId"] == usable[-1]["u"]


def test_binance_depth_goes_on_after_a_halt_where_it_stopped():
    history = History(Simulation(1, listings(), (Halt("*", START_US + 20_000_000, START_US + 80_000_000),)))
    live = streamed(binance("btcusdt@depth@100ms", history=history), after(START_US, END_US))
    assert all(left["u"] + 1 == right["U"] for left, right in pairwise(live))
    assert max(right["E"] - left["E"] for left, right in pairwise(live)) >= 60_000


def test_coinbase_trades_are_historys():
    session, said = coinbase("market_trades", "BTC-USD")
    snapshot = said[0]["events"][0]["trades"]
    updates = [m["events"][0]["trades"] for m in streamed(session, after(START_US, END_US))]
    live = [trade for rows in updates for trade in reversed(rows)]
    assert int(live[0]["trade_id"]) <= int(snapshot[0]["trade_id"]) + 1
    asked = Request("/api/v3/brokerage/market/products/BTC-USD/ticker", {"limit": "1000"}, END_US)
    rows = {row["trade_id"]: row for row in json.loads(CoinbaseRest(HISTORY).respond(asked).body)["trades"]}
    assert len(live) > 20
    assert all({k: rows[t["trade_id"]][k] for k in t} == t for t in live)


def test_coinbase_numbers_every_message_of_a_connection():
    session, said = coinbase("level2", "BTC-USD")
    said += [json.loads(f.text) for f in session.receive('{"type":"subscribe","channel":"heartbeats"}', START_US)]
    messages = said + streamed(session, after(START_US, END_US))
    assert [m["sequence_num"] for m in messages] == list(range(len(messages)))
    assert sum(m["channel"] == "heartbeats" for m in messages) == 150


def test_coinbase_level2_ends_at_the_product_book():
    session, said = coinbase("level2", "ETH-USD")
    book = {}
    for message in said[:1] + streamed(session, after(START_US, END_US)):
        for update in message["events"][0]["updates"]:
            book[update["side"], update["price_level"]] = update["new_quantity"]
    asked = Request("/api/v3/brokerage/market/product_book", {"product_id": "ETH-USD"}, END_US)
    shown = json.loads(CoinbaseRest(HISTORY).respond(asked).body)["pricebook"]
    kept = {key: size for key, size in book.items() if size != "0"}
    assert kept == {
        (side, level["price"]): level["size"]
        for side, name in (("bid", "bids"), ("offer", "asks"))
        for level in shown[name]
    }


@pytest.mark.parametrize("depth", [10, 25])
@pytest.mark.parametrize("symbol", ["BTC/USD", "DOGE/USD", "LTC/BTC"])
def test_kraken_checksums_hold_for_a_client_that_keeps_its_depth(symbol, depth):
    session, (_, snapshot) = kraken("book", symbol, depth=depth)
    book = {"bids": {}, "asks": {}}
    texts = [json.loads(f.text, parse_float=str) for s, n in after(START_US, END_US) for f in session.due(s, n)]
    seen = 0
    for message in [snapshot, *(m for m in texts if m["channel"] == "book")]:
        body = message["data"][0]
        for side, levels in book.items():
            for level in body[side]:
                if float(level["qty"]):
                    levels[level["price"]] = level["qty"]
                else:
                    del levels[level["price"]]  # a removal of a level that the client cannot know would fail here
            best = sorted(levels, key=float, reverse=side == "bids")[:depth]
            book[side] = {price: levels[price] for price in best}
        digits = "".join(
            (price.replace(".", "").lstrip("0") + qty.replace(".", "").lstrip("0"))
            for side in ("asks", "bids")
            for price, qty in list(book[side].items())[:10]
        )
        assert crc32(digits.encode()) == body["checksum"]
        seen += 1
    assert seen > 300


def test_kraken_trades_are_historys():
    session, _ = kraken("trade", "ETH/BTC")
    live = [t for m in streamed(session, after(START_US, END_US)) if m["channel"] == "trade" for t in m["data"]]
    asked = Request("/0/public/Trades", {"pair": "ETHXBT", "since": str(START_US * 1_000)}, END_US + 1)
    rows = json.loads(KrakenRest(HISTORY).respond(asked).body)["result"]["XETHXXBT"]
    assert [(t["trade_id"], f"{t['price']:.5f}", f"{t['qty']:.8f}", t["side"][0]) for t in live] == [
        (row[6], row[0], row[1], row[3]) for row in rows
    ]


def test_kraken_ohlc_ends_as_history_has_it():
    session, (_, snapshot) = kraken("ohlc", "BTC/USD", interval=1)
    assert snapshot["type"] == "snapshot"
    end_us = START_US + 300_000_000
    live = [m["data"][0] for m in streamed(session, after(START_US, end_us)) if m["channel"] == "ohlc"]
    last = {bar["interval_begin"][:16]: bar for bar in live}
    listing = HISTORY.simulation.listings["kraken:BTC-USD"]
    bars = HISTORY.bars(listing, Timeframe.M1, START_US, end_us - 60_000_000, end_us)
    assert len(bars) >= 3
    for bar in bars:
        shown = last[rfc3339(bar.open_us)[:16]]
        assert (shown["close"], shown["trades"], shown["volume"]) == (bar.close, bar.trades, bar.volume)


def test_kraken_v1_replies_and_streams():
    session = KrakenV1Session(KrakenV1Streams(HISTORY))
    assert json.loads(session.open(START_US)[0].text)["event"] == "systemStatus"
    request = {
        "event": "subscribe",
        "pair": ["XBT/USD", "NO/PE"],
        "subscription": {"name": "book", "depth": 10},
        "reqid": 3,
    }
    status, snapshot, refusal = (json.loads(f.text) for f in session.receive(json.dumps(request), START_US))
    assert (status["status"], status["channelName"], status["reqid"]) == ("subscribed", "book-10", 3)
    assert len(snapshot[1]["as"]) == len(snapshot[1]["bs"]) == 10
    assert refusal["errorMessage"] == "Currency pair not supported"
    live = [m for m in streamed(session, after(START_US, END_US)) if isinstance(m, list)]
    assert {m[-2:][0] for m in live} == {"book-10"}


@pytest.mark.parametrize(
    ("text", "reply"),
    [
        ('{"method":"SUBSCRIBE","params":["btcusdt@trade"],"id":1}', {"result": None, "id": 1}),
        ('{"method":"LIST_SUBSCRIPTIONS","id":2}', {"result": ["ethusdt@trade"], "id": 2}),
        ('{"method":"GET_PROPERTY","params":["combined"],"id":3}', {"result": False, "id": 3}),
        (
            '{"method":"SUBSCRIBE","params":"x","id":4}',
            {"error": {"code": 1, "msg": "Invalid value type: expected array"}, "id": 4},
        ),
    ],
)
def test_binance_answers_requests(text, reply):
    (frame,) = binance("ethusdt@trade").receive(text, START_US)
    assert json.loads(frame.text) == reply


def test_binance_unsubscribes_and_wraps_combined_streams():
    session = BinanceSession(BinanceStreams(HISTORY), "/stream", "btcusdt@trade/ethusdt@trade", START_US)
    assert {m["stream"] for m in streamed(session, [(START_US, END_US)])} == {"btcusdt@trade", "ethusdt@trade"}
    session.receive('{"method":"UNSUBSCRIBE","params":["btcusdt@trade"],"id":1}', START_US)
    assert {m["stream"] for m in streamed(session, [(START_US, END_US)])} == {"ethusdt@trade"}
    assert json.loads(session.receive("{", START_US)[0].text)["error"]["code"] == 3


def test_coinbase_lists_what_remains_subscribed_and_refuses_what_it_does_not_know():
    session, said = coinbase("market_trades", "BTC-USD", "ETH-USD")
    assert said[-1]["events"] == [{"subscriptions": {"market_trades": ["BTC-USD", "ETH-USD"]}}]
    request = {"type": "unsubscribe", "channel": "market_trades", "product_ids": ["BTC-USD", "ETH-USD"]}
    (frame,) = session.receive(json.dumps(request), START_US)
    assert json.loads(frame.text)["events"] == [{"subscriptions": {}}]
    for bad in (
        '{"type":"subscribe","channel":"nope"}',
        "{",
        '{"type":"x"}',
        json.dumps({**request, "product_ids": ["A-B"]}),
    ):
        assert json.loads(session.receive(bad, START_US)[0].text)["type"] == "error"


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        ({"method": "ping", "req_id": 5}, {"method": "pong", "req_id": 5}),
        (
            {"method": "subscribe", "params": {"channel": "trade", "symbol": ["NO/PE"]}},
            {"success": False, "symbol": "NO/PE"},
        ),
        (
            {"method": "subscribe", "params": {"channel": "book", "symbol": ["BTC/USD"], "depth": 11}},
            {"success": False},
        ),
        (
            {"method": "subscribe", "params": {"channel": "ohlc", "symbol": ["BTC/USD"], "interval": 2}},
            {"success": False},
        ),
        (
            {"method": "unsubscribe", "params": {"channel": "trade", "symbol": ["BTC/USD"]}},
            {"error": "Subscription Not Found"},
        ),
        ({"method": "nope"}, {"success": False}),
    ],
)
def test_kraken_answers_requests(request_, expected):
    (frame,) = KrakenSession(KrakenStreams(HISTORY)).receive(json.dumps(request_), START_US)
    reply = json.loads(frame.text)
    assert {key: reply.get(key) for key in expected} == expected
    assert {"time_in", "time_out"} <= set(reply)
