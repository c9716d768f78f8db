"""A real API in this process: uvicorn in a thread, on real stores."""

import contextlib
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import uvicorn
from fastapi import FastAPI

from md_platform.access.authenticator import Authenticator
from md_platform.api.app import create_app
from md_platform.api.config import ApiConfig
from md_platform.api.stores import Stores, redis_client
from md_platform.catalog.ledger import Ledger
from md_platform.catalog.reading import Reader
from md_platform.embedded.ports import free_port
from md_platform.settings import load_universes
from md_platform.storage.archive import Archive
from md_platform.storage.lake import Lake


@dataclass(frozen=True, slots=True)
class Served:
    """A running API: its application, and a client whose requests start at its address."""

    app: FastAPI
    client: httpx.Client


def stores_of(folder: Path, database_url: str, redis_url: str, *, is_open: bool = True) -> Stores:
    """Stores on a migrated database, a Redis and folders below `folder`."""
    lake, archive, ledger = Lake(folder / "lake"), Archive(str(folder / "archive")), Ledger(database_url)
    lake.root.mkdir(parents=True, exist_ok=True)
    return Stores(
        database_url=database_url,
        redis=redis_client(redis_url),
        lake=lake,
        archive=archive,
        ledger=ledger,
        reader=Reader(lake, archive, ledger),
        universes=load_universes(),
        authenticator=Authenticator(is_open=is_open),
    )


@contextlib.contextmanager
def served(stores: Stores, config: ApiConfig | None = None) -> Iterator[Served]:
    """Serve `stores` until the block ends."""
    app = create_app(stores, config or ApiConfig())
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_config=None, access_log=False, ws="none"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.01)
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
        yield Served(app, client)
    server.should_exit = True
    thread.join(10)
    assert not thread.is_alive()
