"""`mdp up` of the whole product as a process of its own, from an installed copy of the code, and what tests ask of it.

A copy, so that a test may edit what an owner of the platform may edit (an expectation suite), and so that a working
tree that changes meanwhile does not matter.
"""

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx
import polars as pl
import psutil
import psycopg
from deltalake import DeltaTable

import md_platform
from md_platform.catalog.chain import ARCHIVED
from md_platform.embedded import postgres
from md_platform.embedded.home import Home
from md_platform.embedded.ports import free_port
from md_platform.embedded.processes import left_over
from md_platform.orchestrator import Orchestrator
from md_platform.storage.archive import Archive
from md_platform.storage.lake import Lake
from md_platform_tests.waiting import eventually

START_S = 180
LOAD_S = 1_200  # a busy machine takes its time; an idle one needs forty seconds
WHEN_RECEIVED = ("known_at", "ts_received")
_SCHEDULES = """{ schedulesOrError(repositorySelector: {repositoryName: "__repository__",
  repositoryLocationName: "md_platform.definitions"}) { ... on Schedules { results { id } } } }"""
_STOP = "mutation($id: String!) { stopRunningSchedule(id: $id) { __typename ... on PythonError { message } } }"
_RUNS = """{ runsOrError { ... on Runs { results {
  runId status startTime endTime tags { key value } assetSelection { path } } } } }"""


def installed(folder: Path) -> Path:
    """A copy of the product's code in `folder`, laid out as in a checkout."""
    package = Path(md_platform.__file__).parent
    shutil.copytree(package, folder / "md_platform")
    shutil.copytree(package.parent / "sql", folder / "sql")
    shutil.copyfile(package.parent / "dagster.yaml", folder / "dagster.yaml")
    return folder


