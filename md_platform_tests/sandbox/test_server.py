"""The server as a process and on its sockets: TLS, health, limits, signals, what was streamed is what REST says."""

import asyncio
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time

import httpx
import pytest
from websockets.asyncio.client import connect

from md_platform.errors import InvalidFile, PortTaken
from md_platform.sandbox.limits import MinuteBudget, TokenBucket
from md_platform.sandbox.prices import HOUR_US
from md_platform.sandbox.server import SandboxConfig, run
from md_platform_tests.sandbox_server import running_sandbox


def test_health(sandbox):
    answer = httpx.get(f"{sandbox.http}/healthz")
    assert answer.status_code == 200
    assert answer.json()["status"] == "ok"
    assert abs(answer.json()["now_us"] / 1e6 - time.time()) < 5


def test_unknown_paths(sandbox):
    assert httpx.get(f"{sandbox.http}/nowhere").status_code == 404
    assert httpx.get(f"{sandbox.http}/binance/api/v3/nowhere").status_code == 404
    assert httpx.get(f"{sandbox.http}/coinbase/api/v3/nowhere").status_code == 404
    assert httpx.get(f"{sandbox.http}/kraken/0/public/Nowhere").json() == {"error": ["EGeneral:Unknown method"]}


def test_tls_is_trusted_by_those_who_know_the_test_authority(tmp_path):
    with running_sandbox(tls_port=0, tls_dir=tmp_path / "tls") as sandbox:
        context = ssl.create_default_context(cafile=str(sandbox.ca_file))
        assert httpx.get(f"{sandbox.https}/binance/api/v3/ping", verify=context).json() == {}
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"{sandbox.https}/binance/api/v3/ping")

        async def one():
            async with connect(f"{sandbox.wss}/kraken/v2", ssl=context) as client:
                return json.loads(await client.recv())

        assert asyncio.run(one())["channel"] == "status"
        assert httpx.get(f"{sandbox.http}/binance/api/v3/ping").status_code == 200


def test_what_was_streamed_is_what_rest_says():
    async def listen(url):
        found = []
        async with connect(url) as client, asyncio.timeout(30):
            while len(traded(found)) <= 20 or len(closed(found)) < 2:
                found.append(json.loads(await client.recv()))
        return found

    def traded(found):
        return [m for m in found if m["e"] == "trade"]

    def closed(found):
        return [m["k"] for m in found if m["e"] == "kline" and m["k"]["x"]]

    with running_sandbox(start_us=494_000 * HOUR_US - 30_000_000, speed=60.0) as sandbox:
        live = asyncio.run(listen(f"{sandbox.ws}/binance/ws/btcusdt@trade/btcusdt@kline_1m"))
        trades, bars = traded(live), closed(live)
        asked = {"symbol": "BTCUSDT", "fromId": trades[0]["t"], "limit": len(trades)}
        rows = httpx.get(f"{sandbox.http}/binance/api/v3/historicalTrades", params=asked).json()
        assert [(r["id"], r["price"], r["qty"], r["time"]) for r in rows] == [
            (m["t"], m["p"], m["q"], m["T"]) for m in trades
        ]
        asked = {"symbol": "BTCUSDT", "interval": "1m", "startTime": bars[0]["t"], "limit": len(bars)}
        rows = httpx.get(f"{sandbox.http}/binance/api/v3/klines", params=asked).json()
        assert [row[:6] for row in rows] == [[k["t"], k["o"], k["h"], k["l"], k["c"], k["v"]] for k in bars]


def test_two_sandboxes_of_one_seed_tell_one_story(sandbox):
    url = "/kraken/0/public/Trades?pair=XBTUSD&since=1700000000&count=50"
    with running_sandbox() as other:
        assert httpx.get(other.http + url).content == httpx.get(sandbox.http + url).content
    with running_sandbox(seed=2) as other:
        assert httpx.get(other.http + url).content != httpx.get(sandbox.http + url).content


def test_binance_limits_then_bans():
    with running_sandbox(rate_limits=True) as sandbox, httpx.Client(base_url=sandbox.http) as client:
        first = client.get("/binance/api/v3/klines", params={"symbol": "BTCUSDT", "interval": "1m", "limit": 1})
        assert int(first.headers["x-mbx-used-weight-1m"]) == 2
        statuses = [client.get("/binance/api/v3/depth?symbol=BTCUSDT&limit=5000").status_code for _ in range(40)]
        assert statuses[:20] == [200] * 20
        assert {200, 418, 429} == set(statuses) or time.time() % 60 < 5
        refused = client.get("/binance/api/v3/ping")
        assert refused.status_code in (418, 429)
        assert refused.json()["code"] == -1003
        assert int(refused.headers["Retry-After"]) > 0


def test_coinbase_and_kraken_limit_too():
    with running_sandbox(rate_limits=True) as sandbox, httpx.Client(base_url=sandbox.http) as client:
        coinbase = [client.get("/coinbase/api/v3/brokerage/time").status_code for _ in range(40)]
        assert coinbase[:10] == [200] * 10
        assert 429 in coinbase
        kraken = [client.get("/kraken/0/public/Time").json()["error"] for _ in range(80)]
        assert kraken[:50] == [[]] * 50
        assert kraken[-1] == ["EGeneral:Too many requests"]


def test_budgets_refill():
    now = 1_000_040.0
    budget = MinuteBudget(10, patience=1, clock=lambda: now)
    assert budget.spend("a", 10) == 10
    assert budget.wait_s("a") == 0
    budget.spend("a", 1)
    assert budget.wait_s("a") == 40
    assert budget.banned_until("a") is None
    budget.wait_s("a")
    assert budget.banned_until("a") == now + 120
    assert budget.banned_until("b") is None
    now += 121
    assert budget.spend("a", 1) == 1
    assert budget.banned_until("a") is None
    bucket = TokenBucket(2, 2, clock=lambda: now)
    assert [bucket.take("a") for _ in range(3)] == [True, True, False]
    now += 0.5
    assert bucket.take("a")


def test_a_taken_port_is_named():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(PortTaken, match="MDP_SANDBOX_PORT"):
            run(SandboxConfig(port=taken.getsockname()[1]))


def test_a_missing_schedule_is_named(tmp_path):
    with pytest.raises(InvalidFile, match="readable JSON"):
        run(SandboxConfig(port=0, faults=tmp_path / "nowhere.json"))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_cleanly_with_clients_connected(number):
    code = (
        "from md_platform.sandbox.server import SandboxConfig, run\n"
        "run(SandboxConfig(port=0), lambda endpoints: print(endpoints.port, flush=True))\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    port = int(process.stdout.readline())

    async def connected():
        async with connect(f"ws://127.0.0.1:{port}/binance/ws/btcusdt@bookTicker") as client:
            await client.recv()
            os.kill(process.pid, number)
            async for _ in client:
                pass
            return client.close_code

    assert asyncio.run(asyncio.wait_for(connected(), 10)) == 1001
    _, errors = process.communicate(timeout=10)
    assert (process.returncode, errors) == (0, "")
