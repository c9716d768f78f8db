"""Alerts end to end: a real database and Redis, the live process's own publishing, a real receiver of webhooks."""

import asyncio
import contextlib
import hashlib
import hmac
import http.server
import itertools
import json
import random
import threading
import time
from dataclasses import dataclass, field

import pytest
import redis

from md_platform.alerts.conditions import PriceCondition, StaleCondition
from md_platform.alerts.rules import Rules, Wish
from md_platform.alerts.service import serve
from md_platform.alerts.webhooks import ATTEMPTS, Webhooks, require_webhook, resolved
from md_platform.domain.instruments import Instrument
from md_platform.domain.wire import channel_of, decode, encode
from md_platform.errors import InvalidParameter
from md_platform.storage.migrate import migrate
from md_platform_tests.api_server import served, stores_of
from md_platform_tests.live_rows import BTC, trade
from streaming.redis_script import Flush, script_on

CROSSES = PriceCondition(kind="price", compare="crosses", value=100)
SECRET = "a secret of sixteen"


@dataclass
class Receiver:
    """A real server; it answers `statuses` one after the other, then 204."""

    url: str = ""
    statuses: list[int] = field(default_factory=list)
    got: list[tuple[dict[str, str], bytes]] = field(default_factory=list)


@pytest.fixture
def receiver():
    found = Receiver()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            found.got.append((dict(self.headers), body))
            self.send_response(found.statuses.pop(0) if found.statuses else 204)
            self.end_headers()

        def log_message(self, *_):
            """Say nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found.url = f"http://127.0.0.1:{server.server_port}/hook"
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    yield found
    server.shutdown()
    server.server_close()


@pytest.fixture
def rules(database_url):
    migrate(database_url)
    return Rules(database_url)


@contextlib.contextmanager
def evaluating(database_url, redis_url):
    stopping = threading.Event()
    options = {"allows_private": True, "first_wait_s": 0.05}
    thread = threading.Thread(target=serve, args=(database_url, redis_url, stopping), kwargs=options)
    thread.start()
    try:
        yield
    finally:
        stopping.set()
        thread.join(20)
        assert not thread.is_alive()


class Feed:
    """Publishes trades as the live process does."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._sent = 0

    def send(self, *prices: float) -> None:
        async def publish() -> None:
            async with redis.asyncio.Redis.from_url(self._url) as client:
                flush = Flush()
                for price in prices:
                    self._sent += 1
                    now = time.time_ns()
                    event = trade(self._sent, price=price, ts_event=now, ts_received=now)
                    flush.add(channel_of(event), encode([event]), kept=10_000)
                await flush.send(script_on(client), "md:spool:test", self._sent)

        asyncio.run(publish())


def eventually(found, wanted, seconds: float = 20):
    deadline = time.monotonic() + seconds
    while not wanted(value := found()):
        assert time.monotonic() < deadline, value
        time.sleep(0.05)
    return value


def crossings(prices) -> int:
    sides = [1 if price > 100 else -1 for price in prices if price != 100]
    return sum(a != b for a, b in itertools.pairwise(sides))


def test_a_crossing_is_told_by_redis_and_by_a_signed_webhook(rules, database_url, redis_url, receiver):
    rule = rules.add("me", Wish("range", BTC, CROSSES, "high", webhook_url=receiver.url, webhook_secret=SECRET))
    receiver.statuses = [500]
    with redis.Redis.from_url(redis_url) as client, client.pubsub() as listening:
        listening.subscribe("md:alerts")
        with evaluating(database_url, redis_url):
            Feed(redis_url).send(99.0, 100.0, 101.0)
            (fired,) = eventually(rules.fired, lambda found: found and found[0].webhook_state == "delivered")
        told = [m["data"] for m in iter(lambda: listening.get_message(timeout=1), None) if m["type"] == "message"]
        (kept,) = client.xrange("md:log:alerts")
    assert (fired.rule_id, fired.severity, fired.value, fired.webhook_attempts) == (rule.id, "high", 101.0, 2)
    assert fired.message == "price 101 crosses 100"
    (alert,) = decode(told[0])
    assert (alert.id, alert.rule, alert.value, alert.instrument) == (fired.id, rule.id, 101.0, BTC)
    assert decode(kept[1][b"m"]) == [alert]
    (first, _), (headers, body) = receiver.got
    assert first["MDP-Delivery"] == headers["MDP-Delivery"] == str(fired.id)
    signed = hmac.new(SECRET.encode(), headers["MDP-Timestamp"].encode() + b"." + body, hashlib.sha256).hexdigest()
    assert headers["MDP-Signature"] == f"sha256={signed}"
    assert json.loads(body) | {"message": fired.message, "value": 101.0, "rule": rule.id} == json.loads(body)


def test_each_crossing_fires_once_whatever_is_restarted(rules, database_url, redis_url):
    """Evaluators come and go, sometimes two at once, while prices walk."""
    rules.add("me", Wish("range", BTC, CROSSES))
    feed, walk = Feed(redis_url), random.Random(5)
    prices = [100 + walk.choice((-1, 0, 1)) * walk.random() for _ in range(400)]
    for start in range(0, 400, 100):
        with evaluating(database_url, redis_url), evaluating(database_url, redis_url):
            for n in range(start, start + 50, 10):
                feed.send(*prices[n : n + 10])
                time.sleep(0.02)
        feed.send(*prices[start + 50 : start + 100])  # nobody evaluates
    wanted = crossings(prices)
    with evaluating(database_url, redis_url), redis.Redis.from_url(redis_url) as client:
        found = eventually(lambda: rules.fired(limit=1_000), lambda found: len(found) >= wanted)
        eventually(lambda: client.xlen("md:log:alerts"), lambda count: count >= wanted)
        time.sleep(1)
        assert len(rules.fired(limit=1_000)) == wanted
        told = [decode(fields[b"m"])[0].id for _, fields in client.xrange("md:log:alerts")]
    assert sorted(told) == sorted({each.id for each in found})


