"""From a function `Batch -> Parts` to a run's results: group by instrument, write, judge, record, report."""

import datetime as dt
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import polars as pl

from md_platform.assets.batch import Batch, Input, Part
from md_platform.assets.partition_run import Key, attach_metadata, partition_keys
from md_platform.assets.preview import preview
from md_platform.assets.stores import Stores
from md_platform.catalog.ledger import PartitionRecord
from md_platform.domain.instruments import Instrument
from md_platform.domain.intervals import DAY
from md_platform.domain.schemas import QUARANTINED_BARS, QUARANTINED_TRADES, Dataset
from md_platform.errors import MdpError
from md_platform.settings import Universe

Make = Callable[[Batch], Iterator[Part]]

_WORKERS = 2
_PREVIEWED = 20  # partitions of one run that carry a preview; more would swell the event log
_FLUSHED = 1_000  # partitions recorded in one transaction


@dataclass(frozen=True)
class Made:
    """One partition as it was written and judged."""

    record: PartitionRecord
    frame: pl.DataFrame | None


def materialise(
    context: dg.AssetExecutionContext,
    stores: Stores,
    universe: Universe,
    dataset: Dataset,
    make: Make,
    inputs: Sequence[Dataset],
    files: Sequence[Path] = (),
) -> Iterator[dg.MaterializeResult | dg.AssetCheckResult]:
    """Make every partition of the run, write what changed, record all of them, report to Dagster.

    A partition that fails is recorded as failed and the rest go on; when all fail, so does the run.
    """
    keys = partition_keys(context)
    known = _inputs(stores, inputs, keys)

    def one(item: tuple[str, list[dt.date]]) -> list[Made]:
        instrument, dates = item
        batch = Batch(Instrument.parse(instrument), dates, universe, stores, known.get(instrument, {}), files)
        return [_write(batch, dataset, part, context.run_id) for part in _parts(make, batch)]

    made: dict[Key, Made] = {}
    unrecorded: list[PartitionRecord] = []
    with ThreadPoolExecutor(_WORKERS) as pool:
        for parts in pool.map(one, keys.items()):
            made |= {(part.record.instrument, part.record.date): part for part in parts}
            unrecorded += [part.record for part in parts]
            if len(unrecorded) >= _FLUSHED:
                stores.ledger.record(unrecorded)
                unrecorded = []
    stores.ledger.record(unrecorded)
