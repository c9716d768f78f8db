"""A server that speaks the part of Dagster's GraphQL that loads use; a run is a function that the test gives."""

import contextlib
import http.server
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any


@dataclass
class ScriptedRun:
    id: str
    universe: str
    assets: list[str]
    tags: dict[str, str]
    config: dict[str, Any]
    status: str = "QUEUED"
    error: str | None = None


@dataclass
class ScriptedDagster:
    """`work` is called when a queued run is first looked at; it sets the status that the run ends in, or none.

    `away` are answers to give first where the code server would be asked, as real ones of one that is being restarted;
    `status` is HTTP's.
    """

    work: Callable[[ScriptedRun], None]
    port: int = 0
    status: int = 200
    registered: list[str] = field(default_factory=list)
    runs: list[ScriptedRun] = field(default_factory=list)
    away: dict[str, list[dict[str, str]]] = field(default_factory=dict)

    def excuse(self, document: str) -> dict[str, Any] | None:
        return next(({name: left.pop(0)} for name, left in self.away.items() if name in document and left), None)

    def answer(self, document: str, variables: dict[str, Any]) -> dict[str, Any]:
        if "partitionKeysByDimension" in document:
            dimensions = [{"name": "date", "partitionKeys": []}, {"name": "symbol", "partitionKeys": self.registered}]
            return {"assetNodeOrError": {"__typename": "AssetNode", "partitionKeysByDimension": dimensions}}
        if "addDynamicPartition" in document:
            self.registered.append(variables["key"])
            return {"addDynamicPartition": {"__typename": "AddDynamicPartitionSuccess"}}
        if "launchRun" in document:
            return {
                "launchRun": {"__typename": "LaunchRunSuccess", "run": {"runId": self._launch(variables["params"])}}
            }
        if "runsOrError" in document:
            return {
                "runsOrError": {"__typename": "Runs", "results": self._found(variables["filter"], variables["limit"])}
            }
        if "terminateRun" in document:
            self._named(variables["id"]).status = "CANCELED"
            return {"terminateRun": {"__typename": "TerminateRunSuccess"}}
        if "logsForRun" in document:
            message = self._named(variables["id"]).error
            events = (
                [{"__typename": "RunFailureEvent", "error": {"message": message, "cause": None}}] if message else []
            )
            return {"logsForRun": {"__typename": "EventConnection", "events": events}}
        raise AssertionError(document)

    def _launch(self, params: dict[str, Any]) -> str:
        paths = [each["path"] for each in params["selector"]["assetSelection"]]
        tags = {tag["key"]: tag["value"] for tag in params["executionMetadata"]["tags"]}
        names = [path[1] for path in paths]
        self.runs.append(ScriptedRun(f"run-{len(self.runs)}", paths[0][0], names, tags, params["runConfigData"]))
        return self.runs[-1].id

    def _found(self, wanted: dict[str, Any], limit: int | None) -> list[dict[str, Any]]:
        tags = {tag["key"]: tag["value"] for tag in wanted.get("tags", [])}
        found = []
        for run in reversed(self.runs):
            if run.status == "QUEUED":
                self.work(run)
            if tags.items() <= run.tags.items() and run.status in wanted.get("statuses", [run.status]):
                shown = [{"key": key, "value": value} for key, value in run.tags.items()]
                found.append(
                    {"runId": run.id, "status": run.status, "stepKeysToExecute": [], "stepStats": [], "tags": shown,
                     "jobName": "__ASSET_JOB", "assetSelection": [{"path": [run.universe, a]} for a in run.assets],
                     "creationTime": 1_700_000_000.5, "startTime": None, "endTime": None}
                )  # fmt: skip
        return found[:limit]

    def _named(self, run_id: str) -> ScriptedRun:
        return next(run for run in self.runs if run.id == run_id)


def ended(run: ScriptedRun) -> None:
    """Work of runs that make nothing."""
    run.status = "SUCCESS"


@contextlib.contextmanager
def scripted_dagster(work: Callable[[ScriptedRun], None]) -> Iterator[ScriptedDagster]:
    dagster = ScriptedDagster(work)

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            data = dagster.excuse(asked["query"]) or dagster.answer(asked["query"], asked["variables"])
            body = json.dumps({"data": data}).encode()
            self.send_response(dagster.status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args):
            """Say nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    dagster.port = server.server_address[1]
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield dagster
    finally:
        server.shutdown()
        server.server_close()
