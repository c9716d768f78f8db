"""Keys and kinds of values are those of captures of the real venues (in ../shared/data, skipped where absent)."""

import io
import json
import re
from pathlib import Path

import pyarrow as pa
import pytest

from md_platform.sandbox.binance import BinanceRest
from md_platform.sandbox.binance_stream import BinanceSession, BinanceStreams
from md_platform.sandbox.coinbase import CoinbaseRest
from md_platform.sandbox.coinbase_stream import CoinbaseSession, CoinbaseStreams
from md_platform.sandbox.history import History
from md_platform.sandbox.kraken import KrakenRest
from md_platform.sandbox.kraken_stream import KrakenSession, KrakenStreams
from md_platform.sandbox.kraken_v1 import KrakenV1Session, KrakenV1Streams
from md_platform.sandbox.listings import listings
from md_platform.sandbox.prices import HOUR_US
from md_platform.sandbox.rest import Request
from md_platform.sandbox.simulation import Simulation

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
CAPTURES = DATA / "ws" / "captures"
SAMPLES = DATA / "rest_ws_samples"
pytestmark = pytest.mark.skipif(not CAPTURES.is_dir(), reason=f"captures are not at {CAPTURES}")

HISTORY = History(Simulation(1, listings()))
START_US = 494_000 * HOUR_US - 45_300_000
END_US = START_US + 120_000_000

