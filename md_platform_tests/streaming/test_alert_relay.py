"""Alerts reach the brokers in order, once each while all is well, and none is left out where a broker was away."""

import asyncio
import contextlib
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from md_platform.domain.events import Alert
from md_platform.domain.wire import ALERTS, decode, encode
from md_platform_tests.streaming.brokers import Broker, broker_running
from md_platform_tests.waiting import eventually
from streaming.alert_relay import RELAYED, TAIL, brokers, relay
from streaming.sink_url import sink_urls


@pytest.fixture(params=["kafka", "nats", "rabbit"])
def broker(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Broker]:
    with broker_running(request.param, tmp_path) as running:
        yield running


@contextlib.contextmanager
def relaying(redis_url: str, broker: Broker) -> Iterator[None]:
    """To `broker`; and to a webhook, which has alerts of its own and gets none by this way."""
    stopping = threading.Event()
    urls = sink_urls(f"{broker.url},http://127.0.0.1:9/hook")
    thread = threading.Thread(target=relay, args=(redis_url, brokers(urls), stopping))
    thread.start()
    try:
        yield
    finally:
        stopping.set()
        thread.join()


def fire(client: redis.Redis, *ids: int) -> None:
    """As who evaluates the rules publishes them."""
    for id_ in ids:
        alert = Alert(id_, "r", "anna", "high", "sandbox:BTC-USDT", "high", "BTC above 100000", 1e5, time.time_ns())
        client.xadd(TAIL, {"m": encode([alert]), "n": id_})


def until_relayed(client: redis.Redis, broker: Broker) -> None:
    """Until the broker has acknowledged all that fired."""
    (url,) = sink_urls(broker.url)
    ((newest, _),) = client.xrevrange(TAIL, count=1)
    eventually(lambda: client.hget(RELAYED, url.name) == newest)


def test_alerts_reach_brokers_also_those_that_fired_while_one_was_away(redis_url: str, broker: Broker) -> None:
    asyncio.run(broker.subscribe())
    with redis.Redis.from_url(redis_url) as client:
        fire(client, 1, 2)
        with relaying(redis_url, broker):
            until_relayed(client, broker)
            broker.kill()
            fire(client, 3)
            broker.start()
            until_relayed(client, broker)
        fire(client, 4)  # nobody relays
        with relaying(redis_url, broker):
            until_relayed(client, broker)
    messages = {message: (channel, decode(payload)) for channel, message, payload in asyncio.run(broker.held())}
    assert {channel for channel, _ in messages.values()} == {ALERTS}
    assert [event.id for _, events in messages.values() for event in events if isinstance(event, Alert)] == [1, 2, 3, 4]
