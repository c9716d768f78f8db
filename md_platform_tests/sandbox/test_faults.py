"""Every fault has its visible effect, at the socket or in the answer, and none without being asked for."""

import asyncio
import contextlib
import datetime as dt
import json
import time

import httpx
import pytest
import websockets
from websockets.asyncio.client import connect

from md_platform.sandbox.prices import HOUR_US
from md_platform_tests.sandbox_server import running_sandbox

BASE_US = 494_000 * HOUR_US
BASE_MS = BASE_US // 1_000
SPEED = 40.0


def iso(us):
    return (dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(microseconds=us)).isoformat()


@pytest.fixture(scope="module")
def fast():
    """A sandbox whose time runs 40 times as fast, from a known hour."""
    with running_sandbox(start_us=BASE_US, speed=SPEED) as endpoints:
        yield endpoints


@pytest.fixture
def sandbox(fast):
    yield fast
    httpx.delete(f"{fast.http}/control/faults").raise_for_status()


def order(sandbox, **fault):
    answer = httpx.post(f"{sandbox.http}/control/faults", json=fault)
    assert answer.status_code == 201, answer.text
    return answer.json()[0]


def klines(sandbox, **params):
    span = {"symbol": "BTCUSDT", "interval": "1m", "startTime": BASE_MS - 7_200_000, "limit": 60}
    return httpx.get(f"{sandbox.http}/binance/api/v3/klines", params=span | params)


def trades(sandbox):
    span = {"symbol": "BTCUSDT", "startTime": BASE_MS - 7_200_000, "endTime": BASE_MS - 7_000_000, "limit": 1_000}
    return httpx.get(f"{sandbox.http}/binance/api/v3/aggTrades", params=span).json()


PAST = {"surface": "history", "start": iso(BASE_US - 2 * HOUR_US), "duration_s": 3_600}


def heard(sandbox, path, seconds=1.5, say=(), enough=None):
    """What came within `seconds`; where `enough` says when to stop, within the half minute that a busy machine needs."""

    async def listen():
        found = []
        async with connect(f"{sandbox.ws}{path}") as socket:
            for message in say:
                await socket.send(json.dumps(message))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(30 if enough else seconds):
                    async for text in socket:
                        found.append(text)
                        if enough and enough(found):
                            break
        return found

    return asyncio.run(listen())


def many(found):
    return len(found) >= 15


async def until_closed(socket):
    while True:
        await socket.recv()


def test_nothing_goes_wrong_unasked(sandbox):
    ids = [json.loads(text)["t"] for text in heard(sandbox, "/binance/ws/btcusdt@trade", enough=many)]
    assert ids == list(range(ids[0], ids[0] + len(ids)))
    rows = klines(sandbox).json()
    assert [row[0] for row in rows] == [BASE_MS - 7_200_000 + n * 60_000 for n in range(60)]
    assert all(float(row[3]) <= float(row[1]) <= float(row[2]) for row in rows)


def test_history_gap(sandbox):
    order(sandbox, kind="gap", channel="bars", every=10, **PAST)
    assert len(klines(sandbox).json()) == 54


def test_history_duplicates(sandbox):
    order(sandbox, kind="duplicate", channel="trades", **PAST)
    ids = [row["a"] for row in trades(sandbox)]
    assert len(ids) == 2 * len(set(ids)) > 0


def test_history_out_of_order(sandbox):
    order(sandbox, kind="out_of_order", instrument="BTC-USDT", every=5, **PAST)
    opens = [row[0] for row in klines(sandbox).json()]
    assert opens != sorted(opens)
    assert len(set(opens)) == 60


def test_history_bad_ohlc(sandbox):
    order(sandbox, kind="bad_ohlc", every=2, **PAST)
    assert sum(float(row[2]) < float(row[3]) for row in klines(sandbox).json()) == 30


def test_history_late_trade(sandbox):
    order(sandbox, kind="late_trade", every=7, delay_s=5.0, **PAST)
    times = [row["T"] for row in trades(sandbox)]
    assert times != sorted(times)


def test_history_faults_spare_other_venues_and_other_times(sandbox):
    order(sandbox, kind="gap", protocol="kraken", **PAST)
    order(sandbox, kind="gap", surface="history", start=iso(BASE_US - 9 * HOUR_US), duration_s=3_600)
    assert len(klines(sandbox).json()) == 60


