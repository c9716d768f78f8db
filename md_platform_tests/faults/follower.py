"""Redis in; how many different trades it published out, for trades whose ids are consecutive."""

import threading
from contextlib import suppress

import redis

from md_platform.domain.events import Trade
from md_platform.domain.wire import decode


class Follower:
    """Counts the trades of all instruments, also after Redis was away, until `close`."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._stopped = threading.Event()
        self._last: dict[str, int | str] = {}
        self._trades = 0
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._thread.start()

    def trades(self) -> int:
        """Trades that came for the first time; those published again after a kill are not counted again."""
        return self._trades

    def close(self) -> None:
        """Stop following."""
        self._stopped.set()
        self._thread.join()

    def _follow(self) -> None:
        while not self._stopped.wait(0.01):  # it must be there before the publisher is, when Redis comes back
            with (
                suppress(redis.RedisError, OSError),
                redis.Redis.from_url(self._url) as client,
                client.pubsub(ignore_subscribe_messages=True) as subscriber,
            ):
                client.config_set("client-output-buffer-limit", "pubsub 0 0 0")  # however much comes at once
                subscriber.psubscribe("md:trades:*")
                while not self._stopped.is_set():
                    message = subscriber.get_message(timeout=0.1)
                    if message is not None:
                        self._take(message["data"])

    def _take(self, payload: bytes) -> None:
        for event in decode(payload):
            if isinstance(event, Trade) and event.trade_id > self._last.get(event.instrument, 0):  # type: ignore[operator]
                self._last[event.instrument] = event.trade_id
                self._trades += 1
