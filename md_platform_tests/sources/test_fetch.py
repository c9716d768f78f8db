"""The engine: rate limits with an injected clock, retries only where they help, clear errors."""

import datetime as dt
import itertools
import json
import socket

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from md_platform.domain.instruments import Instrument
from md_platform.domain.intervals import Interval
from md_platform.domain.schemas import RAW_BARS
from md_platform.errors import MalformedPayload, RateLimited, SourceRejected, SourceUnavailable
from md_platform.sources.fetch import Fetcher, Meter, RateLimiter, RetryPolicy
from md_platform.venues import venue_named
from md_platform.venues.spec import Page, Query, RateLimit, Request
from md_platform_tests.local_server import Answer

BINANCE = venue_named("binance")
DAY = Interval.day(dt.date(2024, 1, 2))


class Time:
    def __init__(self):
        self.now = 100.0
        self.slept = []

    def clock(self):
        return self.now

    def sleep(self, seconds):
        assert seconds > 0
        self.slept.append(seconds)
        self.now += seconds


def limiter(time, weight=10, window_s=60):
    return RateLimiter(RateLimit(weight, window_s), time.clock, time.sleep)


@given(
    asked=st.lists(st.tuples(st.floats(0.1, 20), st.floats(0, 30)), max_size=60),
    observed=st.lists(st.floats(0, 40), max_size=10),
)
def test_no_window_ever_sees_more_than_the_limit(asked, observed):
    time = Time()
    held = limiter(time)
    spent = []
    counts = itertools.chain(observed, itertools.repeat(0.0))
    for weight, pause in asked:
        held.acquire(weight)
        spent.append((time.now, min(weight, 10)))
        held.observe(next(counts))
        time.now += pause
    for moment, _ in spent:
        assert sum(weight for at, weight in spent if moment - 60 < at <= moment) <= 10 + 1e-6


def test_requests_within_the_limit_do_not_wait():
    time = Time()
    held = limiter(time)
    for _ in range(10):
        held.acquire(1)
    assert time.slept == []
    held.acquire(1)
    assert sum(time.slept) == pytest.approx(60)


def test_the_venues_own_count_is_believed_when_it_is_higher():
    time = Time()
    held = limiter(time)
    held.acquire(2)
    held.observe(9)
    held.acquire(1)
    assert time.slept == []
    held.acquire(1)
    assert sum(time.slept) == pytest.approx(60)


def test_a_request_heavier_than_the_limit_takes_all_of_it():
    time = Time()
    held = limiter(time)
    held.acquire(50)
    held.acquire(1)
    assert sum(time.slept) == pytest.approx(60)


def test_the_fetcher_reads_the_used_weight_of_answers(serve, impatient):
    server = serve(lambda _: Answer(b"[]", headers={"X-MBX-USED-WEIGHT-1M": "4799"}))
    time = Time()
    held = RateLimiter(BINANCE.rate_limit, time.clock, time.sleep)
    with Fetcher(BINANCE, server.url, retry=impatient, limiter=held) as fetcher:
        fetcher.get(Request("/x"), len, Meter())
        assert time.slept == []
        fetcher.get(Request("/x", weight=2), len, Meter())
    assert sum(time.slept) == pytest.approx(60)


def test_an_unreadable_used_weight_is_ignored(serve, impatient):
    server = serve(lambda _: Answer(b"[]", headers={"X-MBX-USED-WEIGHT-1M": "many"}))
    with Fetcher(BINANCE, server.url, retry=impatient) as fetcher:
        assert fetcher.get(Request("/x"), len, Meter()) == 2


def failing(statuses, headers=None):
    left = iter(statuses)

    def answer(_):
        status = next(left, 200)
        return Answer(b"[]" if status == 200 else b"{}", status, headers or {})

    return answer


def test_an_unavailable_venue_is_asked_again(serve, impatient):
    server = serve(failing([503, 500]))
    meter = Meter()
    with Fetcher(BINANCE, server.url, retry=impatient) as fetcher:
        assert fetcher.get(Request("/x"), len, meter) == 2
    assert (meter.requests, len(server.asked)) == (3, 3)
    assert meter.bytes == 2 + 2 + 2


