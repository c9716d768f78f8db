"""The compiled form of each expectation type: what it counts, and that Great Expectations counts the same."""

import datetime as dt
import math

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from quality_seeds import MONDAY, expected_of, minute_bars

from md_platform.domain.schemas import BAR_COLUMNS
from md_platform.errors import InvalidSetting
from md_platform.quality import expected_table, load_suite
from md_platform.quality.contract import Expectation
from md_platform.quality.derived import robust_z
from md_platform.quality.expectations import OnRows, compile_expectation
from md_platform.quality.partitions import PARTITION

NOTHING = expected_table("cleaned_bars", "24/7", MONDAY).clear()
FROM_ENGINE = settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

numbers = st.one_of(
    st.none(), st.sampled_from([0.0, 1.0, -1.0, 2.5, math.inf, -math.inf, math.nan]), st.floats(-5, 5, width=16)
)


def frame_of(first: list, second: list) -> pl.DataFrame:
    """Two bars' worth of columns that any suite may name."""
    size = min(len(first), len(second))
    return pl.DataFrame(
        {"open": first[:size], "close": second[:size]}, schema={"open": pl.Float64, "close": pl.Float64}
    )


def types(**more):
    return [
        {"type": "expect_column_values_to_not_be_null", "kwargs": {"column": "open", **more}},
        {"type": "expect_column_values_to_be_between", "kwargs": {"column": "open", "min_value": 0, "max_value": 2}},
        {
            "type": "expect_column_values_to_be_between",
            "kwargs": {
                "column": "open",
                "min_value": 0,
                "max_value": 2,
                "strict_min": True,
                "strict_max": True,
                **more,
            },
        },
        {"type": "expect_column_values_to_be_in_set", "kwargs": {"column": "open", "value_set": [0.0, 1.0], **more}},
        {"type": "expect_column_values_to_be_in_set", "kwargs": {"column": "open", "value_set": [1.0]}},
        {"type": "expect_column_values_to_not_be_in_set", "kwargs": {"column": "open", "value_set": [0.0, 1.0]}},
        {"type": "expect_column_values_to_be_unique", "kwargs": {"column": "open", **more}},
        {"type": "expect_table_row_count_to_be_between", "kwargs": {"min_value": 2, "max_value": 5}},
        {"type": "expect_table_row_count_to_be_between", "kwargs": {"min_value": 3}},
        {"type": "expect_table_row_count_to_be_between", "kwargs": {"max_value": 3}},
        *(
            {
                "type": "expect_column_pair_values_a_to_be_greater_than_b",
                "kwargs": {
                    "column_A": "open",
                    "column_B": "close",
                    "ignore_row_if": ignored,
                    "or_equal": equal,
                    **more,
                },
            }
            for ignored in ("both_values_are_missing", "either_value_is_missing", "neither")
            for equal in (True, False)
        ),
        *(
            {
                "type": "expect_compound_columns_to_be_unique",
                "kwargs": {"column_list": ["open", "close"], "ignore_row_if": ignored, **more},
            }
            for ignored in ("all_values_are_missing", "any_value_is_missing", "never")
        ),
    ]


@FROM_ENGINE
@given(st.lists(numbers, max_size=12), st.lists(numbers, max_size=12))
def test_counts_are_those_of_great_expectations_with_nulls_nan_and_infinities(gx_judge, write_suite, first, second):
    suite, frame = write_suite(*types()), frame_of(first, second)
    measured = suite.measure(frame, NOTHING)
    for id_, (met, count) in gx_judge(suite, frame, NOTHING).items():
        declared = next(e for e in suite.expectations if e.id == id_)
        assert met == (id_ not in measured.broken), declared
        assert count in (None, measured.violations[id_]), declared


@FROM_ENGINE
@given(st.lists(numbers, max_size=12), st.lists(numbers, max_size=12), st.sampled_from([0.0, 0.3, 0.5, 0.75, 0.9]))
def test_mostly_tolerates_as_great_expectations_does(gx_judge, write_suite, first, second, mostly):
    suite, frame = write_suite(*types(mostly=mostly)), frame_of(first, second)
    measured = suite.measure(frame, NOTHING)
    outcomes = gx_judge(suite, frame, NOTHING)
    assert {id_: met for id_, (met, _) in outcomes.items()} == {id_: id_ not in measured.broken for id_ in outcomes}
    assert all(measured.held[e.id] >= 0 for e in suite.expectations if e.mostly < 1)


@FROM_ENGINE
@given(st.lists(st.one_of(st.none(), st.integers(-3, 3)), max_size=10))
def test_increasing_skips_nulls_as_great_expectations_does(gx_judge, write_suite, steps):
    start = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)
    times = [None if step is None else start + dt.timedelta(minutes=step) for step in steps]
    frame = pl.DataFrame({"open_time": times}, schema={"open_time": pl.Datetime("us", "UTC")})
    suite = write_suite(
        *(
            {
                "type": "expect_column_values_to_be_increasing",
                "kwargs": {"column": "open_time", "strictly": strictly},
            }
            for strictly in (True, False)
        )
    )
    measured = suite.measure(frame, NOTHING)
    outcomes = gx_judge(suite, frame, NOTHING)
    assert {id_: count for id_, (_, count) in outcomes.items() if frame.height} == (
        dict(measured.violations) if frame.height else {}
    )


@FROM_ENGINE
@given(st.lists(st.tuples(st.lists(numbers, max_size=9), st.lists(numbers, max_size=9)), min_size=1, max_size=4))
def test_partitions_measured_together_count_as_each_does_alone(write_suite, partitions):
    increasing = {"type": "expect_column_values_to_be_increasing", "kwargs": {"column": "open"}}
    suite, frames = write_suite(*types(mostly=0.5), increasing), [frame_of(*columns) for columns in partitions]
    alone = [suite.measure(frame, NOTHING) for frame in frames]
    assert suite.measure_all(frames, [NOTHING] * len(frames)) == alone


