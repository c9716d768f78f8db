"""Revoked keys out to every process at once, by Redis; in each, a thread that listens and forgets them."""

import contextlib
import threading
from collections.abc import Callable

import redis

CHANNEL = "md:revoked"
_POLL_S = 1.0
_RETRY_S = 1.0


def announce(client: redis.Redis, key_id: str) -> bool:
    """Tell every process that the key `key_id` is revoked; whether Redis took it."""
    with contextlib.suppress(redis.RedisError):
        client.publish(CHANNEL, key_id)
        return True
    return False


class Revocations:
    """Calls `forget` with the id of each key that is revoked, and with None when some may have been missed."""

    def __init__(self, client: redis.Redis, forget: Callable[[str | None], None]) -> None:
        self._redis = client
        self._forget = forget
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._listen, name="revocations", daemon=True)
        self.is_connected = False
        """Whether a revocation would be heard."""
        self._thread.start()

    def close(self) -> None:
        """End the thread."""
        self._stopping.set()
        self._thread.join(2 * _POLL_S)

    def _listen(self) -> None:
        while not self._stopping.is_set():
            with contextlib.suppress(redis.RedisError), self._redis.pubsub() as subscription:  # type: ignore[no-untyped-call]
                subscription.subscribe(CHANNEL)
                while not self._stopping.is_set():
                    self._take(subscription.get_message(timeout=_POLL_S))
            self.is_connected = False
            self._stopping.wait(_RETRY_S)

    def _take(self, message: dict[str, object] | None) -> None:
        if message is None:
            return
        if message["type"] == "subscribe":
            self._forget(None)
            self.is_connected = True
        elif isinstance(data := message["data"], bytes):
            self._forget(data.decode())
