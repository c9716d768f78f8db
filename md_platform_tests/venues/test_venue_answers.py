"""Known answers: what real payloads of each venue mean, worked out by hand from the payload's own text."""

import datetime as dt
import json

import pytest

from md_platform.domain.instruments import Instrument
from md_platform.domain.intervals import Interval, Timeframe
from md_platform.errors import (
    InvalidTimeframe,
    MalformedPayload,
    RateLimited,
    SourceRejected,
    SourceUnavailable,
    UnknownVenue,
)
from md_platform.venues import VENUES, binance, coinbase, kraken, venue_named
from md_platform.venues.spec import Query, Request, retry_after_s

NOW = dt.datetime(2026, 11, 20, tzinfo=dt.UTC)
BTC_USDT = Instrument("binance", "BTC", "USDT", "BTCUSDT")
BTC_USD = Instrument("coinbase", "BTC", "USD", "BTC-USD")
XBT_USDT = Instrument("kraken", "BTC", "USDT", "XBTUSDT")


def query(instrument, start, days=1, received=NOW):
    start = dt.datetime.fromisoformat(start).replace(tzinfo=dt.UTC)
    return Query(instrument, Interval(start, start + dt.timedelta(days=days)), instrument.venue, received)


def test_binance_klines_keep_every_column_and_replace_the_close_time(rest_samples):
    payload = (rest_samples / "nautilus_it_binance/http_spot_market_klines.json").read_bytes()
    asked = query(BTC_USDT, "2021-10-22T23:00", received=dt.datetime(2021, 10, 22, 23, 4, 30, tzinfo=dt.UTC))
    frame = binance.parse_bars(payload, binance.bars_request(BTC_USDT, Timeframe.M1, asked.interval), asked).frame
    assert frame.height == len(json.loads(payload))
    first = frame.row(0, named=True)
    assert first == {
        "instrument": "binance:BTC-USDT",
        "timeframe": "1m",
        "open_time": dt.datetime(2021, 10, 22, 23, 3, tzinfo=dt.UTC),
        "close_time": dt.datetime(2021, 10, 22, 23, 4, tzinfo=dt.UTC),
        "open": 60685.22,
        "high": 60729.84,
        "low": 60670.9,
        "close": 60719.27,
        "volume": 21.63272,
        "quote_volume": 1313200.0134041,
        "vwap": pytest.approx(1313200.0134041 / 21.63272, rel=1e-12),
        "trade_count": 617,
        "taker_buy_volume": 12.28492,
        "taker_buy_quote_volume": 745719.4102284,
        "is_closed": True,
        "source": "binance",
        "revision": 0,
        "known_at": asked.received,
    }
    assert frame["is_closed"].to_list()[1:3] == [False, False]


def test_binance_aggregated_trades_name_the_aggressor(rest_samples):
    payload = (rest_samples / "nautilus_it_binance/http_spot_market_agg_trades.json").read_bytes()
    asked = query(BTC_USDT, "2021-10-22")
    page = binance.parse_trades(payload, binance.trades_request(BTC_USDT, asked.interval), asked)
    first, third = page.frame.row(0, named=True), page.frame.row(2, named=True)
    assert (first["trade_id"], first["price"], first["size"], first["taker_side"]) == (
        "966492862",
        60759.6,
        0.00841,
        "buy",
    )
    assert first["ts_event"] == dt.datetime(2021, 10, 22, 23, 8, 16, 633000, tzinfo=dt.UTC)
    assert third["taker_side"] == "sell"
    assert set(page.frame["trade_count"]) == {1}
    last = json.loads(payload)[-1]["a"]
    assert page.following == Request(
        "/api/v3/aggTrades",
        {"symbol": "BTCUSDT", "fromId": last + 1, "limit": 1_000},
        weight=4,
        bookmark=json.loads(payload)[-1]["T"],
    )


def test_an_aggregated_trade_counts_its_fills():
    row = {"a": 1, "p": "1", "q": "1", "f": 10, "l": 14, "T": 1634944096633, "m": True, "M": True}
    asked = query(BTC_USDT, "2021-10-22")
    page = binance.parse_trades(json.dumps([row]).encode(), binance.trades_request(BTC_USDT, asked.interval), asked)
    assert page.frame["trade_count"].to_list() == [5]


def test_coinbase_names_the_resting_side_so_the_aggressor_is_the_other(rest_samples):
    payload = (rest_samples / "nautilus/coinbase/test_data/http_ticker.json").read_bytes()
    answer = json.loads(payload)
    assert answer["trades"][0]["price"] == answer["best_ask"], "the newest trade lifted the best ask: its taker bought"
    assert answer["trades"][0]["side"] == "SELL"
    asked = query(BTC_USD, "2026-04-07")
    frame = coinbase.parse_trades(payload, coinbase.trades_request(BTC_USD, asked.interval), asked).frame
    assert frame["taker_side"].to_list() == ["sell", "buy", "buy"]
    assert frame["trade_id"].to_list() == ["995098661", "995098662", "995098663"]
    assert frame["ts_event"][2] == dt.datetime(2026, 4, 7, 0, 28, 58, 544778, tzinfo=dt.UTC)