def test_columns_by_set_and_by_order(gx_judge, write_suite):
    ordered = {"type": "expect_table_columns_to_match_ordered_list", "meta": {"table": "stored"}}
    of_set = {"type": "expect_table_columns_to_match_set", "meta": {"table": "stored"}}
    suite = write_suite(
        {**ordered, "kwargs": {"column_list": ["open", "close"]}},
        {**ordered, "meta": {"table": "stored"}, "kwargs": {"column_list": ["close", "open"]}},
        {**ordered, "meta": {"table": "stored"}, "kwargs": {"column_list": ["open", "close", "volume"]}},
        {**of_set, "kwargs": {"column_set": ["close", "open"]}},
        {**of_set, "meta": {"table": "stored"}, "kwargs": {"column_set": ["open"]}},
        {**of_set, "meta": {"table": "stored"}, "kwargs": {"column_set": ["open"], "exact_match": False}},
    )
    frame = frame_of([1.0], [2.0])
    measured = suite.measure(frame, NOTHING)
    assert list(measured.violations.values()) == [0, 2, 1, 0, 1, 0]
    assert {i: met for i, (met, _) in gx_judge(suite, frame, NOTHING).items()} == {
        id_: not count for id_, count in measured.violations.items()
    }


def test_what_cannot_be_asked_of_a_column_is_broken_by_every_row(write_suite):
    suite = write_suite(
        {"type": "expect_column_values_to_be_between", "kwargs": {"column": "open", "min_value": 0}},
        {"type": "expect_column_values_to_be_between", "kwargs": {"column": "absent", "min_value": 0, "mostly": 0.5}},
        {"type": "expect_column_values_to_be_between", "kwargs": {"column": "return_z", "max_value": 25}},
    )
    frame = pl.DataFrame({"open": ["text"] * 3})
    assert dict(suite.measure(frame, NOTHING).violations) == {"e0": 3, "e1": 3, "e2": 3}
    assert set(suite.measure(frame.clear(), NOTHING).broken) == {"e0", "e1", "e2"}


@pytest.mark.parametrize(
    ("expectation", "message"),
    [
        ({"type": "expect_column_kl_divergence", "kwargs": {}}, "type of e0 must be one of"),
        ({"type": "expect_column_values_to_be_between", "kwargs": {"column": "open"}}, "min_value or max_value"),
        (
            {
                "type": "expect_column_values_to_be_between",
                "kwargs": {"column": "open", "min_value": 2, "max_value": 1},
            },
            "must not exceed",
        ),
        (
            {"type": "expect_column_values_to_be_between", "kwargs": {"column": "open", "min_value": "2024"}},
            "must be a number",
        ),
        (
            {"type": "expect_column_values_to_not_be_null", "kwargs": {"column": "open", "row_condition": "open > 1"}},
            "row_condition",
        ),
        (
            {"type": "expect_column_values_to_be_of_type", "kwargs": {"column": "open", "type_": "DOUBLE"}},
            "type_ must be one of",
        ),
        (
            {
                "type": "expect_column_pair_values_a_to_be_greater_than_b",
                "kwargs": {"column_A": "open", "column_B": "close", "ignore_row_if": "never"},
            },
            "ignore_row_if must be one of",
        ),
        (
            {"type": "expect_table_row_count_to_be_between", "kwargs": {"min_value": 1, "mostly": 0.5}},
            "takes no mostly",
        ),
    ],
)
def test_an_expectation_that_cannot_be_compiled_is_named_with_its_file(write_suite, expectation, message):
    with pytest.raises(InvalidSetting, match=message) as caught:
        write_suite(expectation)
    assert "cleaned_bars.json" in str(caught.value)
    assert "e0" in str(caught.value)


@given(st.lists(numbers, max_size=20), st.lists(numbers, max_size=20))
def test_what_is_surely_kept_has_no_violation(first, second):
    frame = frame_of(first, second).fill_nan(None)
    for item in types():
        expectation = Expectation("e", item["type"], item["kwargs"], "c", "error", "rows", "d", "w")
        compiled = compile_expectation("s.json", expectation)
        if isinstance(compiled, OnRows) and compiled.surely_kept(frame):
            assert not frame.with_columns(pl.lit(0).alias(PARTITION)).select(compiled.violations).to_series().any()


def test_nan_counts_as_null_and_never_passes_for_a_price():
    suite = load_suite("cleaned_bars")
    frame = minute_bars().with_columns(
        close=pl.when(pl.int_range(pl.len()) < 4).then(math.nan).otherwise(pl.col("close"))
    )
    measured = suite.measure(frame, expected_of("cleaned_bars"))
    assert measured.evidence() == {"close_not_null": 4}


def test_a_robust_z_is_that_of_a_normal_distribution_and_silent_where_it_says_nothing():
    import numpy as np  # noqa: PLC0415

    sample = np.random.default_rng(3).normal(5, 2, 20_000)
    scored = robust_z(sample)
    assert abs(scored.std() - 1) < 0.03
    assert abs(np.median(scored)) < 1e-9
    assert np.isnan(robust_z(sample[:29])).all()
    assert np.isnan(robust_z(np.full(100, 7.0))).all()
    with_gap = np.append(sample, np.nan)
    assert np.isnan(robust_z(with_gap)[-1])


def test_stored_columns_are_those_of_the_schema():
    declared = next(e for e in load_suite("cleaned_bars").expectations if e.id == "columns")
    assert declared.kwargs["column_list"] == [column.name for column in BAR_COLUMNS]
