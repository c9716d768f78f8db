"""Requests to an HTTP server, one after the other or so many a second on schedule; how long each took."""

import asyncio
import statistics
import time
from collections.abc import Callable

import urllib3


def fetch(url: str, accept: str, parse: Callable[[bytes], object], times: int) -> tuple[float, float, float, bytes]:
    """Ms until the first byte: of the first request, the median of `times` later ones; until it is parsed; the content.

    By urllib3, as our own client.
    """
    earliest = 0.0
    server, client, content = [], [], b""
    with urllib3.PoolManager(headers={"accept": accept, "accept-encoding": "identity"}) as pool:
        for n in range(times + 1):
            began = time.perf_counter()
            answer = pool.request("GET", url, preload_content=False)
            first = time.perf_counter()
            content = answer.read()
            assert answer.status == 200, content[:500]
            parse(content)
            if not n:
                earliest = (first - began) * 1_000
            else:
                server.append((first - began) * 1_000)
                client.append((time.perf_counter() - began) * 1_000)
    return earliest, statistics.median(server), statistics.median(client), content


def called(call: Callable[[], object], times: int) -> float:
    """Ms that `call` takes, the median of so many times."""
    took = []
    for _ in range(times):
        began = time.perf_counter()
        call()
        took.append((time.perf_counter() - began) * 1_000)
    return statistics.median(took)


async def load(port: int, path: str, rate: int, seconds: float, connections: int = 32) -> list[float]:
    """Latencies in ms of `rate` requests a second, sent on schedule over keep-alive connections."""
    request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept: application/json\r\n\r\n".encode()
    waiting: asyncio.Queue[float] = asyncio.Queue()
    latencies: list[float] = []

    async def one() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while (due := await waiting.get()) >= 0:
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200"), head
            lower = head.lower()
            at = lower.index(b"content-length:") + len(b"content-length:")
            await reader.readexactly(int(lower[at : lower.index(b"\r", at)]))
            latencies.append((time.perf_counter() - due) * 1_000)
        writer.close()

    workers = [asyncio.create_task(one()) for _ in range(connections)]
    began = time.perf_counter()
    for n in range(int(rate * seconds)):
        due = began + n / rate
        if (wait := due - time.perf_counter()) > 0:
            await asyncio.sleep(wait)
        waiting.put_nowait(due)
    for _ in workers:
        waiting.put_nowait(-1.0)
    await asyncio.gather(*workers)
    return latencies
