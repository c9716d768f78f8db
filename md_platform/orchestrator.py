"""The one client of Dagster's GraphQL: partitions to register and ranges to run in, run states out.

Dagster itself is not imported here, so that the CLI and the API do not pay for it.
"""

import datetime as dt
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx

from md_platform.catalog.ranges import Range
from md_platform.domain.intervals import UTC
from md_platform.errors import MdpError, OrchestratorUnavailable
from md_platform.quality import own_checks

FINISHED = ("SUCCESS", "FAILURE", "CANCELED")
UNFINISHED = ("QUEUED", "NOT_STARTED", "STARTING", "STARTED", "CANCELING")
_CLASS = re.compile(r"^(\w+\.)+\w+: ")
_POLL_S = 0.5
_PATIENCE_S = 60.0
_AWAY = (
    "DagsterUserCodeUnreachableError",
    "DagsterCodeLocationLoadError",
    "AssetNotFoundError",
    "does not contain a dynamic partitions definition",
)
"""How Dagster says that its code server is away, or that its definitions are not loaded again yet."""
_ASSET_JOB = "__ASSET_JOB"
_LOCATION = {"repositoryName": "__repository__", "repositoryLocationName": "md_platform.definitions"}


@dataclass(frozen=True, slots=True)
class Run:
    """A run as Dagster sees it; `steps` counts finished of all, `job` is what runs that select assets have not."""

    id: str
    status: str
    steps_done: int
    steps: int
    tags: Mapping[str, str] = field(default_factory=dict)
    job: str | None = None
    assets: tuple[str, ...] = ()
    created_at: dt.datetime | None = None
    started_at: dt.datetime | None = None
    ended_at: dt.datetime | None = None

    @property
    def is_finished(self) -> bool:
        """Whether the run can change no more, nor be tried again."""
        return self.status in FINISHED and (
            self.superseded_by is not None or self.tags.get("dagster/will_retry") != "true"
        )

    @property
    def superseded_by(self) -> str | None:
        """The run by which Dagster tried this one again, because its process ended."""
        return self.tags.get("dagster/auto_retry_run_id")


