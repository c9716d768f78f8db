"""The benchmark's clients in a process of their own: subscriptions of trades in, what came and how late as JSON out.

    python -m md_platform_tests.benchmarks.gateway_clients PORT CONNECTIONS CHANNELS

Says `ready` when all are subscribed, then counts from the line `begin` on its input to the line `end`. Bare sockets and
epoll: ten thousand clients of any library would take more than the core that the gateway leaves them.
"""

import json
import os
import resource
import select
import socket
import sys
import time

_SAMPLED = 10  # of so many clients one measures how late each message is
_ASKED = (
    b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
_SHORT, _LONG = 126, 127


def connected(port: int, channel: int) -> socket.socket:
    """A client that is subscribed to `channel`."""
    client = socket.create_connection(("127.0.0.1", port), timeout=30)
    request = {"op": "subscribe", "channel": "trades", "instruments": [f"bench:C{channel}-USD"]}
    payload = json.dumps(request).encode()
    client.sendall(_ASKED + bytes((0x81, 0x80 | len(payload))) + bytes(4) + payload)  # a mask of zeros
    heard = b""
    while b'"subscribed"' not in heard:
        heard += client.recv(4_096)
        if not heard:
            raise ConnectionError("the server hung up")
    client.setblocking(False)
    return client


def frames(data: bytes) -> list[bytes]:
    """Payloads of whole frames."""
    found, at = [], 0
    while at < len(data):
        length, start = data[at + 1], at + 2
        if length == _SHORT:
            length, start = int.from_bytes(data[at + 2 : at + 4], "big"), at + 4
        elif length == _LONG:
            length, start = int.from_bytes(data[at + 2 : at + 10], "big"), at + 10
        found.append(data[start : start + length])
        at = start + length
    return found


def late_ns(payload: bytes, now_ns: int) -> int:
    """How long after its publication a trade is here."""
    return now_ns - int(payload.split(b'["trade",', 1)[1].split(b",", 3)[2])


def main(port: int, connections: int, channels: int) -> None:
    """Connect, count, report."""
    clients = [connected(port, n % channels) for n in range(connections)]
    sampled = {each.fileno() for n, each in enumerate(clients) if n // channels % _SAMPLED == 0}
    poll = select.epoll()
    for each in clients:
        poll.register(each, select.EPOLLIN)
    poll.register(sys.stdin, select.EPOLLIN)
    print("ready", flush=True)
    lates: list[int] = []
    received, began, is_counting = 0, 0.0, False
    while True:
        for fd, _ in poll.poll(maxevents=1_000):
            if fd == sys.stdin.fileno():
                os.read(fd, 100)
                if is_counting:
                    return report(received, time.perf_counter() - began, lates)
                received, began, is_counting = 0, time.perf_counter(), True
                lates.clear()
                continue
            data = os.read(fd, 65_536)
            if not data:
                raise ConnectionError("the server hung up")
            payloads = frames(data)
            received += len(payloads)
            if fd in sampled and is_counting:
                now_ns = time.time_ns()
                lates.extend(late_ns(payload, now_ns) for payload in payloads if b'"data"' in payload)


def report(received: int, seconds: float, lates: list[int]) -> None:
    """Print it."""
    ordered = sorted(lates)
    found = {"received": received, "seconds": seconds, "measured": len(ordered)}
    for percent in (50, 99, 99.9) if ordered else ():
        found[f"p{percent}_ms"] = ordered[int(len(ordered) * percent / 100)] / 1e6
    print(json.dumps(found), flush=True)


if __name__ == "__main__":
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    main(*map(int, sys.argv[1:]))
