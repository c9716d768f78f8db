"""A venue that sends aggregated trades of 20 symbols by Binance's protocol, as fast as a socket takes them or at a rate.

    python -m md_platform_tests.benchmarks.feed_venue FOLDER

A process of its own. It prints its addresses as JSON (TLS by an authority in FOLDER) and serves until it is killed.
`{ws}/COUNT/RATE/stream` carries COUNT trades, RATE a second (0: without limit), to whom subscribes or asks by query;
`…/stream-raw` the same without the envelope of combined streams. History is empty.
"""

import base64
import hashlib
import json
import ssl
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import trustme

from md_platform.sandbox.binance_payloads import symbol_info
from md_platform.sandbox.listings import Listing

BASES = [f"C{number}" for number in range(10, 30)]
BLOCK = 500
"""Frames that are sent at once where nothing limits the rate: 110 kB."""

_FIRST_ID = 1_000_000_001
_FIRST_MS = 1_000_000_000_000
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class Tape:
    """Frames of trades, one symbol after the other; encoded once, then only ids and times are written over.

    Every frame has the same length, so that a block of them is a table of bytes whose columns are digits.
    """

    def __init__(self, *, is_combined: bool) -> None:
        frames = [_frame(number, is_combined=is_combined) for number in range(BLOCK)]
        self._table = np.frombuffer(bytearray(b"".join(frames)), np.uint8).reshape(BLOCK, -1)
        self._id = frames[0].index(b'"a":%d' % _FIRST_ID) + 4
        self._times = [frames[0].index(b'"%c":%d' % (name, _FIRST_MS)) + 4 for name in b"ET"]
        self.sent = 0

    def next(self, most: int) -> memoryview:
        """The next frames, at most `most` and at most to the end of a block, as traded now."""
        start = self.sent % BLOCK
        if start == 0:
            ids = _FIRST_ID + (self.sent + np.arange(BLOCK)) // len(BASES)
            self._table[:, self._id : self._id + 10] = ids[:, None] // 10 ** np.arange(9, -1, -1) % 10 + ord("0")
        rows = self._table[start : start + most]
        now = np.frombuffer(b"%d" % (time.time_ns() // 1_000_000), np.uint8)
        for column in self._times:
            rows[:, column : column + len(now)] = now
        self.sent += len(rows)
        return memoryview(rows).cast("B")

    def frames(self, count: int, rate: int) -> Iterator[memoryview]:
        """`count` frames, each when it is due."""
        began = time.monotonic()
        while self.sent < count:
            due = min(int((time.monotonic() - began) * rate), count) if rate else count
            if due > self.sent:
                yield self.next(due - self.sent)
            else:
                time.sleep(0.001)


def _frame(number: int, *, is_combined: bool) -> bytes:
    """A WebSocket frame with a trade. Prices and sizes are some of many, so that bars have something to compare."""
    base = BASES[number % len(BASES)]
    price, size = 60_000 + number * 7_919 % 4_001 / 100, 0.01 + number * 104_729 % 997 / 1_000
    maker = "false" if number % 3 else " true"
    trade = (
        f'{{"e":"aggTrade","E":{_FIRST_MS},"s":"{base}USDT","a":{_FIRST_ID},"p":"{price:.8f}","q":"{size:.8f}",'
        f'"f":4900000001,"l":4900000001,"T":{_FIRST_MS},"m":{maker},"M":true}}'
    )
    text = f'{{"stream":"{base.lower()}usdt@aggTrade","data":{trade}}}' if is_combined else trade
    return b"\x81\x7e" + len(text).to_bytes(2, "big") + text.encode()


class Handler(BaseHTTPRequestHandler):
    """REST, and streams for who asks for an upgrade."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Serve a request, or a stream until it is over and the client hangs up."""
        if self.headers.get("Upgrade", "").lower() != "websocket":
            self._answer()
            return
        self.close_connection = True
        key = hashlib.sha1(self.headers["Sec-WebSocket-Key"].encode() + _GUID).digest()
        self.send_response(101)
        self.send_header("Upgrade", "websocket")
        self.send_header("Connection", "Upgrade")
        self.send_header("Sec-WebSocket-Accept", base64.b64encode(key).decode())
        self.end_headers()
        _, count, rate, kind = self.path.partition("?")[0].split("/")[:4]
        if "streams=" not in self.path:
            confirmed = b'{"result":null,"id":%d}' % json.loads(self._received())["id"]
            self.connection.sendall(b"\x81" + bytes([len(confirmed)]) + confirmed)
        try:
            for frames in self.frames(int(count), int(rate), is_combined=kind == "stream"):
                self.connection.sendall(frames)
            while self._received():
                pass
        except OSError:
            pass  # it has what it wanted

    def frames(self, count: int, rate: int, *, is_combined: bool) -> Iterator[memoryview]:
        """What a connection is sent; it is asked for more when the socket has taken what came before."""
        return Tape(is_combined=is_combined).frames(count, rate)

    def _received(self) -> bytes:
        """The next message of the client's, which masks it; nothing when it is gone."""
        head = self.rfile.read(2)
        if len(head) < 2:
            return b""
        length = head[1] & 0x7F
        if length == 126:
            length = int.from_bytes(self.rfile.read(2), "big")
        mask = self.rfile.read(4)
        return bytes(byte ^ mask[n % 4] for n, byte in enumerate(self.rfile.read(length)))

    def _answer(self) -> None:
        path = self.path.partition("?")[0]
        answer: Any = []
        if path.endswith("/exchangeInfo"):
            spot = [symbol_info(Listing("binance", base, "USDT", 2, 5, 0, 1_000), halted=False) for base in BASES]
            answer = {"symbols": spot if path.startswith("/api/") else []}
        body = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def serve(handler: type[Handler] = Handler, context: ssl.SSLContext | None = None) -> str:
    """Host and port of a server that runs in threads."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"127.0.0.1:{server.server_port}"


def main() -> None:
    """Serve, with and without TLS."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(ca_file := Path(sys.argv[1]) / "venue-ca.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    plain, secured = serve(), serve(context=context)
    addresses = {"http": f"http://{plain}", "ws": f"ws://{plain}", "wss": f"wss://{secured}", "ca_file": str(ca_file)}
    print(json.dumps(addresses), flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    main()
