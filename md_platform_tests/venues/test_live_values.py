"""What live parsers of several venues share: times, candles without an end, halts, decoders; and books of bad levels."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from md_platform.domain.books import BookRules, OrderBook
from md_platform.domain.events import BookUpdate, TradingStatus
from md_platform.venues import VENUES
from md_platform.venues.live_values import Halts, Moment, RunningBars, decoder, digits, iso_ns, moment_ns, running_bar


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("2021-04-17T16:43:30.244075Z", 1618677810244075000),
        ("2021-04-17T16:43:30Z", 1618677810000000000),
        ("2026-08-09T21:05:48.228568804Z", 1786309548228568804),
        ("2026-08-09T21:05:48.2Z", 1786309548200000000),
    ],
)
def test_times_as_text_are_exact_to_the_ns(text, ns):
    assert iso_ns(text) == ns


@pytest.mark.parametrize(
    "text", ["", "Z", "2021-04-17", "2021-04-17T16:43:30", "2021-02-30T16:43:30Z", "2021-04-17T16:43:30.-1Z", "x" * 30]
)
def test_other_text_is_no_time(text):
    with pytest.raises(ValueError):  # noqa: PT011 - Python's own words for some
        iso_ns(text)


@given(us=st.integers(0, 4_102_444_800_000_000))
def test_decoded_times_are_exact_to_the_us_until_2100(us):
    text = f'"{msgspec.to_builtins(msgspec.convert(us / 1e6, Moment, strict=False))}"'.encode()
    moment = msgspec.json.decode(text, type=Moment)
    assert moment_ns(moment) == iso_ns(text.decode().strip('"'))


def test_a_candle_is_closed_by_the_next_and_said_again():
    bars = RunningBars()

    def bar(minute: int, close: float = 1.0):
        return running_bar("v:A-B", 1, minute * 60, (1.0, 1.0, 1.0, close, 2.0), received_ns=minute)

    def said(*taken):
        return [(b.open_time // 60, b.close, b.is_closed) for b in bars.take(taken)]

    assert said(bar(3), bar(1), bar(2)) == [(1, 1.0, True), (2, 1.0, True), (3, 1.0, False)]
    assert said(bar(3, 1.5)) == [(3, 1.5, False)]
    assert said(bar(4)) == [(3, 1.5, True), (4, 1.0, False)]
    assert said(bar(3, 1.7)) == [(3, 1.7, True)]
    assert said(bar(5)) == [(4, 1.0, True), (5, 1.0, False)]


def test_halts_are_told_when_they_begin_and_when_they_end():
    halts = Halts()
    told = [halts.take("v:A-B", is_halted=is_halted, reason="r") for is_halted in (False, True, True, False, False)]
    assert told == [[], [TradingStatus(True, "v:A-B", "r")], [], [TradingStatus(False, "v:A-B", "r")], []]
    assert halts.take(None, is_halted=True, reason="r") == []


class One(msgspec.Struct, tag="one", tag_field="kind"):
    value: Any


class Two(msgspec.Struct, tag="two", tag_field="kind"):
    pass


class Rest(msgspec.Struct):
    kind: str | None = None


def test_a_message_of_an_unknown_tag_is_another_and_one_of_a_known_tag_must_be_whole():
    decode = decoder(One | Two, Rest, float_hook=str)
    assert decode(b'{"kind":"one","value":0.10}') == One("0.10")
    assert decode(b'{"kind":"three"}') == Rest("three")
    assert decode(b"{}") == Rest()
    with pytest.raises(msgspec.ValidationError):
        decode(b'{"kind":"one"}')


def test_digits_are_of_numbers_only():
    assert [digits(value) for value in ("0.10", 5)] == ["0.10", "5"]
    for value in (True, None, [], "x"):
        with pytest.raises((TypeError, ValueError)):
            digits(value)


@pytest.mark.parametrize("price", ["x", "", "nan", "inf", "-inf"])
def test_a_level_that_is_no_finite_number_is_a_gap(price):
    book = OrderBook(BookRules())
    assert book.apply(BookUpdate("v:A-B", 0, 0, [(price, "1")], [], is_snapshot=True)) == "gap"
    assert book.apply(BookUpdate("v:A-B", 0, 0, [("1", "1")], [], is_snapshot=True)) == "applied"
    assert book.apply(BookUpdate("v:A-B", 0, 0, [("2", "1")], [(price, "1")])) == "gap"
    assert not book.is_right


def test_feeds_have_names_of_their_own_and_what_a_network_needs():
    feeds = [feed for spec in VENUES for feed in spec.feeds]
    assert len({feed.name for feed in feeds}) == len(feeds)
    for feed in feeds:
        assert all(url.startswith(("wss://", "ws://127.0.0.1:")) for url in feed.urls)
        assert (feed.snapshot_request is None) == (feed.parse_snapshot is None)
        assert "book" not in feed.channels or feed.book is not None
