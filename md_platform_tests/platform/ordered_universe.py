"""Dagster definitions of the product with one more universe, `ordered`, whose chain says what its inputs were when.

Partitions, mappings, policies, executor and the asset function around each step are the product's own; only what a step
computes is replaced, by something that takes no time. For `mdp up --definitions`.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace

import dagster as dg
import polars as pl

from md_platform import definitions as product
from md_platform.assets.batch import Batch, Part
from md_platform.assets.indicators import TIMEFRAMES
from md_platform.assets.partitions import UniversePartitions
from md_platform.assets.universe import Made, universe_assets
from md_platform.domain import schemas
from md_platform.domain.intervals import DAY, Interval
from md_platform.domain.schemas import Dataset
from md_platform.settings import load_settings, load_universes

SOURCE = "made-up"


def _like(dataset: Dataset) -> Dataset:
    """The same under a name that has no expectation suite: Great Expectations takes seconds to import in each run."""
    return replace(dataset, name=f"ordered_{dataset.name}", folder=f"ordered_{dataset.folder}")


RAW, CLEANED, RESAMPLED, INDICATORS = (
    _like(dataset) for dataset in (schemas.RAW_BARS, schemas.CLEANED_BARS, schemas.RESAMPLED_BARS, schemas.INDICATORS)
)


def raw(batch: Batch) -> Iterator[Part]:
    """One row a day."""
    for date in batch.dates:
        yield Part(date, pl.DataFrame({"open_time": [Interval.day(date).start], "close": [1.0]}), source=SOURCE)


def from_same_day(upstream: Dataset) -> Callable[[Batch], Iterator[Part]]:
    """What makes each day from the same day of `upstream`."""
    source = SOURCE if upstream.by_source else None

    def make(batch: Batch) -> Iterator[Part]:
        lake = batch.stores.lake
        for date in batch.dates:
            rows = lake.read([lake.path(upstream, batch.instrument.id, date, source)])
            yield Part(date, rows, pending=None if rows is not None else f"{upstream.name} {date} is not made yet")

    make.__doc__ = "The same rows."
    return make


def indicators(batch: Batch) -> Iterator[Part]:
    """How many of the ten days before were there, of each input."""
    lake = batch.stores.lake
    for date in batch.dates:
        before = [date - n * DAY for n in range(10, -1, -1)]
        seen = {
            dataset.name: sum(lake.path(dataset, batch.instrument.id, day).exists() for day in before)
            for dataset in (CLEANED, RESAMPLED)
        }
        yield Part(date, pl.DataFrame({"open_time": [Interval.day(date).start], **seen}))


# as far back as what they stand for
TIMEFRAMES.update({CLEANED: TIMEFRAMES[schemas.CLEANED_BARS], RESAMPLED: TIMEFRAMES[schemas.RESAMPLED_BARS]})
_universe = load_universes(load_settings().universes_file)[0].model_copy(update={"name": "ordered", "venues": ()})
_chain = [
    Made(RAW, raw),
    Made(CLEANED, from_same_day(RAW), [RAW]),
    Made(RESAMPLED, from_same_day(CLEANED), [CLEANED]),
    Made(INDICATORS, indicators, [CLEANED, RESAMPLED], looks_back=True),
]
defs = dg.Definitions.merge(
    product.defs, dg.Definitions(assets=universe_assets(UniversePartitions(_universe), chain=_chain))
)
