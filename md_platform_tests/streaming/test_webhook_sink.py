"""The webhook against a real server that fails: every notice in order, each request signed, no secret sent or logged."""

import asyncio
import hashlib
import hmac
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from md_platform.domain.events import FeedNotice, Trade
from md_platform.domain.wire import EVENTS, decode, encode
from md_platform.storage.spool import Message, Spool
from md_platform_tests.local_server import Answer, Asked, serving
from streaming.sink_url import sink_url
from streaming.sinks import deliveries
from streaming.webhook_sink import WebhookSink


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(WebhookSink, "slowest_retry_s", 0.02)


def notices(*numbers: int) -> Message:
    return Message(
        "trades", EVENTS, len(numbers), encode([FeedNotice("gap", "kraken", "kraken", "kraken-0", n) for n in numbers])
    )


def numbers(asked: Asked) -> list[int]:
    return [event.at for event in decode(asked.body) if isinstance(event, FeedNotice)]


def deliver(url: str, spool: Spool, *batches: list[Message]) -> None:
    async def run() -> None:
        (delivery,) = deliveries(None, [sink_url(url)], spool)
        task = asyncio.create_task(delivery.run())
        for batch in batches:
            delivery.put(batch, spool.append(batch))
            await asyncio.sleep(0.05)
        await asyncio.wait_for(delivery.reached(spool.read(0, 10**6)[-1].id), 20)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(run())


def test_notices_come_in_batches_signed_and_without_market_data(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool.db")
    trade = Message("trades", "md:trades:x", 1, encode([Trade("x", 1, 1, 1, 1.0, 1.0)]))
    spool.append([notices(1), trade, notices(2, 3)])
    with serving(lambda _: Answer()) as server:
        deliver(f"{server.url}/hook/T0KEN#sh4red", spool, [notices(4)])
    assert [number for asked in server.asked for number in numbers(asked)] == [1, 2, 3, 4]
    assert len(server.asked) <= 2
    for asked in server.asked:
        signed = asked.headers["mdp-timestamp"].encode() + b"." + asked.body
        expected = hmac.new(b"sh4red", signed, hashlib.sha256).hexdigest()
        assert asked.headers["mdp-signature"] == f"sha256={expected}"
        assert asked.headers["mdp-delivery"].startswith(str(spool.id))
        assert "sh4red" not in str(asked)


def test_faults_of_the_receiver_delay_and_lose_nothing(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool.db")
    answers = iter([500, 429, 404, 302, -1, 200, 503, 200])
    taken: list[int] = []

    def answer(asked: Asked) -> Answer:
        status = next(answers, 200)
        if status == 200:
            taken.extend(numbers(asked))
        return Answer(b"abc", 200, cut_at=0) if status < 0 else Answer(status=status)

    with capture_logs() as logs, serving(answer) as server:
        deliver(f"{server.url}/hook/T0KEN#sh4red", spool, *[[notices(n)] for n in range(10)])
    assert list(dict.fromkeys(taken)) == list(range(10))
    assert taken == sorted(taken)
    assert [entry["event"] for entry in logs if entry["log_level"] != "debug"][:1] == ["sink is away"]
    assert "answered 500" in str(logs)
    assert "T0KEN" not in str(logs)
    assert "sh4red" not in str(logs)


def test_a_receiver_that_was_away_gets_what_it_missed(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool.db")
    is_away = True

    def answer(_: Asked) -> Answer:
        return Answer(status=503 if is_away else 200)

    async def run(url: str) -> None:
        nonlocal is_away
        (delivery,) = deliveries(None, [sink_url(url)], spool)
        task = asyncio.create_task(delivery.run())
        for n in range(20):
            delivery.put([notices(n)], spool.append([notices(n)]))
        await asyncio.sleep(0.3)
        assert not delivery.is_up
        is_away = False
        await asyncio.wait_for(delivery.reached(20), 20)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    with serving(answer) as server:
        asyncio.run(run(server.url))
    assert [number for asked in server.asked for number in numbers(asked)][-20:] == list(range(20))
