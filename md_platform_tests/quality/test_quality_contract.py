"""Suites as files: what is refused, and that editing the JSON alone changes the verdict."""

import json
import subprocess
import sys

import pytest
from quality_seeds import CLEAN, MONDAY, expected_of, seed

from md_platform.errors import InvalidSetting
from md_platform.quality import MeasuredPartition, check_names, load_suite, validate
from md_platform.quality.contract import SUITES


def copy_suite(folder, dataset, edit):
    declared = json.loads((SUITES / f"{dataset}.json").read_text())
    for item in declared["expectations"]:
        edit(item)
    (folder / f"{dataset}.json").write_text(json.dumps(declared))


def verdict_of(folder, frame):
    suite = load_suite("cleaned_bars", folder)
    measured = suite.measure(frame, expected_of("cleaned_bars"))
    return validate(suite, [MeasuredPartition("binance:BTC-USDT", MONDAY, measured)], run_id="r")


def test_editing_the_json_alone_changes_the_verdict(tmp_path):
    frame = seed("cleaned_bars", "stale_run")
    assert not verdict_of(SUITES, frame).checks()["stale"].passed

    def tolerate(item):
        if item["meta"]["id"] == "stale_run":
            item["kwargs"]["max_value"] = 500

    copy_suite(tmp_path, "cleaned_bars", tolerate)
    assert verdict_of(tmp_path, frame).checks()["stale"].passed

    def block(item):
        if item["meta"]["id"] == "stale_run":
            item["severity"] = "critical"

    copy_suite(tmp_path, "cleaned_bars", block)
    assert verdict_of(tmp_path, frame).blocks
    assert check_names("cleaned_bars", tmp_path)["stale"].severity == "error"


def test_a_tolerance_in_the_json_lets_a_few_missing_bars_pass(tmp_path):
    frame = CLEAN["cleaned_bars"]().slice(10)

    def tolerate(item):
        if item["meta"]["id"] == "expected_present":
            item["kwargs"]["mostly"] = 0.99

    copy_suite(tmp_path, "cleaned_bars", tolerate)
    assert not verdict_of(SUITES, frame).passed
    assert verdict_of(tmp_path, frame).passed
    late = verdict_of(tmp_path, frame.slice(10)).checks()["completeness"]
    assert (late.passed, late.severity, late.violations) == (False, "warning", 20)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"severity": "fatal"}, "severity of open_positive must be critical or warning, was 'fatal'"),
        ({"meta": {"id": "open_positive", "check": "ohlc", "why": "w", "table": "raw"}}, "meta.table"),
        ({"kwargs": {"column": "open", "min_value": 0, "mostly": 2}}, "mostly of open_positive"),
        ({"meta": {"check": "ohlc"}}, "must be a Great Expectations suite: KeyError"),
        ({"meta": {"id": "rows", "check": "ohlc", "why": "w"}}, "must not be one of .* was rows"),
        ({"meta": {"id": "high_positive", "check": "ohlc", "why": "w"}}, "repeated: high_positive"),
    ],
)
def test_a_suite_that_says_something_unknown_is_refused(tmp_path, change, message):
    copy_suite(
        tmp_path,
        "cleaned_bars",
        lambda item: item.update(change) if item["meta"]["id"] == "open_positive" else None,
    )
    with pytest.raises(InvalidSetting, match=message):
        load_suite("cleaned_bars", tmp_path)


def test_files_that_are_no_suite_of_their_dataset_are_refused(tmp_path):
    (tmp_path / "cleaned_bars.json").write_text("{")
    with pytest.raises(InvalidSetting, match=r"cleaned_bars\.json must be a Great Expectations suite"):
        load_suite("cleaned_bars", tmp_path)
    (tmp_path / "cleaned_bars.json").write_text('{"name": "other", "expectations": []}')
    with pytest.raises(InvalidSetting, match="must be named 'cleaned_bars'"):
        load_suite("cleaned_bars", tmp_path)
    (tmp_path / "raw_bars.json").write_text('{"name": "raw_bars", "expectations": []}')
    with pytest.raises(InvalidSetting, match=r"raw_bars\.json: a suite is of one of"):
        load_suite("raw_bars", tmp_path)
    with pytest.raises(InvalidSetting, match=r"no expectation suite nonsense\.json, there are: cleaned_bars"):
        load_suite("nonsense", tmp_path)


def test_measuring_does_not_import_great_expectations():
    code = (
        "import sys; from md_platform.quality import load_suite, expected_table; import datetime as dt;"
        "load_suite('cleaned_bars').measure(None, expected_table('cleaned_bars', '24/7', dt.date(2024, 1, 1)));"
        "assert not {'great_expectations', 'dagster'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