class Orchestrator:
    """Dagster behind the webserver at `url`. OrchestratorUnavailable where it does not answer.

    A code server, which its supervisor restarts, may be away for `patience_s`.
    """

    def __init__(self, url: str, timeout_s: float = 60, patience_s: float = _PATIENCE_S) -> None:
        self._patience_s = patience_s
        self.url = url.rstrip("/")
        self._client = httpx.Client(timeout=timeout_s)

    def run_url(self, run_id: str) -> str:
        """Page of the run `run_id` in Dagster's UI."""
        return f"{self.url}/runs/{run_id}"

    def query(self, document: str, variables: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Data of a GraphQL `document`; MdpError with Dagster's own message where it refuses."""
        try:
            answer = self._client.post(
                f"{self.url}/graphql", json={"query": document, "variables": dict(variables or {})}
            )
            answer.raise_for_status()
            body = answer.json()
        except httpx.HTTPStatusError as error:
            status = error.response.status_code
            raise OrchestratorUnavailable(
                f"Dagster answers {status} at {self.url}: see dagster-webserver.log in MDP_HOME/logs"
            ) from None
        except (httpx.HTTPError, ValueError) as error:
            raise OrchestratorUnavailable(
                f"Dagster does not answer at {self.url} ({error}): start it with `mdp up`, or set MDP_DAGSTER_PORT"
            ) from None
        if body.get("errors"):
            raise MdpError(f"Dagster refused: {body['errors'][0]['message']}")
        data: dict[str, Any] = body["data"]
        return data

    def registered(self, universe: str) -> list[str]:
        """Instruments registered in `universe`, in the order that ranges follow."""
        variables = {"key": {"path": [universe, "raw_bars"]}}
        node = self._ask_code(_PARTITION_KEYS, variables, "AssetNode")
        return next(list(d["partitionKeys"]) for d in node["partitionKeysByDimension"] if d["name"] == "symbol")

    def register(self, universe: str, instruments: Sequence[str]) -> None:
        """Add to `universe` those of `instruments` that it does not have yet, in order."""
        known = set(self.registered(universe))
        for instrument in instruments:
            if instrument not in known:
                variables = {"universe": f"{universe}_instruments", "key": instrument, "location": _LOCATION}
                # a duplicate: the sensor came before us
                typenames = "AddDynamicPartitionSuccess", "DuplicateDynamicPartitionError"
                self._ask_code(_ADD_PARTITION, variables, *typenames)

    def launch(
        self,
        universe: str,
        assets: Sequence[str],
        partitions: Range,
        tags: Mapping[str, str] | None = None,
        config: Mapping[str, Any] | None = None,
    ) -> str:
        """Launch one run of `assets` over `partitions`; its id."""
        all_tags = {**partitions.tags, **(tags or {})}
        variables = {
            "params": {
                "selector": {
                    **_LOCATION,
                    "pipelineName": _ASSET_JOB,
                    "assetSelection": [{"path": [universe, name]} for name in assets],
                    "assetCheckSelection": [
                        {"assetKey": {"path": [universe, name]}, "name": check}
                        for name in assets
                        for check in own_checks(name)
                    ],
                },
                "runConfigData": dict(config or {}),
                "mode": "default",
                "executionMetadata": {"tags": [{"key": k, "value": v} for k, v in all_tags.items()]},
            }
        }
        launched = self._ask_code(_LAUNCH, variables, "LaunchRunSuccess")
        run_id: str = launched["run"]["runId"]
        return run_id

    def _ask_code(self, document: str, variables: Mapping[str, Any], *typenames: str) -> dict[str, Any]:
        """The answer to what Dagster needs its code server for, waiting a while where that is being restarted."""
        deadline = time.monotonic() + self._patience_s
        answer: dict[str, Any]
        while True:
            (answer,) = self.query(document, variables).values()
            if answer["__typename"] in typenames or not any(sign in str(answer) for sign in _AWAY):
                return _expect(answer, *typenames)
            if time.monotonic() > deadline:
                raise OrchestratorUnavailable(
                    "Dagster's code server does not answer, or its definitions are not these:"
                    " see `mdp doctor`, or restart `mdp up`"
                )
            time.sleep(_POLL_S)

    def run(self, run_id: str) -> Run:
        """State of the run `run_id`."""
        found = _expect(self.query(_RUN, {"id": run_id})["runOrError"], "Run")
        return _as_run(found)

    def runs(self, tags: Mapping[str, str], statuses: Sequence[str] = ()) -> list[Run]:
        """Runs that bear all of `tags`, oldest first; with `statuses`, only those in one of them."""
        wanted: dict[str, Any] = {"tags": [{"key": k, "value": v} for k, v in tags.items()]}
        if statuses:
            wanted["statuses"] = list(statuses)
        return self._runs(wanted)[::-1]

    def newest(self, limit: int) -> list[Run]:
        """The last runs, whoever launched them, newest first."""
        return self._runs({}, limit)

    def _runs(self, wanted: Mapping[str, Any], limit: int | None = None) -> list[Run]:
        found = _expect(self.query(_RUNS, {"filter": wanted, "limit": limit})["runsOrError"], "Runs")
        return [_as_run(run) for run in found["results"]]

    def wait(self, run_ids: Sequence[str], progress: Callable[[list[Run]], None], poll_s: float = _POLL_S) -> list[Run]:
        """Wait until every run is finished, telling `progress` at each look."""
        while True:
            runs = [self.run(run_id) for run_id in run_ids]
            progress(runs)
            if all(run.is_finished for run in runs):
                return runs
            time.sleep(poll_s)

    def terminate(self, run_id: str) -> None:
        """Cancel the run `run_id`; nothing where it has finished."""
        self.query(_TERMINATE, {"id": run_id})

    def failure(self, run_id: str) -> str:
        """Why the run `run_id` failed, in the first failing step's words (the exception's class left out)."""
        events = self.query(_FAILURE, {"id": run_id})["logsForRun"].get("events", [])
        causes = [event["error"] for event in events if event.get("error")]
        if not causes:
            return "no reason recorded"
        cause = causes[0].get("cause") or causes[0]
        return _CLASS.sub("", cause["message"].strip())


def _as_run(found: Mapping[str, Any]) -> Run:
    done = sum(step["status"] in ("SUCCESS", "FAILURE", "SKIPPED") for step in found["stepStats"])
    tags = {tag["key"]: tag["value"] for tag in found["tags"]}
    times = (found[name] for name in ("creationTime", "startTime", "endTime"))
    return Run(
        found["runId"],
        found["status"],
        done,
        len(found["stepKeysToExecute"] or []),
        tags,
        None if found["jobName"] == _ASSET_JOB else found["jobName"],
        tuple(asset["path"][-1] for asset in found["assetSelection"] or []),
        *(None if at is None else dt.datetime.fromtimestamp(at, UTC) for at in times),
    )


def _expect(answer: dict[str, Any], *typenames: str) -> dict[str, Any]:
    if answer["__typename"] not in typenames:
        errors = "; ".join(error["message"] for error in answer.get("errors", []))
        raise MdpError(f"Dagster refused: {answer['__typename']} {answer.get('message') or errors}".rstrip())
    return answer


_PARTITION_KEYS = """
query($key: AssetKeyInput!) { assetNodeOrError(assetKey: $key) { __typename
  ... on AssetNode { partitionKeysByDimension { name partitionKeys } } } }
"""
_ADD_PARTITION = """
mutation($universe: String!, $key: String!, $location: RepositorySelector!) {
  addDynamicPartition(partitionsDefName: $universe, partitionKey: $key, repositorySelector: $location) { __typename
    ... on UnauthorizedError { message } ... on PythonError { message }
    ... on DuplicateDynamicPartitionError { partitionName } } }
"""
_LAUNCH = """
mutation($params: ExecutionParams!) { launchRun(executionParams: $params) { __typename
  ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } ... on UnauthorizedError { message }
  ... on PipelineNotFoundError { message } ... on RunConfigValidationInvalid { errors { message } }
  ... on InvalidSubsetError { message } ... on PresetNotFoundError { message }
  ... on ConflictingExecutionParamsError { message }
  ... on NoModeProvidedError { message } ... on RunConflict { message } ... on InvalidStepError { invalidStepKey }
  ... on InvalidOutputError { invalidOutputName } } }
"""
_FIELDS = """
fragment Fields on Run { runId status stepKeysToExecute stepStats { status } tags { key value }
  jobName assetSelection { path } creationTime startTime endTime }
"""
_RUN = (
    """
query($id: ID!) { runOrError(runId: $id) { __typename
  ... on Run { ...Fields } ... on PythonError { message } ... on RunNotFoundError { message } } }
"""
    + _FIELDS
)
_RUNS = (
    """
query($filter: RunsFilter!, $limit: Int) { runsOrError(filter: $filter, limit: $limit) { __typename
  ... on Runs { results { ...Fields } }
  ... on PythonError { message } ... on InvalidPipelineRunsFilterError { message } } }
"""
    + _FIELDS
)
_TERMINATE = """
mutation($id: String!) { terminateRun(runId: $id) { __typename } }
"""
_FAILURE = """
query($id: ID!) { logsForRun(runId: $id) { __typename ... on EventConnection { events { __typename
  ... on ExecutionStepFailureEvent { error { message cause { message } } }
  ... on RunFailureEvent { error { message cause { message } } } } } } }
"""
