"""Partitions measured together: each comes out as it does alone, whatever is wrong with the others."""

import datetime as dt
import math

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from quality_seeds import CALENDAR, CLEAN, MONDAY, SEEDS, SEEDS_OF, put

from md_platform.domain.schemas import INSTANT
from md_platform.quality import expected_table, load_suite
from md_platform.quality.derived import DERIVED, derive
from md_platform.quality.partitions import Partitions

DATASETS = ("cleaned_bars", "resampled_bars", "indicators", "cleaned_trades")
BASE = {dataset: CLEAN[dataset]() for dataset in DATASETS}


def without_some(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.filter(pl.int_range(pl.len()) % 97 != 5)


def disordered(rows: pl.DataFrame) -> pl.DataFrame:
    return pl.concat([rows.slice(40, 9), rows.head(40), rows.slice(49)])


def of_another_width(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.with_columns(pl.col(pl.Float64).cast(pl.Float32))


def of_text_for_times(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.with_columns(pl.col(INSTANT).cast(pl.String))


def defects(dataset):
    floats = [name for name, dtype in BASE[dataset].schema.items() if dtype.is_float()]
    declared = {e.id: SEEDS_OF.get((dataset, e.id)) or SEEDS[e.id] for e in load_suite(dataset).expectations}
    return (
        declared
        | {f"{name} {value}": put(name, value, row=7) for name in floats for value in (None, math.nan, math.inf)}
        | {"without some": without_some, "disordered": disordered, "reversed": pl.DataFrame.reverse}
        | {"empty": pl.DataFrame.clear, "width_type": of_another_width}
        | {"text_type": of_text_for_times}
    )


def days(dataset):
    """Lists of days, by offset and defects; None where a day has no file. A change of type comes after others."""
    names = sorted(defects(dataset), key=lambda name: name.endswith("_type") or name == "columns")
    wrong = st.lists(st.sampled_from(names), max_size=3, unique=True).map(lambda some: sorted(some, key=names.index))
    return st.lists(st.tuples(st.integers(0, 6), st.one_of(st.just([]), wrong, st.none())), min_size=1, max_size=6)


def a_day(dataset, offset, wrong):
    if wrong is None:
        return None
    rows = BASE[dataset].with_columns(pl.col(INSTANT).dt.offset_by(f"{offset}d"))
    changed_type = False
    for name in wrong:
        is_type = name.endswith("_type") or name == "columns"
        rows = rows if is_type and changed_type else defects(dataset)[name](rows)
        changed_type |= is_type
    return rows


@pytest.mark.parametrize("dataset", DATASETS)
def test_each_day_is_measured_as_if_it_were_alone(dataset):
    suite = load_suite(dataset)

    @settings(max_examples=60, deadline=None)
    @given(days(dataset))
    def holds(chosen):
        frames = [a_day(dataset, offset, wrong) for offset, wrong in chosen]
        expected = [expected_table(dataset, CALENDAR, MONDAY + dt.timedelta(days=offset)) for offset, _ in chosen]
        alone = [suite.measure(frame, table) for frame, table in zip(frames, expected, strict=True)]
        assert suite.measure_all(frames, expected) == alone

    holds()


@pytest.mark.parametrize("dataset", DATASETS)
def test_a_bad_day_among_clean_ones_is_the_only_one_that_breaks_anything(dataset):
    suite, bad = load_suite(dataset), 3
    frames = [a_day(dataset, offset, ["disordered", "without some"] if offset == bad else []) for offset in range(7)]
    expected = [expected_table(dataset, CALENDAR, MONDAY + dt.timedelta(days=offset)) for offset in range(7)]
    measured = suite.measure_all(frames, expected)
    assert [n for n, each in enumerate(measured) if each.broken] == [bad]
    assert any(name.endswith("_increasing") for name in measured[bad].broken)


def test_no_partitions_are_no_measurements():
    assert load_suite("cleaned_bars").measure_all([], []) == []


def test_a_row_fills_no_slot_of_another_day():
    suite, rows = load_suite("cleaned_bars"), BASE["cleaned_bars"]
    expected = [expected_table("cleaned_bars", CALENDAR, MONDAY + dt.timedelta(days=n)) for n in range(2)]
    swapped = suite.measure_all([rows.with_columns(pl.col(INSTANT).dt.offset_by("1d")), rows], expected)
    assert [each.missing for each in swapped] == [1440, 1440]


@pytest.mark.parametrize("dataset", DATASETS)
def test_derived_columns_of_a_day_know_nothing_of_the_other_days(dataset):
    wilder = [BASE[dataset].with_columns(pl.col(pl.Float64) ** (1 + n / 10)).slice(13 * n) for n in range(4)]
    wilder.insert(2, BASE[dataset].clear())
    for name in DERIVED[dataset]:
        alone = pl.concat([derive(dataset, name, Partitions.of([frame])) for frame in wilder])
        assert derive(dataset, name, Partitions.of(wilder)).to_list() == alone.to_list(), name


def test_a_bar_is_an_outlier_among_those_of_its_own_timeframe():
    bars = BASE["resampled_bars"]
    scored = bars.with_columns(derive("resampled_bars", "return_z", Partitions.of([bars])))
    for timeframe, rows in scored.group_by("timeframe"):
        values = rows["return_z"].drop_nulls()
        assert values.is_empty() == (timeframe[0] in {"1h", "4h", "1d"}), "under 30 bars have no outliers"
        assert values.is_empty() or abs(values.median()) < 0.05
