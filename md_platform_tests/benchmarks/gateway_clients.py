"""The benchmark's clients in a process of their own: subscriptions of trades in, what came and how late as JSON out.

    python -m md_platform_tests.benchmarks.gateway_clients PORT CONNECTIONS CHANNELS

Says `ready` when all are subscribed, then counts from the line `begin` on its input to the line `end`.
"""

import asyncio
import json
import resource
import sys
import time

import picows

_AT_ONCE = 100
_SAMPLED = 10  # of so many clients one measures how late each message is: to decode all would be a load of its own


class Client(picows.WSListener):
    """Counts."""

    def __init__(self, channel: int, counts: list[int]) -> None:
        super().__init__()
        self._channel = channel
        self._counts = counts
        self.is_subscribed = asyncio.Event()

    def on_ws_connected(self, transport: picows.WSTransport) -> None:
        """Called by picows."""
        request = {"op": "subscribe", "channel": "trades", "instruments": [f"bench:C{self._channel}-USD"]}
        transport.send(picows.WSMsgType.TEXT, json.dumps(request).encode())

    def on_ws_frame(self, transport: picows.WSTransport, frame: picows.WSFrame) -> None:
        """Called by picows."""
        if self.is_subscribed.is_set():
            self._counts[0] += 1
        elif b'"subscribed"' in frame.get_payload_as_bytes():
            self.is_subscribed.set()


class Measuring(Client):
    """Counts, and measures."""

    def __init__(self, channel: int, counts: list[int], late_ns: list[int]) -> None:
        super().__init__(channel, counts)
        self._late_ns = late_ns

    def on_ws_frame(self, transport: picows.WSTransport, frame: picows.WSFrame) -> None:
        """Called by picows."""
        if self.is_subscribed.is_set():
            sent_ns = int(frame.get_payload_as_bytes().split(b'"trade",', 1)[1].split(b",", 3)[2])
            self._late_ns.append(time.time_ns() - sent_ns)
        super().on_ws_frame(transport, frame)


async def main(port: int, connections: int, channels: int) -> None:
    """Connect, count, report."""
    counts, late_ns = [0], list[int]()
    clients = [
        Client(n % channels, counts) if n // channels % _SAMPLED else Measuring(n % channels, counts, late_ns)
        for n in range(connections)
    ]
    for start in range(0, connections, _AT_ONCE):
        some = clients[start : start + _AT_ONCE]
        url = f"ws://127.0.0.1:{port}/"
        await asyncio.gather(
            *(picows.ws_connect(lambda each=each: each, url, read_buffer_init_size=1_024) for each in some)
        )
        await asyncio.gather(*(each.is_subscribed.wait() for each in some))
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    print("ready", flush=True)
    await reader.readline()
    counts[0], began = 0, time.perf_counter()
    late_ns.clear()
    await reader.readline()
    ordered = sorted(late_ns)
    found = {"received": counts[0], "seconds": time.perf_counter() - began, "measured": len(ordered)}
    for percent in (50, 99, 99.9) if ordered else ():
        found[f"p{percent}_ms"] = ordered[int(len(ordered) * percent / 100)] / 1e6
    print(json.dumps(found), flush=True)


if __name__ == "__main__":
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    asyncio.run(main(*map(int, sys.argv[1:])))
