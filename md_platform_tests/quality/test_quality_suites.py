"""Every expectation of every suite catches its seeded violation, and Great Expectations' own engine agrees."""

import json

import polars as pl
import pytest
from quality_seeds import CLEAN, SEEDS, SEEDS_OF, expected_of, seed

from md_platform.domain.schemas import DATASETS
from md_platform.quality import CompiledSuite, check_names, load_suite, own_checks
from md_platform.quality.contract import SUITES

NAMES = sorted(path.stem for path in SUITES.glob("*.json"))
EVERY = [(name, expectation.id) for name in NAMES for expectation in load_suite(name).expectations]


def test_every_working_dataset_has_a_suite():
    working = {name for name, dataset in DATASETS.items() if dataset.layer in ("cleaned", "resampled", "indicators")}
    assert set(NAMES) == working == set(CLEAN)


@pytest.mark.parametrize(("dataset", "expectation"), EVERY)
def test_every_expectation_has_a_seeded_violation(dataset, expectation):
    assert expectation in SEEDS or (dataset, expectation) in SEEDS_OF


@pytest.mark.parametrize("dataset", NAMES)
def test_a_clean_partition_breaks_nothing_and_great_expectations_agrees(dataset, gx_judge):
    suite, frame, expected = load_suite(dataset), CLEAN[dataset](), expected_of(dataset)
    measured = suite.measure(frame, expected)
    assert set(measured.violations.values()) == {0}
    assert not measured.broken
    outcomes = gx_judge(suite, frame, expected)
    assert set(outcomes) == set(measured.violations)
    assert all(met and not count for met, count in outcomes.values())


@pytest.mark.parametrize(("dataset", "expectation"), EVERY)
def test_a_seeded_violation_is_caught_and_counted_as_great_expectations_counts_it(dataset, expectation, gx_judge):
    suite, frame, expected = load_suite(dataset), seed(dataset, expectation), expected_of(dataset)
    measured = suite.measure(frame, expected)
    declared = next(e for e in suite.expectations if e.id == expectation)
    assert measured.violations[expectation] > 0
    assert measured.broken[expectation] == declared.severity
    met, count = gx_judge(suite, frame, expected, {expectation})[expectation]
    assert not met
    assert count in (None, measured.violations[expectation])


def row_seeds(suite: CompiledSuite) -> list[str]:
    frozen = ("columns", "stale_run", "expected_present", "key_unique", "timeframe_not_null", "open_time_not_null")
    return [e.id for e in suite.expectations if e.table == "rows" and e.id not in frozen]


@pytest.mark.parametrize("dataset", NAMES)
def test_a_partition_in_which_much_is_wrong_is_counted_alike(dataset, gx_judge):
    suite, frame = load_suite(dataset), CLEAN[dataset]()
    for n, expectation in enumerate(row_seeds(suite)):
        change = SEEDS_OF.get((dataset, expectation)) or SEEDS[expectation]
        cut = min(n * 7, frame.height - 1)
        frame = pl.concat([frame.head(cut), change(frame.slice(cut))])
    expected = expected_of(dataset)
    measured = suite.measure(frame, expected)
    outcomes = gx_judge(suite, frame, expected)
    assert {id_: met for id_, (met, _) in outcomes.items()} == {
        id_: id_ not in measured.broken for id_ in measured.violations
    }
    counted = {id_: count for id_, (_, count) in outcomes.items() if count is not None}
    assert counted == {id_: measured.violations[id_] for id_ in counted}
    assert len(measured.broken) >= len(row_seeds(suite)) * 2 // 3


@pytest.mark.parametrize("dataset", NAMES)
def test_checks_group_the_expectations_and_warnings_are_what_never_blocks(dataset):
    checks = check_names(dataset)
    assert {"schema", "keys", "order", "completeness"} <= set(checks)
    assert {name for name, check in checks.items() if check.severity == "warning"} == set(checks) & {
        "completeness",
        "outliers",
        "stale",
    }
    assert all(check.description for check in checks.values())
    assert own_checks(dataset) == list(checks)
    assert own_checks("raw_bars") == []


@pytest.mark.parametrize("dataset", NAMES)
def test_suites_are_great_expectations_json_that_gx_loads_whole(dataset):
    from md_platform.quality.gx import gx  # noqa: PLC0415 - takes seconds

    text = (SUITES / f"{dataset}.json").read_text()
    suite = gx.ExpectationSuite(**json.loads(text))
    assert len(suite.expectations) == len(load_suite(dataset).expectations)
    assert {e.severity.value for e in suite.expectations} == {"critical", "warning"}


def test_suites_stay_short_enough_to_read():
    assert max(len((SUITES / f"{name}.json").read_text().splitlines()) for name in NAMES) < 300