def test_coinbase_candles_leave_unknown_values_null(rest_samples):
    payload = (rest_samples / "nautilus/coinbase/test_data/http_candles.json").read_bytes()
    asked = query(BTC_USD, "2024-04-04")
    request = coinbase.bars_request(BTC_USD, Timeframe.M1, asked.interval)
    page = coinbase.parse_bars(payload, request, asked)
    first = page.frame.row(0, named=True)
    assert (first["open"], first["high"], first["low"], first["close"]) == (65984.18, 66387.77, 65857.35, 66314.59)
    unknown = ("quote_volume", "vwap", "trade_count", "taker_buy_volume", "taker_buy_quote_volume")
    assert [first[name] for name in unknown] == [None] * 5
    assert request.params["end"] - request.params["start"] == 300 * 60
    assert page.following.params["start"] == request.params["end"]


def test_kraken_bars_keep_its_vwap_and_have_no_quote_volume(rest_samples):
    payload = (rest_samples / "nautilus/kraken/test_data/http_ohlc.json").read_bytes()
    asked = query(XBT_USDT, "2025-11-10")
    page = kraken.parse_bars(payload, kraken.bars_request(XBT_USDT, Timeframe.M1, asked.interval), asked)
    assert page.following is None
    quiet, busy = page.frame.row(0, named=True), page.frame.row(3, named=True)
    assert (quiet["volume"], quiet["vwap"], quiet["trade_count"]) == (0.0, None, 0)
    assert (busy["vwap"], busy["quote_volume"], busy["volume"], busy["trade_count"]) == (106039.6, None, 0.08317981, 3)
    assert page.frame["open_time"][0] == dt.datetime(2025, 11, 10, 12, 17, tzinfo=dt.UTC)


def test_kraken_trades_tell_time_to_the_microsecond_and_page_by_last(rest_samples):
    payload = (rest_samples / "nautilus/kraken/test_data/http_trades.json").read_bytes()
    asked = query(XBT_USDT, "2025-11-10", days=2)
    page = kraken.parse_trades(payload, kraken.trades_request(XBT_USDT, asked.interval), asked)
    first = page.frame.row(0, named=True)
    assert first["ts_event"] == dt.datetime(2025, 11, 10, 17, 23, 53, 971744, tzinfo=dt.UTC)
    assert (first["trade_id"], first["taker_side"], first["price"]) == ("10218208", "buy", 105433.6)
    assert page.following.params["since"] == json.loads(payload)["result"]["last"]


def test_instruments_bear_the_names_everyone_uses(rest_samples):
    samples = rest_samples / "nautilus"
    pairs = (samples / "kraken/test_data/http_asset_pairs.json").read_bytes()
    assert kraken.parse_instruments(pairs, "kraken") == [XBT_USDT]
    products = (samples / "coinbase/test_data/http_products.json").read_bytes()
    assert BTC_USD in coinbase.parse_instruments(products, "coinbase")
    symbols = (samples / "binance/test_data/spot/http_json/exchange_info_response.json").read_bytes()
    assert binance.parse_instruments(symbols, "sandbox") == [Instrument("sandbox", "ETH", "BTC", "ETHBTC")]


def test_kraken_translates_its_own_codes_and_leaves_dark_pools_out():
    pairs = {"XXBTZUSD": {"wsname": "XBT/USD"}, "XDGUSD": {"wsname": "XDG/USD"}, "XXBTZUSD.d": {}}
    payload = json.dumps({"error": [], "result": pairs}).encode()
    assert [(i.symbol, i.native) for i in kraken.parse_instruments(payload, "kraken")] == [
        ("BTC-USD", "XXBTZUSD"),
        ("DOGE-USD", "XDGUSD"),
    ]


@pytest.mark.parametrize(
    ("messages", "error"),
    [
        (["EGeneral:Too many requests"], RateLimited),
        (["EAPI:Rate limit exceeded"], RateLimited),
        (["EService:Unavailable"], SourceUnavailable),
        (["EQuery:Unknown asset pair"], SourceRejected),
    ],
)
def test_kraken_says_errors_with_status_200(messages, error):
    asked = query(XBT_USDT, "2025-11-10")
    with pytest.raises(error, match=messages[0].split(":")[1]):
        kraken.parse_trades(
            json.dumps({"error": messages}).encode(), kraken.trades_request(XBT_USDT, asked.interval), asked
        )


@pytest.mark.parametrize("payload", [b"<html>", b"{}", b"[1]", b'{"error":[],"result":[]}', b'"x"', b"\xff"])
@pytest.mark.parametrize("spec", [s for s in VENUES if s.history], ids=lambda s: s.id)
def test_a_payload_that_is_not_the_protocol_is_malformed(spec, payload):
    asked = query(Instrument(spec.id, "BTC", "USD", "X"), "2024-01-02")
    request = spec.history.bars_request(asked.instrument, Timeframe.M1, asked.interval)
    with pytest.raises(MalformedPayload, match=f"{spec.id} must answer"):
        spec.history.parse_bars(payload, request, asked)


