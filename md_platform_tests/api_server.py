"""A real API in this process: uvicorn in a thread, on real stores."""

import contextlib
import datetime as dt
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import uvicorn
from fastapi import FastAPI

from md_platform.access.audit import Audit
from md_platform.access.authenticator import Authenticator
from md_platform.access.config import AccessConfig, JwtConfig, tiers_with
from md_platform.access.principal import Tier
from md_platform.access.rates import Rates
from md_platform.api.app import create_app
from md_platform.api.config import ApiConfig
from md_platform.api.operations import Operations
from md_platform.api.stores import Stores, redis_client
from md_platform.embedded.ports import free_port
from md_platform.loading.loader import Loader
from md_platform.orchestrator import Orchestrator
from md_platform.serving.market import open_market
from md_platform.settings import load_universes
from md_platform.storage.archive import Archive
from md_platform.storage.lake import Lake


@dataclass(frozen=True, slots=True)
class Served:
    """A running API: its application, and a client whose requests start at its address."""

    app: FastAPI
    client: httpx.Client


ENTERPRISE = Tier("enterprise", messages_per_s=None, symbols=None, requests_per_minute=100_000)


def stores_of(
    folder: Path,
    database_url: str,
    redis_url: str,
    *,
    is_open: bool = True,
    jwt: JwtConfig | None = None,
    dagster_port: int = 1,
    stream_url: str | None = None,
) -> Stores:
    """Stores on a migrated database, a Redis and folders below `folder`."""
    lake, archive = Lake(folder / "lake"), Archive(str(folder / "archive"))
    market = open_market(lake, archive, database_url, redis_url)
    lake.root.mkdir(parents=True, exist_ok=True)
    orchestrator = Orchestrator(f"http://127.0.0.1:{dagster_port}", timeout_s=2, patience_s=1)
    return Stores(
        database_url=database_url,
        redis=redis_client(redis_url),
        lake=lake,
        archive=archive,
        ledger=market.ledger,
        reader=market.history,
        universes=load_universes(),
        market=market,
        operations=Operations.open(
            database_url,
            orchestrator,
            Loader(market.ledger, orchestrator, load_universes(), poll_s=0.02),
            lambda _venue: [],
            market.history,
            folder / "exports",
            "secret of links",
            folder / "import",
            stream_url,
        ),
        authenticator=Authenticator(AccessConfig(is_open, tiers_with(ENTERPRISE), jwt), database_url, redis_url),
        rates=Rates(redis_url),
        audit=Audit(database_url, dt.timedelta(days=1)),
    )


@contextlib.contextmanager
def served(stores: Stores, config: ApiConfig | None = None, port: int | None = None) -> Iterator[Served]:
    """Serve `stores` until the block ends."""
    app = create_app(stores, config or ApiConfig())
    port = port or free_port()
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_config=None, access_log=False, ws="none"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.01)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
            yield Served(app, client)
    finally:
        server.should_exit = True
        thread.join(10)
    assert not thread.is_alive()
