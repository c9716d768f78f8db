"""Frames that are dear to make, kept for all workers in Redis: made once, however many ask at the same time.

A key bears the version of what it was made from, so that what changed is never met again. Each process keeps the last
ones in its memory, too, and those that are too large for Redis there alone. Without Redis one thread of each process
makes what the others wait for.
"""

import contextlib
import hashlib
import io
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass

import polars as pl
import redis
from prometheus_client import Counter

ASKED = Counter("mdp_cache_requests_total", "Frames asked of the cache", ["kind", "outcome"])
"""By outcome: near (in this process), hit, miss, shared (somebody was making it), away (Redis did not answer)."""

LARGEST_BYTES = 8 * 2**20
NEAR_BYTES = 256 * 2**20
"""Three years of 1m bars."""

_MAKING_MS = 10_000
_LOOK_AGAIN_S = 0.01


@dataclass(frozen=True, slots=True)
class _Kept:
    frame: pl.DataFrame
    bytes: int
    until: float


class Cache:
    """The cache on `client`; None: only threads of this process share what they make, in at most `most_bytes`."""

    def __init__(self, client: "redis.Redis | None", most_bytes: int = NEAR_BYTES) -> None:
        self._client = client
        self._most_bytes = most_bytes
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self._kept_bytes = 0
        self._under_way: dict[str, Future[pl.DataFrame]] = {}

    def frame(self, kind: str, key: str, ttl_s: float, make: Callable[[], pl.DataFrame]) -> pl.DataFrame:
        """What `make` gives, or gave for this `key` in the last `ttl_s` seconds, here or elsewhere; its errors."""
        name = f"md:cache:{kind}:{hashlib.blake2b(key.encode(), digest_size=16).hexdigest()}"
        with self._lock:
            kept = self._kept.get(name)
            if kept is not None and kept.until > time.monotonic():
                self._kept.move_to_end(name)
                ASKED.labels(kind, "near").inc()
                return kept.frame
            waited = self._under_way.get(name)
            if waited is None:
                mine = self._under_way[name] = Future()
        if waited is not None:
            ASKED.labels(kind, "shared").inc()
            return waited.result()
        try:
            found = self._shared(kind, name, ttl_s, make).rechunk()  # of a piece for each day it is slow to encode
        except BaseException as error:
            mine.set_exception(error)
            raise
        else:
            self._keep(name, found, ttl_s)
            mine.set_result(found)
            return found
        finally:
            with self._lock:
                del self._under_way[name]

    def _keep(self, name: str, frame: pl.DataFrame, ttl_s: float) -> None:
        """Remember it here, in place of what was asked for longest ago."""
        kept = _Kept(frame, int(frame.estimated_size()), time.monotonic() + ttl_s)
        with self._lock:
            before = self._kept.pop(name, None)
            self._kept_bytes += kept.bytes - (before.bytes if before else 0)
            self._kept[name] = kept
            while self._kept_bytes > self._most_bytes and self._kept:
                self._kept_bytes -= self._kept.popitem(last=False)[1].bytes

    def _shared(self, kind: str, name: str, ttl_s: float, make: Callable[[], pl.DataFrame]) -> pl.DataFrame:
        if self._client is None:
            return make()
        try:
            found, outcome = self._found(name)
        except redis.RedisError:
            ASKED.labels(kind, "away").inc()
            return make()
        ASKED.labels(kind, outcome).inc()
        if found is not None:
            return pl.read_ipc_stream(found)
        try:
            frame = make()
        except BaseException:
            self._release(name)
            raise
        self._put(name, frame, ttl_s)
        return frame

    def _found(self, name: str) -> tuple[bytes | None, str]:
        """What is there, waiting for another process that is making it; None where it is for us to make."""
        client, until, outcome = self._client, time.monotonic() + _MAKING_MS / 1_000, "hit"
        assert client is not None  # noqa: S101 - as the caller saw
        while True:
            found = client.get(name)
            if isinstance(found, bytes):
                return found, outcome
            if client.set(f"{name}:making", 1, nx=True, px=_MAKING_MS) or time.monotonic() > until:
                found = client.get(name)  # who made it may have put it there just before
                if isinstance(found, bytes):
                    self._release(name)
                    return found, outcome
                return None, "miss"
            outcome = "shared"
            time.sleep(_LOOK_AGAIN_S)

    def _put(self, name: str, frame: pl.DataFrame, ttl_s: float) -> None:
        if self._client is not None and frame.estimated_size() <= LARGEST_BYTES:
            content = io.BytesIO()
            frame.write_ipc_stream(content, compression="lz4")
            with contextlib.suppress(redis.RedisError):  # then the next one makes it
                self._client.set(name, content.getvalue(), px=int(ttl_s * 1_000))
        self._release(name)

    def _release(self, name: str) -> None:
        if self._client is not None:
            with contextlib.suppress(redis.RedisError):  # then it ends by itself
                self._client.delete(f"{name}:making")