def test_a_cooldown_keeps_quiet_and_a_changed_rule_begins_anew(rules, database_url, redis_url):
    rule = rules.add("me", Wish("range", BTC, CROSSES, cooldown_s=60))
    feed = Feed(redis_url)
    with evaluating(database_url, redis_url):
        feed.send(99.0, 101.0, 99.0, 101.0)
        eventually(rules.fired, lambda found: len(found) == 1)
        time.sleep(0.01)
        rules.change(rule.id, "me", Wish("range", BTC, PriceCondition(kind="price", compare="above", value=200)))
        time.sleep(0.01)
        feed.send(150.0, 250.0)
        found = eventually(rules.fired, lambda found: len(found) == 2)
    assert found[0].value == 250.0


def test_a_new_rule_knows_what_held_before_it_was_made(rules, database_url, redis_url):
    """In a quiet market the next trade may be minutes away."""
    feed = Feed(redis_url)
    feed.send(99.0, 101.0)
    time.sleep(0.01)
    above = rules.add("me", Wish("high", BTC, PriceCondition(kind="price", compare="above", value=100)))
    crosses = rules.add("me", Wish("range", BTC, CROSSES))
    with evaluating(database_url, redis_url):
        (fired,) = eventually(rules.fired, bool)
        assert (fired.rule_id, fired.value) == (above.id, 101.0)
        feed.send(99.0)
        found = eventually(rules.fired, lambda found: len(found) == 2)
    assert (found[0].rule_id, found[0].value) == (crosses.id, 99.0)


def test_silence_is_noticed_without_any_event(rules, database_url, redis_url):
    rules.add("me", Wish("silence", BTC, StaleCondition(kind="stale", after_s=1)))
    with evaluating(database_url, redis_url):
        eventually(rules.fired, lambda found: len(found) == 1)
        Feed(redis_url).send(1.0)
        eventually(rules.fired, lambda found: len(found) == 2)


def test_a_webhook_that_never_answers_well_is_dead_in_the_end(rules, database_url, redis_url, receiver):
    rules.add("me", Wish("range", BTC, CROSSES, webhook_url=receiver.url))
    receiver.statuses = [503] * 100
    with evaluating(database_url, redis_url):
        Feed(redis_url).send(99.0, 101.0)
        (fired,) = eventually(rules.fired, lambda found: found and found[0].webhook_state == "dead", 60)
    assert (fired.webhook_attempts, fired.webhook_error) == (ATTEMPTS, "answered 503")
    assert len(receiver.got) == ATTEMPTS


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1/x", "http://localhost/x", "http://[::1]/", "http://10.0.0.1/", "http://169.254.169.254/",
            "http://[::ffff:127.0.0.1]/", "ftp://example.org/", "http://", "http://0.0.0.0/"]
)  # fmt: skip
def test_private_webhooks_are_refused(url):
    with pytest.raises(InvalidParameter, match="webhook_url"):
        require_webhook(url, allows_private=False)


def test_a_name_of_a_private_address_is_not_connected_to(rules, redis_url, receiver):
    with pytest.raises(InvalidParameter, match="not a public address"):
        resolved(receiver.url.replace("127.0.0.1", "localhost"), allows_private=False)
    webhooks = Webhooks(rules, allows_private=False)
    assert "not a public address" in webhooks._post(1, receiver.url, "", b"{}")
    webhooks.close()
    assert receiver.got == []


def test_rules_are_made_shown_changed_and_removed_by_their_owner(tmp_path, database_url, redis_url):
    migrate(database_url)
    stores = stores_of(tmp_path, database_url, redis_url)
    stores.ledger.register([(Instrument.parse(BTC, native="BTCUSDT"), "crypto")])
    body = {"name": "range", "instrument": "BTCUSDT", "condition": CROSSES.model_dump(), "webhook_secret": SECRET}
    with served(stores) as api:
        made = api.client.post("/api/v1/alerts", json=body)
        assert made.status_code == 201, made.text
        assert SECRET not in made.text
        id_ = made.json()["id"]
        assert made.json()["instrument"] == BTC
        changed = api.client.put(f"/api/v1/alerts/{id_}", json=body | {"severity": "critical"})
        assert changed.json()["severity"] == "critical"
        assert [each["id"] for each in api.client.get("/api/v1/alerts").json()] == [id_]
        assert stores.operations.alerts.all("somebody else") == []
        assert api.client.get("/api/v1/fired-alerts").json() == []
        assert api.client.delete(f"/api/v1/alerts/{id_}").status_code == 204
        assert api.client.get(f"/api/v1/alerts/{id_}").status_code == 404
        for wrong in ({"webhook_url": "http://127.0.0.1/"}, {"instrument": None}, {"condition": {"kind": "luck"}}):
            assert api.client.post("/api/v1/alerts", json=body | wrong).status_code == 422
