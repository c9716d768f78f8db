"""Numbered messages in; what a broker is sent out, in order by channel.

Brokers acknowledge each message, some after a trip round the world, and order holds only for what waits for the one
before. So the messages of a channel go one after the other, those of different channels side by side, and all of a
channel that wait together go as one packet: the slower the answers, the larger the packets.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass

from md_platform.domain.wire import decode, encode, joined
from streaming.delivery import Numbered

PACKET_BYTES = 512 * 1024
"""Brokers take 1 MiB unless told otherwise."""


@dataclass(frozen=True, slots=True)
class Packet:
    """A message of the wire, as a broker gets it. `number` is unique in the spool and rises within a channel."""

    channel: str
    number: str
    payload: bytes

    @property
    def routing_key(self) -> str:
        """The channel in the words of brokers whose names have parts: `md.trades.binance.BTC-USDT`."""
        return self.channel.replace(".", "_").replace(":", ".")


async def send_in_order(
    messages: Sequence[Numbered],
    publish: Callable[[Packet], Awaitable[object]],
    at_most_bytes: int = PACKET_BYTES,
) -> None:
    """Publish `messages`; returns when all are acknowledged, raises the first error once nothing is under way."""
    channels: dict[str, list[Numbered]] = {}
    for each in messages:
        channels.setdefault(each.message.channel, []).append(each)

    async def one_by_one(of_channel: Sequence[Numbered]) -> None:
        for packet in packets(of_channel, at_most_bytes):
            await publish(packet)

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one_by_one(of_channel)) for of_channel in channels.values()]
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from None
    if any(task.cancelled() for task in tasks):  # by a client whose connection broke, which a group takes for success
        raise ConnectionError("the connection broke off before everything was acknowledged")


def packets(messages: Sequence[Numbered], at_most_bytes: int = PACKET_BYTES) -> Iterator[Packet]:
    """`messages`, all of one channel, joined up to and split down to `at_most_bytes`; one event is never split."""
    waiting: list[bytes] = []
    size, last = 0, ""
    for number, message in messages:
        for part, payload in enumerate(_split(message.payload, at_most_bytes)):
            if waiting and size + len(payload) > at_most_bytes:
                yield Packet(message.channel, last, joined(waiting))
                waiting, size = [], 0
            waiting.append(payload)
            size += len(payload)
            last = f"{number}.{part}"
    yield Packet(messages[0].message.channel, last, joined(waiting))


def _split(payload: bytes, at_most_bytes: int) -> list[bytes]:
    if len(payload) <= at_most_bytes:
        return [payload]
    events = decode(payload)
    middle = len(events) // 2
    if not middle:
        return [payload]
    return [part for half in (events[:middle], events[middle:]) for part in _split(encode(half), at_most_bytes)]
