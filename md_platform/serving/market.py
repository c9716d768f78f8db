"""Stores in, all that reads them out: made once for each process, shared by its threads."""

from collections.abc import Callable
from dataclasses import dataclass

import redis

from md_platform.catalog.corporate_actions import CorporateActions
from md_platform.catalog.instruments import Instruments
from md_platform.catalog.ledger import Ledger
from md_platform.catalog.reading import Reader
from md_platform.serving.adjustments import Adjustments
from md_platform.serving.bars import Bars
from md_platform.serving.cache import Cache
from md_platform.serving.computed import Indicators
from md_platform.serving.live import Live
from md_platform.serving.names import Names
from md_platform.serving.pool import Pool
from md_platform.serving.seam import Seam
from md_platform.serving.tail import Tail
from md_platform.serving.trades import Trades
from md_platform.storage.archive import Archive
from md_platform.storage.database import Connection, bounded, connected
from md_platform.storage.lake import Lake
from md_platform.storage.live_reading import LiveReader

STATEMENT_S = 10.0
"""After this a query is given up: no reader waits for a database that does not answer."""

_REDIS_S = 2.0


@dataclass(frozen=True, slots=True)
class Market:
    """What serves market data. `close` when the process ends."""

    bars: Bars
    trades: Trades
    indicators: Indicators
    names: Names
    instruments: Instruments
    actions: CorporateActions
    adjustments: Adjustments
    cache: Cache
    ledger: Ledger
    history: Reader
    stored: Pool[LiveReader]
    redis: "redis.Redis | None"
    close: Callable[[], None]


def open_market(
    lake: Lake, archive: Archive, database_url: str, redis_url: str | None = None, *, connections: int = 8
) -> Market:
    """Readers of these stores, each of the servers by at most so many `connections`, made when they are first used."""
    stored = Pool(lambda: LiveReader(bounded(database_url, STATEMENT_S)), connections)
    rows: Pool[Connection] = Pool(
        lambda: connected(database_url, autocommit=True, statement_s=STATEMENT_S), connections
    )
    ledger = Ledger(database_url, rows.borrowed)
    history = Reader(lake, archive, ledger)
    client = None if redis_url is None else redis_client(redis_url)
    cache = Cache(client)
    seam, live = Seam(ledger), Live(stored, cache, None if client is None else Tail(client))
    bars, actions = Bars(history, seam, live, cache), CorporateActions(rows.borrowed)

    def close() -> None:
        stored.close()
        rows.close()
        if client is not None:
            client.close()

    return Market(
        bars=bars,
        trades=Trades(history, seam, live),
        indicators=Indicators(bars),
        names=Names(ledger),
        instruments=Instruments(rows.borrowed),
        actions=actions,
        adjustments=Adjustments(actions, bars),
        cache=cache,
        ledger=ledger,
        history=history,
        stored=stored,
        redis=client,
        close=close,
    )


def redis_client(url: str) -> "redis.Redis":
    """A client of Redis that soon notices when nobody answers."""
    return redis.Redis.from_url(url, socket_timeout=_REDIS_S, socket_connect_timeout=_REDIS_S, retry=None)
