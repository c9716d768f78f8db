"""The chain of one universe: every asset with its partitions, inputs, mapping and description."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
from pydantic import Field

from md_platform.assets import cleaned, indicators, live, raw, resampled
from md_platform.assets.archive import archive
from md_platform.assets.batch import FileImport
from md_platform.assets.checks import check_specs
from md_platform.assets.materialise import Make, materialise
from md_platform.assets.partitions import RANGED, WAITING, UniversePartitions, look_back, members
from md_platform.assets.stores import Stores
from md_platform.catalog.chain import ARCHIVED
from md_platform.domain import schemas
from md_platform.domain.schemas import Dataset
from md_platform.settings import Universe
from md_platform.transforms.indicators import look_back_days

OWNERS = ["team:market-data"]
VENUES_POOL = "venues"
"""Concurrency pool of everything that asks venues, so that parallel runs do not share a rate limit unknowingly."""


class RawConfig(dg.Config):
    """`files`: import these instead of asking the venue; paths of files that hold the run's instrument.

    `time_unit` (s, ms, us, ns) and `columns` (ours to theirs) override what is detected in them.
    """

    files: list[str] = Field(default_factory=list)
    time_unit: str | None = None
    columns: dict[str, str] = Field(default_factory=dict)


@dataclass(frozen=True)
class Made:
    """How a dataset is made: its function and what it reads. `partitions` is daily, weekly or monthly."""

    dataset: Dataset
    make: Make
    inputs: Sequence[Dataset] = ()
    partitions: str = "daily"
    looks_back: bool = False

    @property
    def is_fetched(self) -> bool:
        """Whether it comes from venues or imported files."""
        return self.dataset.by_source and not self.inputs


CHAIN = (
    Made(schemas.RAW_BARS, raw.raw_bars),
    Made(schemas.RAW_TRADES, raw.raw_trades),
    Made(schemas.LIVE_TRADES, live.live_trades, [schemas.RAW_TRADES]),
    Made(schemas.CLEANED_TRADES, cleaned.cleaned_trades, [schemas.RAW_TRADES, schemas.LIVE_TRADES]),
    Made(schemas.TRADE_BARS, cleaned.trade_bars, [schemas.CLEANED_TRADES]),
    Made(schemas.CLEANED_BARS, cleaned.cleaned_bars, [schemas.RAW_BARS, schemas.TRADE_BARS]),
    Made(schemas.RESAMPLED_BARS, resampled.resampled_bars, [schemas.CLEANED_BARS]),
    Made(schemas.WEEKLY_BARS, resampled.weekly_bars, [schemas.RESAMPLED_BARS], "weekly"),
    Made(schemas.MONTHLY_BARS, resampled.monthly_bars, [schemas.RESAMPLED_BARS], "monthly"),
    Made(schemas.INDICATORS, indicators.indicators, [schemas.CLEANED_BARS, schemas.RESAMPLED_BARS], looks_back=True),
)
"""Every dataset of the working layers. Add an asset: one function `Batch -> Parts`, one line here."""


def universe_assets(partitions: UniversePartitions, chain: Sequence[Made] = CHAIN) -> list[dg.AssetsDefinition]:
    """Assets of `partitions.universe`: the chain, and `archive_*` of what is archived."""
    assets = [_asset(partitions, made) for made in chain]
    return assets + [_archive(partitions, made) for made in chain if made.dataset.name in ARCHIVED]


def _asset(partitions: UniversePartitions, made: Made) -> dg.AssetsDefinition:
    universe, dataset = partitions.universe, made.dataset
    decorate: Callable[[Callable[..., Any]], dg.AssetsDefinition] = dg.asset(
        key=[universe.name, dataset.name],
        partitions_def=getattr(partitions, made.partitions),
        deps=[_dep(universe, upstream, made) for upstream in made.inputs],
        backfill_policy=WAITING if made.looks_back or made.partitions != "daily" else RANGED,
        check_specs=check_specs(universe.name, dataset),
        group_name=f"{universe.name}_{dataset.layer}",
        description=f"{dataset.meaning[0].upper()}{dataset.meaning[1:]}. {made.make.__doc__}",
        metadata={"dagster/column_schema": _column_schema(dataset)},
        kinds={"polars", "parquet"},
        owners=OWNERS,
        pool=VENUES_POOL if made.is_fetched else None,
    )
    if made.is_fetched:

        def from_source(
            context: dg.AssetExecutionContext, config: RawConfig, stores: dg.ResourceParam[Stores]
        ) -> Iterator[dg.MaterializeResult[None] | dg.AssetCheckResult]:
            files = [Path(name) for name in config.files]
            imported = FileImport(files, config.time_unit, config.columns or None) if files else None
            yield from materialise(context, stores, universe, dataset, made.make, made.inputs, imported)

        return decorate(from_source)

    def from_layer(
        context: dg.AssetExecutionContext, stores: dg.ResourceParam[Stores]
    ) -> Iterator[dg.MaterializeResult[None] | dg.AssetCheckResult]:
        yield from materialise(context, stores, universe, dataset, made.make, made.inputs)

    return decorate(from_layer)


def _dep(universe: Universe, upstream: Dataset, made: Made) -> dg.AssetDep:
    mapping = None
    if made.looks_back:
        mapping = look_back(look_back_days(universe.calendar, indicators.TIMEFRAMES[upstream]))
    elif made.partitions != "daily":
        mapping = members()
    return dg.AssetDep([universe.name, upstream.name], partition_mapping=mapping)


def _archive(partitions: UniversePartitions, made: Made) -> dg.AssetsDefinition:
    universe, dataset = partitions.universe, made.dataset

    @dg.asset(
        key=[universe.name, f"archive_{dataset.name}"],
        partitions_def=getattr(partitions, made.partitions),
        deps=[[universe.name, dataset.name]],
        backfill_policy=RANGED,
        group_name=f"{universe.name}_archive",
        description=f"Delta Lake table `{dataset.name}`, by symbol and month: {dataset.meaning}. One commit a run.",
        metadata={"dagster/column_schema": _column_schema(dataset), "dagster/table_name": dataset.name},
        kinds={"deltalake", "parquet"},
        owners=OWNERS,
    )
    def archived(
        context: dg.AssetExecutionContext, stores: dg.ResourceParam[Stores]
    ) -> Iterator[dg.MaterializeResult[None]]:
        yield from archive(context, stores, dataset)

    return archived


def _column_schema(dataset: Dataset) -> dg.TableSchema:
    return dg.TableSchema(
        columns=[
            dg.TableColumn(
                column.name,
                _type_name(column.dtype),
                f"{column.meaning} [{column.unit}]" if column.unit else column.meaning,
                constraints=dg.TableColumnConstraints(nullable=column.nullable),
            )
            for column in dataset.columns
        ]
    )


def _type_name(dtype: pl.DataType) -> str:
    return "timestamp (us, UTC)" if isinstance(dtype, pl.Datetime) else str(dtype).lower()