def test_errors_say_whether_to_try_again_and_when():
    banned = binance.parse_error(418, {"retry-after": "120"}, b'{"code":-1003,"msg":"Way too much request weight"}')
    assert isinstance(banned, RateLimited)
    assert (banned.retryable, banned.retry_after_s) == (True, 120.0)
    assert "-1003 Way too much request weight" in str(banned)
    unknown = binance.parse_error(400, {}, b'{"code":-1121,"msg":"Invalid symbol."}')
    assert isinstance(unknown, SourceRejected)
    assert "Invalid symbol" in str(unknown)
    assert isinstance(binance.parse_error(503, {}, b"<html>"), SourceUnavailable)
    assert "location" in str(binance.parse_error(451, {}, b"{}"))
    refused = coinbase.parse_error(404, {}, b'{"error":"NOT_FOUND","message":"valid product_id is required"}')
    assert "NOT_FOUND valid product_id is required" in str(refused)
    assert "gateway" in str(kraken.parse_error(502, {}, b"bad gateway"))


def test_retry_after_is_seconds_or_a_date():
    assert retry_after_s({"retry-after": " 7 "}) == 7.0
    assert retry_after_s({"retry-after": "Fri, 20 Nov 2026 00:00:30 GMT"}, NOW) == 30.0
    assert retry_after_s({"retry-after": "Thu, 19 Nov 2026 00:00:00 -0000"}, NOW) == 0.0
    assert retry_after_s({"retry-after": "soon"}) is None
    assert retry_after_s({}) is None


def test_timeframes_that_a_venue_does_not_serve_are_refused():
    interval = query(BTC_USD, "2024-01-02").interval
    with pytest.raises(InvalidTimeframe, match="coinbase serves"):
        coinbase.bars_request(BTC_USD, Timeframe.W1, interval)
    with pytest.raises(InvalidTimeframe, match="kraken serves"):
        kraken.bars_request(XBT_USDT, Timeframe.S1, interval)


def test_coinbase_says_so_when_one_second_holds_more_than_a_page():
    asked = query(BTC_USD, "2024-01-02")
    trade = {"price": "1", "size": "1", "time": "2024-01-02T00:00:05.5Z", "side": "BUY"}
    payload = json.dumps({"trades": [{"trade_id": str(n), **trade} for n in range(1_000)]}).encode()
    request = coinbase.trades_request(BTC_USD, asked.interval).changed(end=1704153606)
    with pytest.raises(SourceRejected, match="more than 1000 trades in the second"):
        coinbase.parse_trades(payload, request, asked)
    two_seconds = request.changed(end=1704153607)
    assert coinbase.parse_trades(payload, two_seconds, asked).following.params["end"] == 1704153606


def test_every_venue_is_named_once_and_unknown_ones_are_told_which_there_are():
    assert len({spec.id for spec in VENUES}) == len(VENUES)
    assert {"sandbox", "sandbox-coinbase", "sandbox-kraken", "file"} <= {spec.id for spec in VENUES}
    assert venue_named("kraken").bars_back == 720
    with pytest.raises(UnknownVenue, match=r"binance.*kraken.*was 'mtgox'"):
        venue_named("mtgox")


def test_sandbox_venues_speak_their_protocol_from_their_own_address():
    for spec in VENUES:
        if spec.is_simulated:
            assert spec.rest_url.startswith("http://127.0.0.1:8090/")
            assert spec.ccxt is None
            assert spec.bulk_url is None


def test_binance_ids_that_lead_nowhere_are_searched_past_by_time():
    asked = query(BTC_USDT, "2024-01-02")
    noon = 1704196800000
    request = Request("/api/v3/aggTrades", {"symbol": "BTCUSDT", "fromId": 7, "limit": 1_000}, 4, bookmark=noon)
    following = binance.parse_trades(b"[]", request, asked).following
    assert following.params == {
        "symbol": "BTCUSDT",
        "startTime": noon + 1,
        "endTime": noon + 3_600_000,
        "limit": 1_000,
    }
    late = Request("/api/v3/aggTrades", {"symbol": "BTCUSDT", "fromId": 7, "limit": 1_000}, 4, bookmark=1704239999999)
    assert binance.parse_trades(b"[]", late, asked).following is None


def test_binance_bars_missing_for_longer_than_a_page_are_stepped_over():
    asked = query(BTC_USDT, "2024-01-02")
    request = binance.bars_request(BTC_USDT, Timeframe.M1, asked.interval)
    following = binance.parse_bars(b"[]", request, asked).following
    assert following.params["startTime"] == request.params["startTime"] + 60_000_000
    assert binance.parse_bars(b"[]", following, asked).following is None
