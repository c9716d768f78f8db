"""Packets hold every event of their messages, in order, and are as large as asked at most."""

from hypothesis import given
from hypothesis import strategies as st

from md_platform.domain.events import Trade
from md_platform.domain.wire import decode, encode
from md_platform.storage.spool import Message
from streaming.delivery import Numbered
from streaming.packets import packets


def message(first: int, count: int) -> Message:
    events = [Trade("sandbox:BTC-USDT", 1, 1, n, 1.0, 1.0) for n in range(first, first + count)]
    return Message("trades", "md:trades:sandbox:BTC-USDT", count, encode(events))


@given(st.lists(st.integers(1, 60), min_size=1, max_size=12), st.integers(200, 4_000))
def test_every_event_is_in_a_packet_in_order_and_no_packet_is_too_large(counts: list[int], at_most: int) -> None:
    starts = [sum(counts[:number]) for number in range(len(counts))]
    numbered = [
        Numbered(10 + number, message(start, count))
        for number, (start, count) in enumerate(zip(starts, counts, strict=True))
    ]
    made = list(packets(numbered, at_most))
    assert [event.trade_id for packet in made for event in decode(packet.payload)] == list(range(sum(counts)))  # type: ignore[union-attr]
    assert all(len(packet.payload) <= at_most for packet in made)
    order = [tuple(map(int, packet.number.split("."))) for packet in made]
    assert order == sorted(set(order))


def test_one_event_is_never_split() -> None:
    (packet,) = packets([Numbered(1, message(0, 1))], at_most_bytes=10)
    assert len(decode(packet.payload)) == 1


def test_a_routing_key_has_as_many_parts_whatever_the_symbol_is() -> None:
    (packet,) = packets([Numbered(1, Message("trades", "md:bars:yahoo:BRK.B:1m", 1, message(0, 1).payload))])
    assert packet.routing_key == "md.bars.yahoo.BRK_B.1m"