@pytest.mark.parametrize("kind", ["http_429", "http_418"])
def test_limits_and_bans(sandbox, kind):
    order(sandbox, kind=kind, channel="klines", count=1, retry_after_s=7)
    refused = klines(sandbox)
    assert refused.status_code == int(kind[-3:])
    assert refused.headers["Retry-After"] == "7"
    assert refused.json()["code"] == -1003
    assert klines(sandbox).status_code == 200


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/binance/api/v3/time", {"code": -1000, "msg": "An unknown error occurred while processing the request."}),
        ("/kraken/0/public/Time", {"error": ["EService:Unavailable"]}),
    ],
)
def test_server_errors(sandbox, path, body):
    order(sandbox, kind="http_5xx", status=502)
    answer = httpx.get(sandbox.http + path)
    assert (answer.status_code, answer.json()) == (502, body)


def test_slow_answers(sandbox):
    order(sandbox, kind="slow", delay_s=0.4, count=1)
    began = time.monotonic()
    klines(sandbox)
    assert time.monotonic() - began >= 0.4


def test_malformed_body(sandbox):
    order(sandbox, kind="malformed", surface="history", count=1)
    with pytest.raises(json.JSONDecodeError):
        klines(sandbox).json()
    klines(sandbox).json()


def test_live_gap_leaves_a_hole_in_the_sequence(sandbox):
    order(sandbox, kind="gap", surface="live", channel="trades", every=4)
    ids = [json.loads(text)["t"] for text in heard(sandbox, "/binance/ws/btcusdt@trade", enough=many)]
    assert len(ids) > 3
    assert ids != list(range(ids[0], ids[0] + len(ids)))


def test_live_gap_skips_coinbases_sequence_number(sandbox):
    order(sandbox, kind="gap", surface="live", channel="book", every=3)
    subscribe = {"type": "subscribe", "channel": "level2", "product_ids": ["BTC-USD"]}
    numbers = [
        json.loads(text)["sequence_num"] for text in heard(sandbox, "/coinbase/ws", say=[subscribe], enough=many)
    ]
    assert set(range(numbers[-1])) - set(numbers)


def test_live_duplicates(sandbox):
    order(sandbox, kind="duplicate", surface="live", every=3)
    found = heard(sandbox, "/binance/ws/btcusdt@trade", enough=many)
    assert len(found) > len(set(found))


def test_live_out_of_order(sandbox):
    order(sandbox, kind="out_of_order", surface="live", every=3)
    ids = [json.loads(text)["t"] for text in heard(sandbox, "/binance/ws/btcusdt@trade", enough=many)]
    assert ids != sorted(ids)
    assert len(ids) == len(set(ids))


def test_live_malformed_frame(sandbox):
    order(sandbox, kind="malformed", surface="live", count=1)
    broken = 0
    for text in heard(sandbox, "/binance/ws/btcusdt@trade", enough=many):
        try:
            json.loads(text)
        except json.JSONDecodeError:
            broken += 1
    assert broken == 1


def test_live_late_trade(sandbox):
    def times(found):
        return [json.loads(text)["T"] for text in found]

    order(sandbox, kind="late_trade", surface="live", every=5, delay_s=8.0)
    found = heard(sandbox, "/binance/ws/btcusdt@trade", enough=lambda found: times(found) != sorted(times(found)))
    assert times(found) != sorted(times(found))


def test_live_bad_ohlc(sandbox):
    order(sandbox, kind="bad_ohlc", surface="live")
    bars = [json.loads(text)["k"] for text in heard(sandbox, "/binance/ws/btcusdt@kline_1m", enough=len)]
    assert bars
    assert all(float(bar["h"]) < float(bar["l"]) for bar in bars)


def test_stall_is_silent(sandbox):
    order(sandbox, kind="stall", protocol="kraken")
    subscribe = {"method": "subscribe", "params": {"channel": "trade", "symbol": ["BTC/USD"]}}
    assert heard(sandbox, "/kraken/v2", seconds=0.6, say=[subscribe]) == []
    assert heard(sandbox, "/binance/ws/btcusdt@bookTicker", enough=len)


