"""Great Expectations is the contract: what an owner writes into a suite's JSON is what Dagster shows."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from md_platform_tests.platform.running import Platform

BITCOIN, DAY = "sandbox:BTC-USDT", "2026-10-01"
AGAIN = ("backfill", BITCOIN, "--start", DAY, "--end", "2026-10-02", "--to", "cleaned", "--refresh")
_CHECKS = """query($key: AssetKeyInput!) { assetNodeOrError(assetKey: $key) { ... on AssetNode {
  assetChecksOrError { ... on AssetChecks { checks { name executionForLatestMaterialization {
    status runId evaluation { success severity description } } } } } } } }"""


@pytest.fixture
def suite(platform: Platform) -> Iterator[Path]:
    """The JSON of the suite of cleaned_bars; as it was, afterwards."""
    file = platform.installation / "md_platform" / "quality" / "suites" / "cleaned_bars.json"
    before = file.read_text()
    yield file
    file.write_text(before)


def checks(platform: Platform) -> dict:
    key = {"key": {"path": ["crypto", "cleaned_bars"]}}
    found = platform.orchestrator.query(_CHECKS, key)["assetNodeOrError"]["assetChecksOrError"]["checks"]
    return {check["name"]: check["executionForLatestMaterialization"] for check in found if check["name"] != "fresh"}


def test_editing_a_suite_alone_changes_the_verdict_in_dagster(platform, loaded, suite):
    content, before = platform.files([BITCOIN]), suite.read_text()
    declared = json.loads(before)
    (lowest,) = [each for each in declared["expectations"] if each["meta"]["id"] == "close_positive"]
    lowest["kwargs"]["max_value"] = 1.0
    suite.write_text(json.dumps(declared))

    report = platform.json(*AGAIN, code=1)
    (run,) = report["runs"]
    assert run["status"] == "FAILURE"
    assert "breaks an expectation of severity error" in run["error"]
    assert report["problems"][0]["status"] == "failed"
    shown = checks(platform)
    assert {each["runId"] for each in shown.values()} == {run["id"]}
    failed = {name: each["evaluation"] for name, each in shown.items() if not each["evaluation"]["success"]}
    assert list(failed) == [lowest["meta"]["check"]]
    (evaluation,) = failed.values()
    assert evaluation["severity"] == "ERROR"
    assert evaluation["description"].startswith(f"1440 violations, first in {BITCOIN} {DAY}: ")
    assert platform.status("cleaned_bars", BITCOIN, DAY)[1]["violations"] == {"close_positive": 1_440}

    suite.write_text(before)
    assert platform.json(*AGAIN)["problems"] == []
    assert checks(platform)["ohlc"]["evaluation"]["success"]
    assert platform.files([BITCOIN]) == content
