"""The process of alerts: an evaluator, a publisher and a sender of webhooks, until it is told to stop."""

import threading
from collections.abc import Callable

import redis
import structlog

from md_platform.alerts.engine import Engine
from md_platform.alerts.publishing import Publisher
from md_platform.alerts.rules import Rules
from md_platform.alerts.webhooks import Webhooks
from md_platform.catalog.ledger import Ledger
from md_platform.errors import StorageError

log = structlog.get_logger(__name__)

_LOOK_EVERY_S = 1.0


def serve(
    database_url: str,
    redis_url: str,
    stopping: threading.Event,
    *,
    allows_private: bool,
    beat: Callable[[], None] = lambda: None,
    first_wait_s: float = 2.0,
) -> None:
    """Work until `stopping` is set. `beat` is called every moment: the process lives."""
    rules = Rules(database_url)
    publisher, webhooks = (
        Publisher(rules, redis_url),
        Webhooks(rules, allows_private=allows_private, first_wait_s=first_wait_s),
    )
    wakes = {publisher.publish: threading.Event(), webhooks.deliver: threading.Event()}

    def fired() -> None:
        for wake in wakes.values():
            wake.set()

    engine = Engine(rules, Ledger(database_url), redis_url, stopping, fired)
    threads = [
        threading.Thread(target=engine.run, daemon=True),
        *(threading.Thread(target=_repeated, args=(work, wake, stopping), daemon=True) for work, wake in wakes.items()),
    ]
    for thread in threads:
        thread.start()
    while all(thread.is_alive() for thread in threads) and not stopping.wait(1.0):
        beat()
    stopping.set()
    fired()
    for thread in threads:
        thread.join()
    publisher.close()
    webhooks.close()


def _repeated(work: Callable[[], int], wake: threading.Event, stopping: threading.Event) -> None:
    while not stopping.is_set():
        wake.clear()
        try:
            work()
        except (StorageError, redis.RedisError) as error:
            log.warning("alerts wait to be told", reason=str(error))
        wake.wait(_LOOK_EVERY_S)
