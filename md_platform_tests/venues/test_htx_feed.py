"""HTX's live parser: captures of 2021 and 2022, whose protocol is still spoken, and what HTX documents."""

import gzip
from collections import Counter

import msgspec
import pytest

from md_platform.domain.events import (
    Bar,
    Event,
    Heartbeat,
    Malformed,
    Quote,
    Refused,
    Reply,
    Subscribed,
    Unknown,
)
from md_platform.domain.instruments import Instrument
from md_platform.venues import htx
from md_platform.venues.feeds import Feed
from md_platform_tests.venues.replay import (
    SHARED,
    capture,
    expected_trades,
    facts,
    replay,
    subscribed,
    told,
)

NOW = 1_800_000_000_000_000_000
BTC = Instrument("htx", "BTC", "USDT", "btcusdt")

with_captures = pytest.mark.skipif(not SHARED.exists(), reason="captures are not here (../shared/data)")


def received(*frames: object) -> list[Event]:
    session = htx.HtxSession(subscribed(htx.SPOT, [BTC]))
    session.opening()
    packed = [f if isinstance(f, bytes) else gzip.compress(msgspec.json.encode(f)) for f in frames]
    return session.receive(packed, NOW)


@with_captures
@pytest.mark.parametrize(
    ("name", "feed"), [("HUOBI_20210417T164749_first8s", htx.SPOT), ("HUOBI_LINEAR_SWAP_20220217T202714", htx.LINEAR)]
)
def test_a_capture_gives_the_trades_and_books(name: str, feed: Feed) -> None:
    known = facts(name)
    kinds = known["message_types"]
    topics = {msgspec.json.decode(r.data).get("sub", "").split(".")[1:2][0] for r in capture(name) if '"sub"' in r.data}
    out = replay(feed, capture(name), [Instrument("htx", symbol, "", symbol) for symbol in sorted(topics)])

    pings = {"Heartbeat": kinds["ping"], "Reply": kinds["ping"]} if "ping" in kinds else {}
    assert out.kinds == {"Subscribed": kinds["subbed"], **pings}
    assert told(out.trades) == expected_trades(name)
    assert Counter(t.instrument.removeprefix("htx:") for t in out.trades) == known["live_trades_by_symbol"]
    assert out.outcomes == {"applied": kinds["market.*.depth.step0"]}
    assert all(book.is_right and not book.is_crossed for book in out.books.values())


@with_captures
def test_the_reply_to_a_ping_is_what_the_client_sent() -> None:
    name = "HUOBI_20210417T164749_first8s"
    out = replay(htx.SPOT, capture(name), [BTC])
    replies = [event.frame for event in out.others if isinstance(event, Reply)]
    sent = [record.data.encode() for record in capture(name) if record.t == "send" and "pong" in record.data]
    assert replies == sent


@with_captures
def test_digits_are_kept_as_they_were_written() -> None:
    name = "HUOBI_20210417T164749_first8s"
    out = replay(htx.SPOT, capture(name), [Instrument("htx", "TRIO", "ETH", "trioeth")])
    assert out.updates[0].bids[:2] == [("9.121E-7", "92730.24"), ("9.12E-7", "66053.68")]


@with_captures
def test_instruments_of_spot_and_swaps() -> None:
    def found(name: str, feed: Feed) -> dict[str, str]:
        answer = next(r.payload for r in capture(name) if r.t == "http")
        assert feed.parse_instruments is not None
        return {each.id: each.native for each in feed.parse_instruments(answer, "htx")}

    spot = found("HUOBI_20210417T164749_first8s", htx.SPOT)
    assert (spot["htx:BTC-USDT"], len(spot)) == ("btcusdt", 938)
    assert found("HUOBI_LINEAR_SWAP_20220217T202714", htx.LINEAR)["htx:BTC-USDT-PERP"] == "BTC-USDT"
    delivered = {"status": "ok", "data": [{"contract_code": "BTC-USDT-220325"}, {"contract_code": "BTC-USD"}]}
    assert [each.id for each in htx.parse_swaps(msgspec.json.encode(delivered), "htx")] == ["htx:BTC-USD-PERP"]


