"""Partitions of one universe: instrument × day, × week, × month, and how they map on each other."""

import datetime as dt
from dataclasses import dataclass
from functools import cached_property

import dagster as dg

from md_platform.settings import Universe

SYMBOL, DATE = "symbol", "date"

RANGED = dg.BackfillPolicy.single_run()
"""For assets that read only their own day: a backfill launches as few runs as Dagster can make of it."""

WAITING = dg.BackfillPolicy.multi_run(max_partitions_per_run=100_000)
"""For assets that look back: under `single_run` Dagster would run their days in any order, before their inputs exist.
A different policy puts them in runs of their own, which wait for every upstream run."""


@dataclass(frozen=True)
class UniversePartitions:
    """Partition definitions and mappings of `universe`."""

    universe: Universe

    @cached_property
    def instruments(self) -> dg.DynamicPartitionsDefinition:
        """Instruments of the universe, registered by sensor and CLI, in order of registration."""
        return dg.DynamicPartitionsDefinition(name=f"{self.universe.name}_instruments")

    @cached_property
    def daily(self) -> dg.MultiPartitionsDefinition:
        """Instrument × finished UTC day."""
        return self._by(dg.DailyPartitionsDefinition(start_date=self._first_day))

    @cached_property
    def weekly(self) -> dg.MultiPartitionsDefinition:
        """Instrument × week from Monday, the running one included."""
        return self._by(dg.WeeklyPartitionsDefinition(start_date=self._first_day, day_offset=1, end_offset=1))

    @cached_property
    def monthly(self) -> dg.MultiPartitionsDefinition:
        """Instrument × calendar month, the running one included."""
        return self._by(dg.MonthlyPartitionsDefinition(start_date=self._first_day, end_offset=1))

    @property
    def _first_day(self) -> dt.datetime:
        # weeks and months must begin on or before the first day, or its days would belong to none
        monday = self.universe.first_day - dt.timedelta(days=self.universe.first_day.weekday())
        first = min(monday, self.universe.first_day.replace(day=1))
        return dt.datetime(first.year, first.month, first.day, tzinfo=dt.UTC)

    def _by(self, dates: dg.TimeWindowPartitionsDefinition) -> dg.MultiPartitionsDefinition:
        return dg.MultiPartitionsDefinition({SYMBOL: self.instruments, DATE: dates})


def same_instrument(dates: dg.PartitionMapping) -> dg.MultiPartitionMapping:
    """Mapping that keeps the instrument and maps the dates by `dates`."""
    return dg.MultiPartitionMapping(
        {
            SYMBOL: dg.DimensionPartitionMapping(SYMBOL, dg.IdentityPartitionMapping()),
            DATE: dg.DimensionPartitionMapping(DATE, dates),
        }
    )


def look_back(days: int) -> dg.MultiPartitionMapping:
    """Each day depends on itself and the `days` days before it, as far as they exist."""
    return same_instrument(
        dg.TimeWindowPartitionMapping(start_offset=-days, allow_nonexistent_upstream_partitions=True)
    )


def members() -> dg.MultiPartitionMapping:
    """A week or month depends on the days in it, as far as they exist."""
    return same_instrument(dg.TimeWindowPartitionMapping(allow_nonexistent_upstream_partitions=True))
