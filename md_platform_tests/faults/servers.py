"""The database and Redis of a trial: started, killed without a word, and started again on what they left."""

import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil

from md_platform.embedded import postgres, valkey
from md_platform.embedded.home import Home
from md_platform.embedded.processes import Service, descendants, end, spawn


class Server:
    """One server, whose `service` is asked anew for each start: what was killed may have left a mess."""

    def __init__(self, folder: Path, service: Callable[[Home], Service]) -> None:
        self._home = Home.at(folder)
        self._home.prepare()
        self._service = service
        self.start()

    def start(self) -> None:
        """Start it and wait until it answers."""
        service = self._service(self._home)
        self.url = service.address
        self._process = psutil.Process(spawn(self._home, service).pid)
        deadline = time.monotonic() + service.start_timeout_s
        while not service.probe():
            if time.monotonic() > deadline:
                raise TimeoutError(f"{service.name} does not answer")
            time.sleep(0.05)

    def kill(self) -> None:
        """kill -9 of all of it at once."""
        every = [self._process, *descendants(self._process)]
        for process in every:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(every, timeout=10)

    def close(self) -> None:
        """End it in order."""
        end(self._process, signal.SIGINT, timeout_s=20)


def database(folder: Path) -> Server:
    """PostgreSQL that keeps what it has committed."""
    return Server(folder, postgres.service)


def redis_server(folder: Path) -> Server:
    """A Redis-protocol server with an append-only file."""
    return Server(folder, valkey.service)
