"""Sinks against real brokers: everything arrives, each channel in order, also when the broker dies in between."""

import asyncio
import os
import random
import subprocess
import sys
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from md_platform.domain.events import FeedNotice, Trade
from md_platform.domain.wire import channel_of, decode, encode
from md_platform.storage.spool import Message, Spool
from md_platform_tests.streaming.brokers import Broker, Held, NamedKafka, Nats, Rabbit, broker_running
from streaming.delivery import Delivery
from streaming.sink_url import sink_url
from streaming.sinks import deliveries

INSTRUMENTS = ("sandbox:BTC-USDT", "sandbox:ETH-USDT", "yahoo:BRK.B")
KINDS = ("kafka", "nats", "rabbit")


@pytest.fixture(params=KINDS)
def broker(request: pytest.FixtureRequest, open_folder: Path, tmp_path: Path) -> Iterator[Broker]:
    with broker_running(request.param, tmp_path) as running:
        yield running


def messages(first: int, count: int) -> list[Message]:
    """`count` trades of each instrument from number `first` on, and a notice."""
    batches: list[list[Trade | FeedNotice]] = [
        [Trade(name, n, n, n, 1.0 + n, 1.0) for n in range(first, first + count)] for name in INSTRUMENTS
    ]
    batches.append([FeedNotice("connected", "sandbox", "sandbox", "sandbox-0", first)])
    return [Message("trades", channel_of(batch[0]), len(batch), encode(batch)) for batch in batches]


class Source:
    """Appends to the spool and puts to the delivery, as the outbox does; knows what must arrive."""

    def __init__(self, spool: Spool, delivery: Delivery) -> None:
        self._spool, self._delivery = spool, delivery
        self.last = self.count = 0
        self.sent: dict[str, list[int]] = defaultdict(list)

    def send(self, trades: int = 3) -> None:
        batch = messages(self.count, trades)
        self.count += trades
        self.last = self._spool.append(batch)
        self._delivery.put(batch, self.last)
        for each in batch:
            self.sent[each.channel] += numbers(each.payload)


def numbers(payload: bytes) -> list[int]:
    return [event.trade_id if isinstance(event, Trade) else event.at for event in decode(payload)]  # type: ignore[misc,union-attr]


def arrived(held: Sequence[Held], spool: Spool) -> dict[str, list[int]]:
    """What of `spool` came, by channel; of what came twice the first."""
    found: dict[str, dict[int, None]] = defaultdict(dict)
    for channel, id_, payload in held:
        if id_.startswith(str(spool.id)):
            found[channel].update(dict.fromkeys(numbers(payload)))
    return {channel: list(of_channel) for channel, of_channel in found.items()}


@asynccontextmanager
async def delivering(url: str, spool: Spool) -> AsyncIterator[Delivery]:
    (delivery,) = deliveries(None, [sink_url(url)], spool)
    task = asyncio.create_task(delivery.run())
    try:
        yield delivery
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def all_arrive(url: str, spool: Spool) -> Source:
    async with delivering(url, spool) as delivery:
        source = Source(spool, delivery)
        for _ in range(50):
            source.send()
            await asyncio.sleep(0.002)
        await asyncio.wait_for(delivery.reached(source.last), 60)
    return source


def test_everything_arrives_in_order_and_a_second_process_goes_on_from_there(broker: Broker, tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool.db")

    async def run() -> None:
        await broker.subscribe()
        source = await all_arrive(broker.url, spool)
        assert arrived(await broker.held(), spool) == source.sent
        async with delivering(broker.url, spool) as again:
            await asyncio.wait_for(again.reached(source.last), 30)
            assert again.sent == 0

    asyncio.run(run())


def test_a_broker_that_is_killed_and_started_again_loses_nothing(broker: Broker, tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool.db")

    async def run() -> None:
        await broker.subscribe()
        async with delivering(broker.url, spool) as delivery:
            source = Source(spool, delivery)

            async def send(rounds: int) -> None:
                for _ in range(rounds):
                    source.send()
                    await asyncio.sleep(0.005)

            while not delivery.is_up:
                await send(1)
            await send(100)
            broker.kill()
            while delivery.is_up:
                await send(1)
            await send(200)
            await asyncio.to_thread(broker.start)
            await send(200)
            await asyncio.wait_for(delivery.reached(source.last), 90)
            while not delivery.is_up:  # noqa: ASYNC110 - the delivery has no event for it
                await asyncio.sleep(0.01)
        assert arrived(await broker.held(), spool) == source.sent

    with capture_logs() as logs:
        asyncio.run(run())
    assert [entry["event"] for entry in logs if entry["log_level"] != "debug"] == ["sink is away", "sink is back"]
    assert "s3cret" not in str(logs)
    assert "guest" not in str(logs)


def test_a_message_larger_than_a_broker_takes_comes_in_parts(broker: Broker, tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool.db")

    async def run() -> None:
        await broker.subscribe()
        async with delivering(broker.url, spool) as delivery:
            source = Source(spool, delivery)
            source.send(30_000)
            source.send(3)
            assert max(len(row.message.payload) for row in spool.read(0, 10**6)) > 1 << 20
            await asyncio.wait_for(delivery.reached(source.last), 60)
        assert arrived(await broker.held(), spool) == source.sent

    asyncio.run(run())


SENDER = """
import asyncio, sys
from pathlib import Path
from md_platform.storage.spool import Spool
from md_platform_tests.streaming.test_broker_sinks import Source, delivering

async def send(url, spool):
    async with delivering(url, spool) as delivery:
        source = Source(spool, delivery)
        source.count = spool.depth(0)[1]
        while True:
            source.send()
            print(source.last, flush=True)
            await asyncio.sleep(0.002)

asyncio.run(send(sys.argv[1], Spool(Path(sys.argv[2]))))
"""


def test_a_process_killed_at_any_moment_leaves_nothing_out(tmp_path: Path) -> None:
    path = tmp_path / "spool.db"

    async def finish(url: str, spool: Spool) -> list[Held]:
        async with delivering(url, spool) as delivery:
            await asyncio.wait_for(delivery.reached(max(row.id for row in spool.since(0))), 60)
        return await broker.held()

    with broker_running("nats", tmp_path) as broker:
        for _ in range(5):
            sender = subprocess.Popen([sys.executable, "-c", SENDER, broker.url, path], stdout=subprocess.PIPE)
            assert sender.stdout is not None
            for _ in range(random.randint(1, 300)):
                sender.stdout.readline()
            sender.kill()
            sender.wait()
        spool = Spool(path)
        expected = defaultdict(list)
        for row in spool.since(0):
            expected[row.message.channel] += numbers(row.message.payload)
        assert arrived(asyncio.run(finish(broker.url, spool)), spool) == expected


@pytest.mark.parametrize(("variable", "kind"), [("KAFKA", NamedKafka), ("NATS", Nats), ("AMQP", Rabbit)])
def test_everything_arrives_at_the_broker_that_is_named(variable: str, kind: type[Broker], tmp_path: Path) -> None:
    url = os.environ.get(f"MDP_TEST_{variable}_URL") or pytest.skip(f"MDP_TEST_{variable}_URL names no broker")
    broker, spool = kind(tmp_path), Spool(tmp_path / "spool.db")  # type: ignore[call-arg]
    broker.url = url

    async def run() -> None:
        await broker.subscribe()
        source = await all_arrive(url, spool)
        assert arrived(await broker.held(), spool) == source.sent

    asyncio.run(run())
