"""`mdp up` as a process of its own: started, waited for, killed."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from md_platform.embedded.home import Home
from md_platform.embedded.ports import free_port
from md_platform.embedded.processes import left_over

DEFINITIONS = "import dagster as dg\n\ndefs = dg.Definitions()\n"
START_S = 120


class Mdp:
    """One `mdp up` on `home` with definitions that load at once, and what it printed."""

    def __init__(self, home: Path, python: list[str] | None = None, **environment: str) -> None:
        self.home = home
        self.python = python or [sys.executable]
        self.log = home.parent / f"{home.name}.out"
        definitions = home.parent / "definitions_of_test.py"
        definitions.write_text(DEFINITIONS)
        definitions.chmod(0o644)
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("MDP_", "DAGSTER_"))},
            "MDP_HOME": str(home),
            "MDP_DAGSTER_PORT": str(free_port()),
            "MDP_API_PORT": str(free_port()),
            "MDP_GATEWAY_PORT": str(free_port()),
            "MDP_INSTRUMENTS": "binance:BTC-USDT",
            "MDP_STREAM": "false",
            "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")]),
            **environment,
        }
        self.definitions = definitions

    def start(self, **credentials: object) -> "Mdp":
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(
                [*self.python, "-m", "md_platform.cli", "up", "--definitions", str(self.definitions)],
                env=self.environment,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=self.home.parent,
                **credentials,
            )
        return self

    def wait_for(self, pattern: str, timeout_s: float = START_S) -> re.Match[str]:
        deadline = time.monotonic() + timeout_s
        while not (match := re.search(pattern, self.printed)):
            assert time.monotonic() < deadline, f"no {pattern!r} in:\n{self.printed}"
            assert self.process.poll() is None, f"ended before {pattern!r}:\n{self.printed}"
            time.sleep(0.05)
        return match

    def ready(self) -> "Mdp":
        self.wait_for(r"ready after \d+ s; open")
        return self

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(how)
        return self.process.wait(60)

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*self.python, "-m", "md_platform.cli", *arguments],
            env=self.environment,
            check=False,
            capture_output=True,
            text=True,
            cwd=self.home.parent,
            timeout=60,
        )

    @property
    def printed(self) -> str:
        return self.log.read_text()

    @property
    def children(self) -> dict[str, int]:
        """Pid of every part that is recorded as running."""
        return {path.stem: json.loads(path.read_text())["pid"] for path in (self.home / "run").glob("*.json")}

    def left(self) -> list[int]:
        return list(left_over(Home(self.home)))


@pytest.fixture
def mdp(open_folder: Path, request: pytest.FixtureRequest) -> Iterator[Callable[..., Mdp]]:
    """Makes an Mdp on a home of its own; what it left is ended after the test."""
    made: list[Mdp] = []

    def make(**arguments: object) -> Mdp:
        home = open_folder / f"{request.node.name[:40]}-{len(made)}" / "home"
        home.parent.mkdir()
        made.append(Mdp(home, **arguments))
        return made[-1]

    yield make
    for each in made:
        with contextlib.suppress(AttributeError, ProcessLookupError):
            each.process.kill()
            each.process.wait()
        for _, process in left_over(Home(each.home)).values():
            with contextlib.suppress(psutil.Error):
                process.kill()
