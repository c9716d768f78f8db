"""Real HTTP servers for tests: a handler function in, its address and what it was asked out."""

import contextlib
import http.server
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, urlsplit


@dataclass
class Answer:
    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    cut_at: int | None = None
    """Send only so many bytes of the body that Content-Length promises, then close."""


@dataclass
class Asked:
    path: str
    params: dict[str, str]
    headers: dict[str, str]
    body: bytes = b""


@dataclass
class Server:
    url: str
    asked: list[Asked] = field(default_factory=list)


@contextlib.contextmanager
def serving(answer: Callable[[Asked], Answer]) -> Iterator[Server]:
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            url = urlsplit(self.path)
            asked = Asked(
                url.path, dict(parse_qsl(url.query)), {name.lower(): text for name, text in self.headers.items()}
            )
            asked.body = self.rfile.read(int(asked.headers.get("content-length", 0)))
            server.asked.append(asked)
            said = answer(asked)
            self.send_response(said.status)
            self.send_header("Content-Length", str(len(said.body)))
            for name, text in said.headers.items():
                self.send_header(name, text)
            if said.cut_at is not None:
                self.send_header("Connection", "close")
                self.close_connection = True
            self.end_headers()
            self.wfile.write(said.body[: said.cut_at])

        do_POST = do_GET  # noqa: N815 - http.server's name

        def log_message(self, *args):
            """Say nothing."""

    httpd = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    httpd.daemon_threads = True
    thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    server = Server(f"http://127.0.0.1:{httpd.server_port}")
    thread.start()
    try:
        yield server
    finally:
        httpd.shutdown()
        httpd.server_close()
        thread.join()
