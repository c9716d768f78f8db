"""Everything on one machine, started and supervised: PostgreSQL, a Redis-protocol server, the sandbox, Dagster."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from md_platform.embedded import postgres, valkey
from md_platform.embedded.home import Home
from md_platform.embedded.supervisor import Supervisor

__all__ = ["postgres_running", "valkey_running"]


@contextlib.contextmanager
def postgres_running(home: Path, *, durable: bool = True) -> Iterator[str]:
    """URL of a PostgreSQL of its own for the time of the block, its data in `home`; tests want `durable=False`."""
    with _supervised(home) as supervisor:
        service = postgres.service(supervisor.home, durable=durable)
        supervisor.start(service)
        yield service.address


@contextlib.contextmanager
def valkey_running(home: Path) -> Iterator[str]:
    """URL of a Redis-protocol server of its own for the time of the block, its data in `home`."""
    with _supervised(home) as supervisor:
        service = valkey.service(supervisor.home)
        supervisor.start(service)
        yield service.address


@contextlib.contextmanager
def _supervised(path: Path) -> Iterator[Supervisor]:
    home = Home.at(path)
    home.prepare()
    with home.lock(), Supervisor(home) as supervisor:
        yield supervisor
