"""What a send costs at least: bare sockets in a process of their own, the same frames at the same rate to as many.

    python -m md_platform_tests.benchmarks.gateway_raw CONNECTIONS CHANNELS SENDS_PER_S

It does nothing but `socket.send`: no loop, no subscriptions, no Redis. Prints its port, then sends until it is killed.
"""

import base64
import hashlib
import resource
import socket
import sys
import time

from md_platform_tests.benchmarks.gateway_load import FLUSH_S, message

_MAGIC = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def framed(payload: bytes) -> bytes:
    """A text frame of less than 64 KiB."""
    return b"\x81\x7e" + len(payload).to_bytes(2, "big") + payload


def accepted(server: socket.socket) -> socket.socket:
    """A client that has shaken hands and subscribed."""
    client, _ = server.accept()
    asked = b""
    while b"\r\n\r\n" not in asked:
        asked += client.recv(4_096)
    key = next(
        line.split(b":")[1].strip() for line in asked.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key")
    )
    accept = base64.b64encode(hashlib.sha1(key + _MAGIC).digest())
    client.sendall(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n"
        b"Sec-WebSocket-Accept: %b\r\n\r\n" % accept
    )
    client.sendall(framed(b'{"type":"subscribed"}' + b" " * 126))
    return client


def main(connections: int, channels: int, sends_per_s: int) -> None:
    """Accept, then send."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    server = socket.create_server(("127.0.0.1", 0), backlog=4_096)
    print(server.getsockname()[1], flush=True)
    clients = [accepted(server) for _ in range(connections)]
    groups = [clients[n::channels] for n in range(channels)]
    ticks = round(sends_per_s / len(groups[0]) * FLUSH_S)
    due, number = time.perf_counter(), 0
    while True:
        for _ in range(ticks):
            data = message(number % channels, number)
            frame = framed(
                b'{"type":"data","channel":"trades:bench:C%d-USD","seq":%d,"data":%b}'
                % (number % channels, 1_795_205_515_218_957 + number, data)
            )
            for client in groups[number % channels]:
                client.send(frame)
            number += 1
        due += FLUSH_S
        time.sleep(max(0.0, due - time.perf_counter()))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