class Platform:
    """The platform in `home`; `definitions` is a file instead of the product's module."""

    def __init__(self, installation: Path, home: Path, definitions: Path | None = None, **environment: str) -> None:
        self.home = home
        self.installation = installation
        self._arguments = ["up", *(("--definitions", str(definitions)) if definitions else ())]
        dagster_port, sandbox_port = free_port(), free_port()
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("MDP_", "DAGSTER_"))},
            "MDP_HOME": str(home),
            "MDP_DAGSTER_PORT": str(dagster_port),
            "MDP_SANDBOX_PORT": str(sandbox_port),
            "MDP_API_PORT": str(free_port()),
            "MDP_GATEWAY_PORT": str(free_port()),
            "MDP_STREAM_PORT": str(free_port()),
            "MDP_FIRST_LOAD_DAYS": "0",
            "MDP_STREAM": "false",
            "PYTHONPATH": str(installation),
            **environment,
        }
        self.sandbox_url = f"http://127.0.0.1:{sandbox_port}"
        self.orchestrator = Orchestrator(f"http://127.0.0.1:{dagster_port}")
        self.lake, self.archive = Lake(home / "lake"), Archive(str(home / "archive"))

    # its life

    def start(self) -> "Platform":
        """Start it and wait until it is ready. Nothing runs by the clock, so that it is the same at midnight as at noon."""
        log = self.home.with_suffix(".out")
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "md_platform.cli", *self._arguments],
                env=self.environment,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=self.home.parent,
            )

        def ready() -> bool:
            assert self.process.poll() is None, log.read_text()
            return re.search(r"ready after \d+ s; open", log.read_text()) is not None

        eventually(ready, START_S, every_s=0.1)
        for schedule in self.orchestrator.query(_SCHEDULES)["schedulesOrError"]["results"]:
            stopped = self.orchestrator.query(_STOP, {"id": schedule["id"]})["stopRunningSchedule"]
            assert stopped["__typename"] == "ScheduleStateResult", stopped
        return self

    def kill(self) -> None:
        """`kill -9`."""
        self.process.kill()
        self.process.wait()

    def end(self) -> None:
        """Stop it, and whatever it left behind."""
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(60)
        finally:
            self.process.kill()
            for _, process in left_over(Home(self.home)).values():
                process.kill()

    def pid(self, part: str) -> int:
        """Process of a part, as `postgres`."""
        return int(json.loads((self.home / "run" / f"{part}.json").read_text())["pid"])

    def run_workers(self) -> list[psutil.Process]:
        """Processes that make partitions now."""
        children = psutil.Process(self.pid("code-server")).children()
        return [child for child in children if "--multiprocessing-fork" in child.cmdline()]

    # its commands

    def mdp(self, *arguments: str, timeout_s: float = LOAD_S) -> subprocess.CompletedProcess[str]:
        """`mdp` with `arguments`, to its end."""
        result = subprocess.run(
            [sys.executable, "-m", "md_platform.cli", *arguments],
            env=self.environment,
            check=False,
            capture_output=True,
            text=True,
            cwd=self.home.parent,
            timeout=timeout_s,
        )
        assert "Traceback" not in result.stdout + result.stderr, result.stderr
        return result

    def json(self, *arguments: str, code: int = 0) -> Any:
        """What `mdp … --json` prints."""
        result = self.mdp(*arguments, "--json")
        assert result.returncode == code, result.stderr + result.stdout
        return json.loads(result.stdout)

    def begin(self, *arguments: str) -> subprocess.Popen[str]:
        """`mdp` with `arguments`, left to run."""
        return subprocess.Popen(
            [sys.executable, "-m", "md_platform.cli", *arguments],
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=self.home.parent,
        )

    # its venue

    def misbehave(self, *faults: Mapping[str, Any]) -> None:
        """Have the sandbox commit `faults`."""
        answer = httpx.post(f"{self.sandbox_url}/control/faults", json=list(faults))
        assert answer.status_code == 201, answer.text

    def behave(self) -> None:
        """End all faults."""
        httpx.delete(f"{self.sandbox_url}/control/faults").raise_for_status()

    def hits(self) -> list[int]:
        """How often each fault has struck."""
        return [fault["hits"] for fault in httpx.get(f"{self.sandbox_url}/control/faults").json()]

    # what it has made

    @property
    def database_url(self) -> str:
        """Its PostgreSQL."""
        return str(postgres.url(Home(self.home)))

    def sql(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """Rows of a query."""
        with psycopg.connect(self.database_url) as connection:
            cursor = connection.execute(statement, values)
            return cursor.fetchall() if cursor.description else []

    def runs(self, **tags: str) -> list[dict[str, Any]]:
        """Runs that bear `tags` (`__` for the slash in a tag's name), oldest first; their tags as a dict."""
        wanted = {name.replace("__", "/").replace("_", "-"): value for name, value in tags.items()}
        found = self.orchestrator.query(_RUNS)["runsOrError"]["results"]
        runs = [{**run, "tags": {tag["key"]: tag["value"] for tag in run["tags"]}} for run in reversed(found)]
        return [run for run in runs if wanted.items() <= run["tags"].items()]

    def ledger(self, instruments: Sequence[str]) -> list[tuple[Any, ...]]:
        """Every partition's record, but for who made it last and when, and for what a venue says of the moment."""
        return self.sql(
            "SELECT dataset, instrument, date, status, rows, bytes, first_time, last_time, source, sha256, score,"
            " evidence - 'bytes_received' - 'empty', changed_at FROM md.partition_status"
            " WHERE instrument = ANY(%s) ORDER BY 1, 2, 3",
            [*instruments],
        )

    def status(self, dataset: str, instrument: str, date: str) -> tuple[str, dict[str, Any]]:
        """Status and evidence of one partition, as `mdp status --json` tells them."""
        found = self.json("status", dataset, instrument, "--start", date)["partitions"]
        return next((row["status"], row["evidence"]) for row in found if row["date"] == date)

    def files(self, instruments: Sequence[str]) -> dict[str, str]:
        """SHA-256 of every file of the lake."""
        return {
            str(path.relative_to(self.lake.root)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(self.lake.root.rglob("*"))
            if path.is_file() and path.parts[-3].removeprefix("symbol=") in instruments
        }

    def versions(self) -> dict[str, int]:
        """Version of every Delta table."""
        return {name: self.archive.version(name) for name in ARCHIVED}

    def content(self, instruments: Sequence[str]) -> dict[str, pl.DataFrame]:
        """Rows of every file of the lake and every table of the archive, but for when they were received."""
        layers = {
            str(path.relative_to(self.lake.root)): pl.read_parquet(path, glob=False)
            for path in sorted(self.lake.root.rglob("*.parquet"))
            if path.parts[-3].removeprefix("symbol=") in instruments
        }
        tables = {f"archive {name}": self.table(name, instruments) for name in ARCHIVED}
        return {name: rows.drop(WHEN_RECEIVED, strict=False) for name, rows in {**layers, **tables}.items()}

    def table(self, name: str, instruments: Sequence[str]) -> pl.DataFrame:
        """Rows of a Delta table, ordered."""
        table = DeltaTable(self.archive.uri(name))
        rows = pl.scan_delta(table).filter(pl.col("symbol").is_in(list(instruments))).collect()
        return rows.sort([column for column in rows.columns if column != "date"], nulls_last=True)
