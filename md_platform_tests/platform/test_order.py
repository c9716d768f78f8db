"""A backfill launched as the UI launches it: what looks back runs after all of its inputs, in as few runs as can be.

A run of Dagster's covers one value of the smaller dimension, instruments or days (its own rule), so a backfill of 8 × 5
is five runs of what reads its own day. What looks back has a policy of its own, so that its five runs wait for all these.
"""

from typing import Any

import polars as pl
import pytest

from md_platform.catalog.ranges import Range
from md_platform.domain.intervals import Timeframe
from md_platform.transforms.indicators import look_back_days
from md_platform_tests.platform.ordering import INDICATORS, RAW, RESAMPLED, SHAPES, days, instruments, wait
from md_platform_tests.platform.running import Platform


@pytest.fixture(scope="module")
def backfills(platform: Platform, ordered: dict[str, str]) -> dict[str, str]:
    """Ids of the finished backfills by shape."""
    for backfill in ordered.values():
        wait(platform, backfill)
    return ordered


@pytest.mark.parametrize("shape", SHAPES)
def test_there_are_as_few_runs_as_dagster_makes(platform, backfills, shape):
    runs = platform.runs(dagster__backfill=backfills[shape])
    assert {run["status"] for run in runs} == {"SUCCESS"}
    assert len(made_by(runs, RAW)) == len(made_by(runs, RESAMPLED)) == min(SHAPES[shape])
    # of what looks back, Dagster launches each time what is ready, and takes along the days that look back on the chosen
    wide, long = SHAPES[shape]
    least = min(wide, long + look_back_days("24/7", [Timeframe.M1]))
    assert least <= len(made_by(runs, INDICATORS)) <= 2 * least
    assert len(runs) == len(made_by(runs, RAW)) + len(made_by(runs, INDICATORS))


@pytest.mark.parametrize("shape", SHAPES)
def test_what_looks_back_runs_after_all_of_its_inputs(platform, backfills, shape):
    runs = platform.runs(dagster__backfill=backfills[shape])
    order = {name: number for number, name in enumerate(instruments(shape))}
    for later in made_by(runs, INDICATORS):
        wanted = Range.of_run(later["tags"])
        wanted_from, wanted_to = (order[name] for name in wanted.instruments)
        inputs = []
        for earlier in made_by(runs, RESAMPLED):
            given = Range.of_run(earlier["tags"])
            given_from, given_to = (order[name] for name in given.instruments)
            if given_from <= wanted_to and given_to >= wanted_from and given.first <= wanted.last:
                inputs.append(earlier)
        assert inputs
        assert max(run["endTime"] for run in inputs) <= later["startTime"], wanted


def made_by(runs: list[dict[str, Any]], asset: str) -> list[dict[str, Any]]:
    """The runs that made `asset`."""
    return [run for run in runs if ["ordered", asset] in [each["path"] for each in run["assetSelection"]]]


@pytest.mark.parametrize("shape", SHAPES)
def test_what_looks_back_has_seen_every_day_before(platform, backfills, shape):
    made = {
        (name, day): pl.read_parquet(
            platform.lake.root / f"indicators/ordered_indicators/symbol={name}/date={day}/part.parquet", glob=False
        ).row(0)[1:]
        for name in instruments(shape)
        for day in days(shape)
    }
    assert made == {
        (name, day): (number, number) for name in instruments(shape) for number, day in enumerate(days(shape), start=1)
    }
