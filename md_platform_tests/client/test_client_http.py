"""What a client does when a server is busy, broken, gone or strange: scripted answers over real sockets."""

import gzip
import json
import threading
import time

import pytest

from md_platform import errors
from md_platform.access.keys import Keys
from md_platform.client import MarketData
from md_platform.client.problems import error_named
from md_platform.embedded.ports import free_port
from md_platform.storage.migrate import migrate
from md_platform_tests.api_server import served, stores_of
from md_platform_tests.local_server import Answer, serving

QUOTE = [{"instrument": "a:B-C", "bid": 1.0, "bid_size": 2.0, "ask": 3.0, "ask_size": 4.0}]


def problem(kind: str, status: int, **headers: str) -> Answer:
    body = {
        "type": f"urn:md-platform:{kind}",
        "title": kind,
        "status": status,
        "detail": "the reason",
        "trace_id": "t1",
    }
    return Answer(json.dumps(body).encode(), status, {"content-type": "application/problem+json", **headers})


def good() -> Answer:
    return Answer(json.dumps(QUOTE).encode(), headers={"content-type": "application/json"})


def said(*answers: Answer):
    """A server that gives these answers, the last of them for ever."""
    left = list(answers)
    return serving(lambda _: left.pop(0) if len(left) > 1 else left[0])


def test_what_may_succeed_later_is_tried_again_when_the_server_says():
    busy = problem("too-many-requests", 429, **{"retry-after": "1"})
    with said(busy, problem("storage-unavailable", 503), Answer(b"bad gateway", 502), good()) as server:
        began = time.monotonic()
        with MarketData(server.url) as client:
            assert client.quotes("a:B-C")["ask"].to_list() == [3.0]
        assert len(server.asked) == 4
        assert time.monotonic() - began >= 1.0


def test_attempts_have_an_end_and_long_waits_are_not_waited_for():
    with said(problem("too-many-requests", 429, **{"retry-after": "3600"})) as server, MarketData(server.url) as client:
        with pytest.raises(errors.TooManyRequests) as caught:
            client.quotes("a:B-C")
        assert caught.value.retry_after_s == 3_600
        assert len(server.asked) == 1
    with said(problem("storage-unavailable", 503)) as server, MarketData(server.url, attempts=2) as client:
        with pytest.raises(errors.StorageUnavailable, match=r"the reason \(trace t1\)"):
            client.quotes("a:B-C")
        assert len(server.asked) == 2


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (problem("unknown-instrument", 404), errors.UnknownInstrument),
        (problem("forbidden", 403), errors.Forbidden),
        (problem("too-large", 413), errors.TooLarge),
        (problem("invalid-request", 422), errors.UserError),
        (problem("internal-error", 500), errors.ServiceError),
        (Answer(b"<html>", 401), errors.NotAuthenticated),
        (Answer(b"<html>", 200), errors.NotFound),
        (Answer(b"", 418), errors.UserError),
    ],
)
def test_all_else_is_raised_at_once_as_what_the_server_raised(answer, kind):
    with said(answer) as server, MarketData(server.url) as client:
        with pytest.raises(kind):
            client.quotes("a:B-C")
        assert len(server.asked) == 1


def test_what_must_not_be_done_twice_is_not_tried_again_once_it_was_asked():
    with said(problem("storage-unavailable", 503)) as server, MarketData(server.url) as client:
        with pytest.raises(errors.StorageUnavailable):
            client.add_alert("a", {"kind": "price", "compare": "above", "value": 1.0}, "a:B-C")
        assert len(server.asked) == 1


def test_an_answer_that_breaks_off_is_asked_for_again():
    broken = Answer(good().body, headers={"content-type": "application/json"}, cut_at=10)
    with said(broken, good()) as server, MarketData(server.url) as client:
        assert client.quotes("a:B-C").height == 1


def test_nobody_there_is_an_error_of_ours():
    began = time.monotonic()
    with MarketData(f"http://127.0.0.1:{free_port()}", attempts=2) as client, pytest.raises(errors.PlatformUnavailable):
        client.quotes("a:B-C")
    assert time.monotonic() - began < 10
    with pytest.raises(errors.InvalidSetting):
        MarketData(".mdp")


def test_a_server_elsewhere_is_asked_through_the_proxy_of_the_environment(monkeypatch):
    packed = Answer(gzip.compress(good().body), headers={**good().headers, "content-encoding": "gzip"})
    with said(packed) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        with MarketData("http://market-data.example") as client:
            assert client.quotes("a:B-C")["ask"].to_list() == [3.0]
        (asked,) = proxy.asked
        assert (asked.headers["host"], asked.path) == ("market-data.example", "/api/v1/quotes")
        assert "gzip" in asked.headers["accept-encoding"]
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        with said(good()) as near, MarketData(near.url) as client:
            client.quotes("a:B-C")
        assert len(proxy.asked) == len(near.asked) == 1
        assert near.asked[0].headers["accept-encoding"] == "identity"


def test_a_server_that_never_answers_is_given_up():
    hanging = threading.Event()

    def answer(_) -> Answer:
        hanging.wait(10)
        return good()

    with serving(answer) as server, MarketData(server.url, timeout_s=0.2, attempts=1) as client:
        with pytest.raises(errors.PlatformUnavailable):
            client.quotes("a:B-C")
        hanging.set()


def test_every_error_of_the_gateway_has_its_type():
    assert type(error_named("unknown_instrument", "x")) is errors.UnknownInstrument
    assert type(error_named("no_such_code", "x")) is errors.ServiceError


def test_a_real_server_asks_who_it_is_and_how_often(tmp_path, database_url, redis_url):
    migrate(database_url)
    stores = stores_of(tmp_path, database_url, redis_url, is_open=False)
    _, key = Keys(database_url).create("notebook", "reader", tier="free")
    with served(stores) as api:
        url = str(api.client.base_url)
        for credential in (None, "mdp_none_nothing"):
            with MarketData(url, credential) as client, pytest.raises(errors.NotAuthenticated):
                client.instruments()
        with MarketData(url, key, attempts=1) as client:
            with pytest.raises(errors.Forbidden):
                client.backfill("binance:BTC-USDT", "2026-01-01", "2026-01-02")
            with pytest.raises(errors.TooManyRequests) as caught:  # noqa: PT012 - one of them is too many
                for _ in range(70):
                    client.instruments()
            assert caught.value.retry_after_s > 0
