"""Schemas: what every dataset promises to those who read it without the code."""

import polars as pl
import pytest

from md_platform.domain.schemas import BAR_COLUMNS, DATASETS, INSTANT, Dataset, dataset_named
from md_platform.errors import UnknownDataset


@pytest.mark.parametrize("dataset", DATASETS.values(), ids=DATASETS)
def test_a_dataset_explains_itself(dataset: Dataset):
    names = [column.name for column in dataset.columns]
    assert len(set(names)) == len(names)
    assert {dataset.time, *dataset.key} <= set(names)
    assert all(column.meaning for column in dataset.columns)
    assert dataset.meaning
    assert dataset.schema[dataset.time] == INSTANT
    assert dataset_named(dataset.name) is dataset


@pytest.mark.parametrize("dataset", DATASETS.values(), ids=DATASETS)
def test_times_are_utc_and_amounts_are_doubles(dataset: Dataset):
    for column in dataset.columns:
        if isinstance(column.dtype, pl.Datetime):
            assert (column.dtype, column.unit) == (INSTANT, "UTC")
        if column.unit in ("base", "quote"):
            assert column.dtype == pl.Float64


@pytest.mark.parametrize("dataset", [d for d in DATASETS.values() if d.key], ids=lambda d: d.name)
def test_what_makes_a_row_unique_is_never_null(dataset: Dataset):
    nullable = {column.name for column in dataset.columns if column.nullable}
    assert not nullable & {dataset.time, *dataset.key}


def test_no_two_datasets_share_files():
    places = [(dataset.layer, dataset.folder) for dataset in DATASETS.values()]
    assert len(set(places)) == len(places)


def test_only_raw_data_stand_side_by_side_by_source():
    assert {name for name, dataset in DATASETS.items() if dataset.by_source} == {
        "raw_bars",
        "raw_trades",
        "live_trades",
    }


def test_the_columns_of_a_bar_are_those_that_the_design_promises():
    assert " ".join(column.name for column in BAR_COLUMNS) == (
        "instrument timeframe open_time close_time open high low close volume quote_volume vwap trade_count"
        " taker_buy_volume taker_buy_quote_volume is_closed source revision known_at"
    )


def test_an_unknown_dataset_is_refused_with_those_there_are():
    with pytest.raises(UnknownDataset, match=r"raw_bars.*, was 'bars'"):
        dataset_named("bars")
