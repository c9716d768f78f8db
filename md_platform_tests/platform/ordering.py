"""Backfills of the universe `ordered`, launched as Dagster's UI launches them: two shapes, from raw to indicators."""

import datetime as dt
import os

from md_platform_tests.platform.running import Platform
from md_platform_tests.waiting import eventually

FIRST = dt.date(2026, 10, 1)
SHAPES = {"8x5": (8, 5), "5x8": (5, 8)} if os.environ.get("MDP_LARGE_BACKFILLS") else {"4x3": (4, 3), "3x4": (3, 4)}
"""Instruments × days. `make platform-test` launches the large ones."""
CHAIN = RAW, _, RESAMPLED, INDICATORS = tuple(
    f"ordered_{name}" for name in ("raw_bars", "cleaned_bars", "resampled_bars", "indicators")
)
_ADD = """mutation($name: String!) { addDynamicPartition(partitionsDefName: "ordered_instruments", partitionKey: $name,
  repositorySelector: {repositoryName: "__repository__", repositoryLocationName: "md_platform.definitions"}) {
  __typename } }"""
_LAUNCH = """mutation($params: LaunchBackfillParams!) { launchPartitionBackfill(backfillParams: $params) { __typename
  ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message } } }"""
_BACKFILL = "query($id: String!) { partitionBackfillOrError(backfillId: $id) { ... on PartitionBackfill { status } } }"


def instruments(shape: str) -> list[str]:
    """Instruments of a shape, in order of registration."""
    return [f"sandbox:{shape.upper()}N{number}-USDT" for number in range(SHAPES[shape][0])]


def days(shape: str) -> list[dt.date]:
    """Days of a shape."""
    return [FIRST + dt.timedelta(days=n) for n in range(SHAPES[shape][1])]


def launch(platform: Platform, shape: str) -> str:
    """Id of the backfill."""
    for name in instruments(shape):
        answer = platform.orchestrator.query(_ADD, {"name": name})["addDynamicPartition"]
        assert answer["__typename"] == "AddDynamicPartitionSuccess", answer
    wanted = {
        "assetSelection": [{"path": ["ordered", name]} for name in CHAIN],
        "partitionNames": [f"{day}|{name}" for name in instruments(shape) for day in days(shape)],
    }
    answer = platform.orchestrator.query(_LAUNCH, {"params": wanted})["launchPartitionBackfill"]
    assert answer["__typename"] == "LaunchBackfillSuccess", answer
    return str(answer["backfillId"])


def wait(platform: Platform, backfill: str) -> None:
    """Until the backfill is over; it must end well."""

    def is_over() -> bool:
        status = platform.orchestrator.query(_BACKFILL, {"id": backfill})["partitionBackfillOrError"]["status"]
        assert status in ("REQUESTED", "COMPLETED_SUCCESS"), status
        return bool(status == "COMPLETED_SUCCESS")

    eventually(is_over, 600, every_s=1)
