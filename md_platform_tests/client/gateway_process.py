"""`mdp gateway` as a process of its own on one port, to be killed and started again while clients stream."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

from md_platform.embedded.ports import free_port, is_healthy


class GatewayProcess:
    def __init__(self, home: Path, redis_url: str, database_url: str, port: int | None = None) -> None:
        self.port = port or free_port()
        self.url = f"ws://127.0.0.1:{self.port}"
        self._environment = {
            **os.environ,
            "MDP_HOME": str(home),
            "MDP_REDIS_URL": redis_url,
            "MDP_DATABASE_URL": database_url,
            "MDP_GATEWAY_PORT": str(self.port),
        }
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        argv = [sys.executable, "-m", "md_platform.cli", "gateway"]
        self._process = subprocess.Popen(argv, env=self._environment, stdout=subprocess.DEVNULL)
        while not is_healthy(f"http://127.0.0.1:{self.port}"):
            assert self._process.poll() is None
            threading.Event().wait(0.05)

    def kill(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()


@contextlib.contextmanager
def gateway_process(home: Path, redis_url: str, database_url: str, port: int | None = None) -> Iterator[GatewayProcess]:
    gateway = GatewayProcess(home, redis_url, database_url, port)
    gateway.start()
    try:
        yield gateway
    finally:
        gateway.kill()