def test_answers_name_their_topic() -> None:
    error = {"ts": 1586323747018, "status": "error", "err-code": "bad-request", "err-msg": "invalid topic"}
    assert received(
        {"id": "market.btcusdt.bbo", "status": "ok", "subbed": "market.btcusdt.bbo", "ts": 1489474081631},
        {**error, "id": "market.btcusdt.kline.1min"},
        {**error, "id": 7},
        {"ping": 1492420473027},
    ) == [
        Subscribed("quotes", ["btcusdt"]),
        Refused("bad-request invalid topic", "bars", ["btcusdt"]),
        Refused("bad-request invalid topic"),
        Heartbeat(),
        Reply(b'{"pong":1492420473027}'),
    ]
    opening = htx.HtxSession(subscribed(htx.SPOT, [BTC])).opening()
    assert opening[0] == b'{"sub":"market.btcusdt.kline.1min","id":"market.btcusdt.kline.1min"}'


def test_the_best_of_spot_are_numbers_and_of_swaps_pairs() -> None:
    spot = {"seqId": 161499562790, "ask": 16829.51, "askSize": 0.707776, "bid": 16829, "bidSize": 1.685945}
    swap = {"mrid": 131599726, "id": 1603707576, "bid": [13064, 38], "ask": [13072.3, 205], "version": 131599726}
    ts = {"ch": "market.btcusdt.bbo", "ts": 1671941599613}
    one_sided = {**ts, "tick": {"seqId": 1, "ask": None, "askSize": 0, "bid": 1.5, "bidSize": 2}}
    at = 1_671_941_599_613_000_000
    assert received({**ts, "tick": spot}, {**ts, "tick": swap}, one_sided) == [
        Quote("htx:BTC-USDT", at, NOW, 16829.0, 1.685945, 16829.51, 0.707776, 161499562790),
        Quote("htx:BTC-USDT", at, NOW, 13064.0, 38.0, 13072.3, 205.0, 131599726),
    ]


def test_a_candle_is_closed_when_it_is_sent_after_its_end() -> None:
    tick = {"id": 1630981680, "open": 52751.6, "close": 52757.63, "low": 52724.38, "high": 52766.51}
    tick |= {"amount": 1.5, "vol": 79130.4, "count": 136}
    frames = [{"ch": "market.btcusdt.kline.1min", "ts": ts, "tick": tick} for ts in (1630981739999, 1630981740000)]
    bars = [event for event in received(*frames) if isinstance(event, Bar)]
    assert [bar.is_closed for bar in bars] == [False, True]
    assert (bars[0].volume, bars[0].quote_volume, bars[0].trade_count) == (1.5, 79130.4, 136)
    assert bars[0].open_time == 1_630_981_680_000_000_000


def test_a_bomb_and_half_a_frame_are_malformed() -> None:
    bomb = gzip.compress(b"0" * (64 << 20))
    half = gzip.compress(b'{"ping":1}')[:-9]
    events = received(bomb, half, b"\x1f\x8bnonsense", gzip.compress(b"{}") + b"more", b"", {"ping": 1})
    assert [type(event) for event in events] == [Malformed] * 5 + [Heartbeat, Reply]


@pytest.mark.parametrize(
    ("frame", "kind"),
    [
        ({"ch": "market.ethusdt.trade.detail", "tick": {}}, Unknown),
        ({"status": "ok", "subbed": "market.ethusdt.bbo"}, Unknown),
        ({"ch": "market.btcusdt.trade.detail", "tick": {"data": [{"price": 1}]}}, Malformed),
        ({"ch": "market.btcusdt.depth.step0", "tick": {"bids": [[1, None]], "asks": []}}, Malformed),
        ({"ch": "market.btcusdt.depth.step0", "tick": {}}, Malformed),
        ({"ch": "market.btcusdt.kline.1min", "tick": {"id": 1}}, Malformed),
    ],
)
def test_what_is_not_understood_is_kept(frame: object, kind: type) -> None:
    assert [type(event) for event in received(frame)] == [kind]