KINDS = (
    ("number as text", re.compile(r"-?\d+(\.\d+)?")),
    ("RFC 3339", re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")),
    ("Go time", re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+ \+0000 UTC m=\+\d+\.\d+")),
)


def kind(value):
    if isinstance(value, str):
        return next((name for name, pattern in KINDS if pattern.fullmatch(value)), "text")
    return type(value).__name__


def received(capture):
    with pa.input_stream(CAPTURES / capture, compression="zstd") as stream:
        for line in io.TextIOWrapper(stream):
            record = json.loads(line)
            if record["t"] in ("recv", "http"):
                yield record["t"], record.get("url", ""), json.loads(record["data"])


def by_type(messages, type_of):
    """The shapes that each type of message was seen with, ours and theirs, empty lists aside."""
    found = {}
    for message in messages:
        found.setdefault(type_of(message), []).append(message)
    return found


def merged(messages):
    """One shape for messages of a type: lists pooled, so that an empty side of a book says nothing."""

    def pool(values):
        if all(isinstance(value, dict) for value in values):
            keys = {frozenset(value) for value in values}
            assert len(keys) == 1, f"keys vary: {keys}"
            return {key: pool([value[key] for value in values]) for key in values[0]}
        if all(isinstance(value, list) for value in values):
            items = [item for value in values for item in value]
            nested = [item for item in items if isinstance(item, dict | list)]
            if nested and len(nested) == len(items):
                return [pool(items)]
            lengths = {len(value) for value in values}
            if len(lengths) == 1:
                return [pool([value[n] for value in values]) for n in range(lengths.pop())]
            return sorted({str(pool([item])) for item in items})
        return sorted({kind(value) for value in values})

    return pool(messages)


def subset(ours, theirs):
    """Kinds that ours has are kinds that theirs has; keys are equal."""
    if isinstance(theirs, dict):
        assert isinstance(ours, dict)
        assert set(ours) == set(theirs)
        for key in theirs:
            subset(ours[key], theirs[key])
    elif isinstance(theirs, list) and theirs and isinstance(theirs[0], dict | list):
        assert len(ours) == len(theirs) or not ours
        for mine, real in zip(ours, theirs, strict=False):
            subset(mine, real)
    elif ours and theirs:
        assert set(ours) <= set(theirs), (ours, theirs)


def binance_messages():
    names = "btcusdt@depth@100ms/btcusdt@bookTicker/btcusdt@kline_1m/btcusdt@aggTrade/dotusdt@kline_1m/dotusdt@aggTrade"
    session = BinanceSession(BinanceStreams(HISTORY), "/stream", names, START_US)
    return [json.loads(frame.text) for frame in session.due(START_US, END_US)]


def binance_type(message):
    return message["data"].get("e", "bookTicker")


@pytest.mark.parametrize("capture", ["BINANCE_20210404T200310", "BINANCE_20211012T002831"])
def test_binance_streams(capture):
    theirs = by_type((m for t, _, m in received(f"{capture}.jsonl.zst") if t == "recv"), binance_type)
    ours = by_type(binance_messages(), binance_type)
    assert set(theirs) <= set(ours)
    for name, messages in theirs.items():
        subset(merged(ours[name]), merged(messages))
    assert {len(level[0].split(".")[1]) for m in ours["depthUpdate"] for level in m["data"]["b"]} == {8}


def binance_rest(path, **params):
    return json.loads(BinanceRest(HISTORY).respond(Request(f"/api/v3/{path}", params, END_US)).body)


@pytest.mark.parametrize(
    ("path", "params", "sample"),
    [
        ("klines", {"symbol": "BTCUSDT", "interval": "1m"}, "klines"),
        ("aggTrades", {"symbol": "BTCUSDT"}, "agg_trades"),
        ("trades", {"symbol": "BTCUSDT"}, "trades"),
        ("historicalTrades", {"symbol": "BTCUSDT", "fromId": "1000"}, "historical_trades"),
        ("depth", {"symbol": "BTCUSDT"}, "depth"),
        ("ticker/bookTicker", {"symbol": "BTCUSDT"}, "book_ticker"),
        ("ticker/price", {"symbol": "BTCUSDT"}, "ticker_price"),
        ("ping", {}, "ping"),
        ("time", {}, "time"),
    ],
)
def test_binance_rest(path, params, sample):
    theirs = json.loads((SAMPLES / "nautilus_it_binance" / f"http_spot_market_{sample}.json").read_text())
    subset(merged([binance_rest(path, **params)]), merged([theirs]))


@pytest.mark.parametrize(("path", "sample"), [("ticker/24hr", "ticker_24hr"), ("avgPrice", "avg_price")])
def test_binance_rest_statistics(path, sample):
    folder = SAMPLES / "nautilus" / "binance" / "test_data" / "spot" / "http_json"
    theirs = json.loads((folder / f"{sample}_response.json").read_text())
    subset(merged([binance_rest(path, symbol="BTCUSDT")]), merged([theirs]))


def test_binance_exchange_info():
    folder = SAMPLES / "nautilus" / "binance" / "test_data" / "spot" / "http_json"
    theirs = json.loads((folder / "exchange_info_response.json").read_text())
    ours = binance_rest("exchangeInfo")
    assert set(theirs) - set(ours) == {"sors"}  # smart order routing: the sandbox takes no orders
    assert set(ours["symbols"][0]) == set(theirs["symbols"][0])
    captured = next(
        m for t, url, m in received("BINANCE_20211012T002831.jsonl.zst") if t == "http" and "exchangeInfo" in url
    )
    real = {f["filterType"]: set(f) for f in captured["symbols"][0]["filters"]}
    for filter_ in ours["symbols"][0]["filters"]:
        if filter_["filterType"] in real:
            assert set(filter_) == real[filter_["filterType"]]
    assert ours["symbols"][0]["filters"][0]["filterType"] == "PRICE_FILTER"


def coinbase_type(message):
    return message["channel"], message["events"][0].get("type")


def test_coinbase_streams():
    theirs = by_type(
        (m for t, _, m in received("COINBASE_20260809T210548_first3s.jsonl.zst") if t == "recv"), coinbase_type
    )
    session = CoinbaseSession(CoinbaseStreams(HISTORY))
    said = []
    for channel in ("market_trades", "candles", "ticker", "level2", "heartbeats"):
        request = {"type": "subscribe", "product_ids": ["BTC-USD", "ETH-USD"], "channel": channel}
        said += session.receive(json.dumps(request), START_US)
    said += session.due(START_US, END_US)
    ours = by_type([json.loads(frame.text) for frame in said], coinbase_type)
    assert set(theirs) <= set(ours)
    for name, messages in theirs.items():
        if name[0] == "subscriptions":
            shapes = {tuple(sorted(m["events"][0]["subscriptions"])) for m in messages}
            assert shapes <= {tuple(sorted(m["events"][0]["subscriptions"])) for m in ours[name]} | {
                ("candles", "market_trades")
            }
            continue
        subset(merged(ours[name]), merged(messages))


@pytest.mark.parametrize(
    ("path", "params", "sample"),
    [
        ("products", {}, "products"),
        ("products/BTC-USD", {}, "product"),
        ("products/BTC-USD/candles", {"granularity": "ONE_HOUR"}, "candles"),
        ("products/BTC-USD/ticker", {"limit": "5"}, "ticker"),
        ("product_book", {"product_id": "BTC-USD"}, "product_book"),
    ],
)
def test_coinbase_rest(path, params, sample):
    theirs = json.loads((SAMPLES / "nautilus" / "coinbase" / "test_data" / f"http_{sample}.json").read_text())
    ours = json.loads(CoinbaseRest(HISTORY).respond(Request(f"/api/v3/brokerage/market/{path}", params, END_US)).body)
    if sample == "products":
        ours.pop("num_products")  # the sample leaves it out
        theirs = {"products": theirs["products"][:1]}
    empty_here = {"alias_to"}  # no product stands for another one
    for product in [ours, *ours.get("products", [])]:
        for key in empty_here & set(product):
            product[key] = ["BTC-USDC"]
    subset(merged([ours]), merged([theirs]))


def kraken_type(message):
    return message.get("channel") or message.get("method"), message.get("type")


def test_kraken_v2_streams():
    file = next((DATA / "ws" / "kraken_v2").glob("*.ndjson"))
    theirs = [json.loads(line) for line in file.read_text().splitlines()[1:]]
    theirs = by_type([m["frame"] for m in theirs if m.get("dir") != "tx"], kraken_type)
    session = KrakenSession(KrakenStreams(HISTORY))
    request = {
        "method": "subscribe",
        "params": {"channel": "book", "symbol": ["BTC/USD"], "depth": 25, "snapshot": True},
    }
    said = session.open(START_US) + session.receive(json.dumps(request), START_US) + session.due(START_US, END_US)
    ours = by_type([json.loads(frame.text) for frame in said], kraken_type)
    assert set(ours) == set(theirs)
    for name, messages in theirs.items():
        subset(merged(ours[name]), merged(messages))
    order = [json.dumps(list(m)) for m in (ours["subscribe", None][0], ours["book", "update"][0])]
    assert order == [json.dumps(list(m)) for m in (theirs["subscribe", None][0], theirs["book", "update"][0])]


@pytest.mark.parametrize("sample", ["trade_update", "ticker_snapshot", "ohlc_update", "subscribe_response", "pong"])
def test_kraken_v2_samples(sample):
    theirs = json.loads((SAMPLES / "nautilus" / "kraken" / "test_data" / f"ws_{sample}.json").read_text())
    session = KrakenSession(KrakenStreams(HISTORY))
    said = []
    for channel in ("trade", "ticker", "ohlc"):
        request = {"method": "subscribe", "params": {"channel": channel, "symbol": ["BTC/USD"]}, "req_id": 1}
        said += session.receive(json.dumps(request), START_US)
    said += session.receive('{"method":"ping","req_id":42}', START_US)
    said += session.due(START_US, END_US)
    ours = by_type([json.loads(frame.text) for frame in said], kraken_type)[kraken_type(theirs)]
    if sample == "subscribe_response":
        ours = [m for m in ours if m["result"]["channel"] == "ticker"]
        ours[0]["result"].pop("event_trigger")  # newer than the sample
    if sample == "ohlc_update":
        for message in ours:
            message["data"][0].pop("timestamp")  # documented by the venue, left out of the sample
    subset(merged(ours), merged([theirs]))


def kraken_v1_type(message):
    if isinstance(message, dict):
        return message["event"]
    name = message[-2].split("-")[0]
    return name, "snapshot" if name == "book" and "as" in message[1] else len(message)


def test_kraken_v1_streams():
    theirs = by_type((m for t, _, m in received("KRAKEN_20210417T164852.jsonl.zst") if t == "recv"), kraken_v1_type)
    session = KrakenV1Session(KrakenV1Streams(HISTORY))
    said = session.open(START_US)
    for subscription in ({"name": "book", "depth": 1000}, {"name": "trade"}, {"name": "ticker"}):
        said += session.receive(
            json.dumps({"event": "subscribe", "pair": ["XBT/USD"], "subscription": subscription}), START_US
        )
    said += session.due(START_US, END_US)
    ours = by_type([json.loads(frame.text) for frame in said], kraken_v1_type)
    assert set(theirs) <= set(ours)
    for name, messages in theirs.items():
        if name == "subscriptionStatus":
            assert {frozenset(m) for m in ours[name]} == {frozenset(m) for m in messages}
        elif name[0] == "book" and name[1] != "snapshot":
            keys = {frozenset(payload) for m in messages for payload in m[1:-2]}
            assert {frozenset(payload) for m in ours[name] for payload in m[1:-2]} <= keys
        else:
            subset(merged(ours[name]), merged(messages))


@pytest.mark.parametrize(
    ("path", "params", "sample"),
    [
        ("AssetPairs", {"pair": "XBTUSD"}, "asset_pairs"),
        ("OHLC", {"pair": "XBTUSD"}, "ohlc"),
        ("Trades", {"pair": "XBTUSD"}, "trades"),
        ("Depth", {"pair": "XBTUSD"}, "order_book"),
        ("Ticker", {"pair": "XBTUSD"}, "ticker"),
        ("Time", {}, "server_time"),
        ("SystemStatus", {}, "system_status"),
    ],
)
def test_kraken_rest(path, params, sample):
    theirs = json.loads((SAMPLES / "nautilus" / "kraken" / "test_data" / f"http_{sample}.json").read_text())
    ours = json.loads(KrakenRest(HISTORY).respond(Request(f"/0/public/{path}", params, END_US)).body)
    for body in (ours, theirs):
        for pair in [key for key in body["result"] if "XBT" in key]:
            body["result"]["PAIR"] = body["result"].pop(pair)
    if path == "AssetPairs":
        ours["result"]["PAIR"].pop("execution_venue")  # newer than the sample
        for key in ("leverage_buy", "leverage_sell", "fees", "fees_maker"):  # as long as the pair has steps
            ours["result"]["PAIR"][key] = theirs["result"]["PAIR"][key]
    subset(merged([ours]), merged([theirs]))