@pytest.mark.parametrize("close_code", [None, 1012])
def test_disconnect_cuts_once_and_lets_clients_return(sandbox, close_code):
    async def listen():
        async with connect(f"{sandbox.ws}/binance/ws/btcusdt@bookTicker") as socket:
            await socket.recv()
            fault = {"kind": "disconnect", "close_code": close_code}
            await asyncio.to_thread(order, sandbox, **fault)
            with pytest.raises(websockets.ConnectionClosed) as closed:
                await asyncio.wait_for(until_closed(socket), 5)
        async with connect(f"{sandbox.ws}/binance/ws/btcusdt@bookTicker") as socket:
            for _ in range(5):
                await socket.recv()
        return closed.value.rcvd.code if closed.value.rcvd else None

    assert asyncio.run(listen()) == close_code


def test_disconnect_breaks_answers_off_while_it_lasts(sandbox):
    whole = klines(sandbox).json()
    order(sandbox, kind="disconnect", protocol="kraken", duration_s=3_600)
    order(sandbox, kind="disconnect")
    assert klines(sandbox).json() == whole
    order(sandbox, kind="disconnect", protocol="binance", channel="klines", duration_s=3_600, count=1)
    with pytest.raises(httpx.RemoteProtocolError, match="without sending complete message body"):
        klines(sandbox)
    assert klines(sandbox).json() == whole


def test_halt_stops_trades_in_stream_and_history_alike(sandbox):
    now_us = httpx.get(f"{sandbox.http}/healthz").json()["now_us"]
    order(
        sandbox, kind="halt", protocol="binance", instrument="BTC-USDT", start=iso(now_us + 20_000_000), duration_s=30
    )
    resumed_us = now_us + 50_000_000

    def traded_again(found):
        last = json.loads(found[-1])
        return last["s"] == "BTCUSDT" and last["T"] * 1_000 >= resumed_us

    streams = "/binance/ws/btcusdt@trade/ethusdt@trade"
    found = [json.loads(text) for text in heard(sandbox, streams, enough=traded_again)]
    halted = [m for m in found if (now_us + 20_000_000) / 1e3 <= m["T"] < resumed_us / 1e3]
    assert {m["s"] for m in halted} <= {"ETHUSDT"}
    ids = [m["t"] for m in found if m["s"] == "BTCUSDT"]
    assert ids == list(range(ids[0], ids[0] + len(ids)))
    span = {"symbol": "BTCUSDT", "startTime": now_us // 1_000 + 20_000, "endTime": now_us // 1_000 + 49_999}
    assert httpx.get(f"{sandbox.http}/binance/api/v3/aggTrades", params=span).json() == []


def test_halted_symbols_say_so(sandbox):
    order(sandbox, kind="halt", protocol="binance", instrument="ETH-USDT", duration_s=600)
    time.sleep(0.05)
    info = httpx.get(f"{sandbox.http}/binance/api/v3/exchangeInfo", params={"symbol": "ETHUSDT"}).json()
    assert info["symbols"][0]["status"] == "BREAK"


def test_faults_are_listed_counted_and_cleared(sandbox):
    number = order(sandbox, kind="http_5xx", count=2)["id"]
    klines(sandbox)
    (listed,) = httpx.get(f"{sandbox.http}/control/faults").json()
    assert (listed["id"], listed["hits"], listed["fault"]["kind"]) == (number, 1, "http_5xx")
    httpx.delete(f"{sandbox.http}/control/faults")
    assert httpx.get(f"{sandbox.http}/control/faults").json() == []
    assert klines(sandbox).status_code == 200


@pytest.mark.parametrize("body", ["{", '{"kind":"nope"}', '{"kind":"gap","nope":1}', '{"kind":"gap","start":"soon"}'])
def test_faults_that_make_no_sense_are_refused(sandbox, body):
    answer = httpx.post(f"{sandbox.http}/control/faults", content=body)
    assert answer.status_code == 400
    assert "must be" in answer.json()["error"]
    assert httpx.get(f"{sandbox.http}/control/faults").json() == []


def test_a_schedule_is_read_from_a_file(tmp_path):
    file = tmp_path / "faults.json"
    file.write_text(json.dumps([{"kind": "http_5xx", "after_s": 0, "count": 1}, {"kind": "stall", "after_s": 3600}]))
    with running_sandbox(faults=file) as started:
        assert len(httpx.get(f"{started.http}/control/faults").json()) == 2
        assert httpx.get(f"{started.http}/binance/api/v3/ping").status_code == 503
        assert httpx.get(f"{started.http}/binance/api/v3/ping").status_code == 200
