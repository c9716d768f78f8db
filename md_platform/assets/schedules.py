"""What runs by the clock: yesterday's day after UTC midnight, archive maintenance, the freshness check."""

import datetime as dt
from collections.abc import Iterator, Mapping

import dagster as dg

from md_platform.assets.checks import selection
from md_platform.assets.partitions import UniversePartitions
from md_platform.assets.stores import Stores
from md_platform.catalog.chain import ARCHIVED, assets_up_to
from md_platform.catalog.ranges import Range, neighbours
from md_platform.domain.intervals import DAY, Interval
from md_platform.domain.schemas import dataset_named

FRESH_FROM = "archive_cleaned_bars"


def daily_schedule(partitions: UniversePartitions) -> dg.ScheduleDefinition:
    """At 00:15 UTC, yesterday of every registered instrument, raw to archive, in as few ranged runs as it takes.

    Instruments of which trades were streamed go through the chain of trades, too; history's trades are not asked for.
    """
    universe = partitions.universe.name
    bars = assets_up_to("archive")
    bars_and_streamed = [name for name in assets_up_to("archive", trades=True) if name != "raw_trades"]
    job = dg.define_asset_job(f"{universe}_daily", selection=selection(universe, bars_and_streamed))

    @dg.schedule(
        name=f"{universe}_daily",
        job=job,
        cron_schedule="15 0 * * *",
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description=f"Yesterday of every instrument in {universe}, from the venues to the archive.",
    )
    def daily(
        context: dg.ScheduleEvaluationContext, stores: dg.ResourceParam[Stores]
    ) -> Iterator[dg.RunRequest | dg.SkipReason]:
        instruments = context.instance.get_dynamic_partitions(f"{universe}_instruments")
        if not instruments:
            yield dg.SkipReason(f"no instrument is registered in {universe}: set MDP_INSTRUMENTS")
            return
        yesterday = context.scheduled_execution_time.astimezone(dt.UTC).date() - DAY
        with stores.live() as live:
            streamed = set(live.traded(Interval.day(yesterday)))
        for names, wanted in ((bars_and_streamed, streamed), (bars, set(instruments) - streamed)):
            for group in neighbours(wanted, instruments):
                yield dg.RunRequest(
                    run_key=f"{yesterday}|{group[0]}",
                    asset_selection=[dg.AssetKey([universe, name]) for name in names],
                    tags=Range(group, yesterday, yesterday).tags,
                )

    return daily


@dg.op(description="Merge small files, z-order the finished month, remove files no reader needs any more.")
def maintain_archive(context: dg.OpExecutionContext, stores: dg.ResourceParam[Stores]) -> None:
    """Maintain every Delta table of the archive."""
    for name in ARCHIVED:
        report = stores.archive.maintain(name, dataset_named(name).time)
        context.log.info("%s: %s", name, report or "no table yet")


@dg.job(description="Archive maintenance: compact, z-order, vacuum.", executor_def=dg.in_process_executor)
def archive_maintenance() -> None:
    """Run `maintain_archive`."""
    maintain_archive()


weekly_maintenance = dg.ScheduleDefinition(
    name="archive_maintenance",
    job=archive_maintenance,
    cron_schedule="30 3 * * 0",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
)


def freshness_check(partitions: UniversePartitions) -> dg.AssetChecksDefinition:
    """Whether each registered instrument's newest archived day is yesterday's, told apart by instrument."""
    universe = partitions.universe.name

    @dg.asset_check(
        asset=dg.AssetKey([universe, FRESH_FROM]),
        name="fresh",
        description="The newest archived day of every registered instrument is yesterday (UTC).",
    )
    def fresh(context: dg.AssetCheckExecutionContext, stores: dg.ResourceParam[Stores]) -> dg.AssetCheckResult:
        instruments = context.instance.get_dynamic_partitions(f"{universe}_instruments")
        yesterday = dt.datetime.now(dt.UTC).date() - DAY
        stale = stale_instruments(stores.ledger.newest_days(FRESH_FROM), instruments, yesterday)
        return dg.AssetCheckResult(
            passed=not stale, severity=dg.AssetCheckSeverity.WARN, metadata={"stale": dg.MetadataValue.json(stale)}
        )

    return fresh


def stale_instruments(newest: Mapping[str, dt.date], instruments: list[str], due: dt.date) -> dict[str, str]:
    """Instruments whose newest day lies before `due`, with that day ("never" where there is none)."""
    return {
        instrument: str(newest.get(instrument, "never"))
        for instrument in instruments
        if newest.get(instrument, dt.date.min) < due
    }


def freshness_schedule(check: dg.AssetChecksDefinition, partitions: UniversePartitions) -> dg.ScheduleDefinition:
    """Look at freshness every hour."""
    name = f"{partitions.universe.name}_freshness"
    return dg.ScheduleDefinition(
        name=name,
        job=dg.define_asset_job(name, selection=dg.AssetSelection.checks(check)),
        cron_schedule="45 * * * *",
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.RUNNING,
    )