def test_a_refusal_is_not_repeated(serve, impatient):
    server = serve(failing([400] * 9))
    with Fetcher(BINANCE, server.url, retry=impatient) as fetcher, pytest.raises(SourceRejected, match="400"):
        fetcher.get(Request("/x"), len, Meter())
    assert len(server.asked) == 1


def test_a_malformed_payload_is_not_repeated(serve, impatient):
    server = serve(lambda _: Answer(b"<html>"))

    def parse(payload):
        raise MalformedPayload(payload.decode())

    with Fetcher(BINANCE, server.url, retry=impatient) as fetcher, pytest.raises(MalformedPayload, match="html"):
        fetcher.get(Request("/x"), parse, Meter())
    assert len(server.asked) == 1


def test_attempts_are_bounded(serve, impatient):
    server = serve(failing([503] * 99))
    with Fetcher(BINANCE, server.url, retry=impatient) as fetcher, pytest.raises(SourceUnavailable, match="503"):
        fetcher.get(Request("/x"), len, Meter())
    assert len(server.asked) == impatient.attempts


def test_retry_after_is_obeyed(serve):
    server = serve(failing([429], {"Retry-After": "1"}))
    policy = RetryPolicy(wait_initial_s=0.01)
    started = dt.datetime.now(dt.UTC)
    with Fetcher(BINANCE, server.url, retry=policy) as fetcher:
        fetcher.get(Request("/x"), len, Meter())
    assert dt.datetime.now(dt.UTC) - started >= dt.timedelta(seconds=1)


def test_a_longer_ban_than_our_patience_ends_the_attempt_at_once(serve, impatient):
    server = serve(failing([418] * 9, {"Retry-After": "259200"}))
    with Fetcher(BINANCE, server.url, retry=impatient) as fetcher, pytest.raises(RateLimited) as caught:
        fetcher.get(Request("/x"), len, Meter())
    assert caught.value.retry_after_s == 259_200
    assert len(server.asked) == 1


def test_nobody_listening_is_unavailable(impatient):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
    with Fetcher(BINANCE, url, retry=impatient) as fetcher, pytest.raises(SourceUnavailable, match="cannot be reached"):
        fetcher.get(Request("/x"), len, Meter())


def test_silence_is_a_timeout(impatient):
    policy = RetryPolicy(attempts=1, read_timeout_s=0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with Fetcher(BINANCE, url, retry=policy) as fetcher, pytest.raises(SourceUnavailable, match="in time"):
            fetcher.get(Request("/x"), len, Meter())


def test_a_body_that_breaks_off_is_fetched_again(serve, impatient):
    cuts = iter([10])
    server = serve(lambda _: Answer(json.dumps(list(range(100))).encode(), cut_at=next(cuts, None)))
    with Fetcher(BINANCE, server.url, retry=impatient) as fetcher:
        assert fetcher.get(Request("/x"), lambda payload: len(json.loads(payload)), Meter()) == 100
    assert len(server.asked) == 2


@pytest.mark.parametrize("url", ["ftp://127.0.0.1/x", "127.0.0.1:1"])
def test_an_address_that_is_none_is_refused(url, impatient):
    with Fetcher(BINANCE, url, retry=impatient) as fetcher, pytest.raises(SourceRejected, match="cannot be asked"):
        fetcher.get(Request("/x"), len, Meter())


def test_a_venue_without_a_network_is_refused():
    with pytest.raises(SourceRejected, match="file serves nothing over the network"):
        Fetcher(venue_named("file"))


def test_paging_in_a_circle_is_noticed(serve, impatient):
    server = serve(lambda _: Answer(b"[]"))
    instrument = Instrument.parse("binance:BTC-USDT", native="BTCUSDT")
    query = Query(instrument, DAY, "binance", dt.datetime.now(dt.UTC))
    empty = pl.DataFrame(schema=RAW_BARS.schema)

    def parse(_payload, request, _query):
        return Page(empty, Request("/b" if request.path == "/a" else "/a"))

    with (
        Fetcher(BINANCE, server.url, retry=impatient) as fetcher,
        pytest.raises(MalformedPayload, match="pages in a circle"),
    ):
        list(fetcher.pages(Request("/a"), parse, query, Meter()))
    assert len(server.asked) == 2
