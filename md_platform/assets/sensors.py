"""What runs on events: instruments to register, files to import, weeks and months to follow, failures to tell."""

import json
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import httpx

from md_platform.assets.checks import selection
from md_platform.assets.partitions import UniversePartitions
from md_platform.assets.stores import Stores
from md_platform.catalog.backfill import period_start
from md_platform.catalog.chain import PERIOD_ASSETS, assets_up_to
from md_platform.catalog.ranges import PERIODS_FOLLOW, Range, blocks
from md_platform.domain.instruments import Instrument, SymbolMap
from md_platform.domain.intervals import Timeframe
from md_platform.errors import MdpError
from md_platform.settings import Universe, universe_of
from md_platform.sources.files import understand
from md_platform.telemetry import redact

IMPORT_ASSETS = {"bars": "raw_bars", "trades": "raw_trades"}


def instruments_sensor(
    partitions: UniversePartitions, universes: tuple[Universe, ...], names: tuple[str, ...]
) -> dg.SensorDefinition:
    """Register the instruments that settings name, once their venue lists them."""
    universe = partitions.universe

    @dg.sensor(
        name=f"{universe.name}_instruments",
        minimum_interval_seconds=60,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Registers the instruments of MDP_INSTRUMENTS as partitions of this universe.",
    )
    def register(context: dg.SensorEvaluationContext, stores: dg.ResourceParam[Stores]) -> dg.SensorResult:
        known = context.instance.get_dynamic_partitions(f"{universe.name}_instruments")
        missing = [name for name in names if name not in known and universe_of(name, universes) == universe]
        listings = {venue: stores.sources.instruments(venue) for venue in {name.partition(":")[0] for name in missing}}
        found = [SymbolMap(listings[name.partition(":")[0]]).resolve(name) for name in missing]
        stores.ledger.register([(instrument, universe.name) for instrument in found])
        if not found:
            return dg.SensorResult(skip_reason="every instrument of MDP_INSTRUMENTS is registered")
        request = partitions.instruments.build_add_request([instrument.id for instrument in found])
        return dg.SensorResult(dynamic_partitions_requests=[request])

    return register


def imports_sensor(partitions: UniversePartitions, folder: Path) -> dg.SensorDefinition:
    """Import files that appear in `folder/<instrument id>/`, each once; a changed file counts as new."""
    universe = partitions.universe.name
    job = dg.define_asset_job(f"{universe}_import", selection=selection(universe, assets_up_to("archive", trades=True)))

    @dg.sensor(
        name=f"{universe}_imports",
        job=job,
        minimum_interval_seconds=30,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=f"Imports new files of {folder.name}/<instrument id>/ and takes them through to the archive.",
    )
    def watch(context: dg.SensorEvaluationContext) -> Iterator[dg.RunRequest | dg.SkipReason]:
        registered = context.instance.get_dynamic_partitions(f"{universe}_instruments")
        seen: dict[str, int] = json.loads(context.cursor or "{}")
        for instrument in registered:
            for file in sorted(path for path in (folder / instrument).glob("*") if path.is_file()):
                stamp = file.stat().st_mtime_ns
                if seen.get(str(file)) == stamp:
                    continue
                seen[str(file)] = stamp
                yield from _import_requests(context, universe, instrument, file, stamp)
        context.update_cursor(json.dumps(seen))

    return watch


def _import_requests(
    context: dg.SensorEvaluationContext, universe: str, instrument: str, file: Path, stamp: int
) -> Iterator[dg.RunRequest]:
    try:
        plan = understand(file, Instrument.parse(instrument))
    except MdpError as error:
        context.log.warning("%s is not imported: %s", file, error)
        return
    raw = IMPORT_ASSETS[plan.kind]
    names = [
        raw,
        *(name for name in assets_up_to("archive", trades=plan.kind == "trades") if not name.startswith("raw")),
    ]
    for first, last in blocks(plan.days):
        yield dg.RunRequest(
            run_key=f"{file}|{stamp}|{first}",
            asset_selection=[dg.AssetKey([universe, name]) for name in names],
            run_config={"ops": {f"{universe}__{raw}": {"config": {"files": [str(file)]}}}},
            tags={**Range((instrument,), first, last).tags, "mdp/file": file.name},
        )


def periods_sensor(partitions: UniversePartitions) -> dg.SensorDefinition:
    """Run the weeks and months whose days a successful run touched."""
    universe = partitions.universe.name
    jobs = {
        timeframe: dg.define_asset_job(f"{universe}_{names[0]}", selection=selection(universe, names))
        for timeframe, names in PERIOD_ASSETS.items()
    }
    own_names = {job.name for job in jobs.values()}  # a run of a whole job names no assets
    days = dg.AssetKey([universe, "resampled_bars"])

    @dg.run_status_sensor(
        name=f"{universe}_periods",
        run_status=dg.DagsterRunStatus.SUCCESS,
        request_jobs=list(jobs.values()),
        minimum_interval_seconds=10,  # one run a tick is all that Dagster lets a sensor answer with requests
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Recomputes the weeks and months of the days that a run made.",
    )
    def follow(context: dg.RunStatusSensorContext) -> list[dg.RunRequest] | None:
        run = context.dagster_run
        touched = Range.of_run(run.tags)
        made_days = run.job_name not in own_names and days in (run.asset_selection or {days})
        if touched is None or not made_days or PERIODS_FOLLOW in run.tags:
            return None  # and not a reason, which would end the tick before the next run is looked at
        requests = []
        for timeframe, job in jobs.items():
            first, last = (period_start(Timeframe(timeframe), date) for date in (touched.first, touched.last))
            tags = Range(touched.instruments, first, last).tags
            requests.append(dg.RunRequest(run_key=f"{run.run_id}|{timeframe}", job_name=job.name, tags=tags))
        return requests

    return follow


def failure_sensor(webhook_url: str | None) -> dg.SensorDefinition:
    """Write each failed run to the code server's log, and to the webhook where there is one."""

    @dg.run_failure_sensor(
        name="failures",
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Tells the log, and MDP_ALERT_WEBHOOK_URL where it is set, of every failed run.",
    )
    def tell(context: dg.RunFailureSensorContext) -> None:
        run = context.dagster_run
        partitions = Range.of_run(run.tags)
        message = {
            "event": "run_failed",
            "run_id": run.run_id,
            "job": run.job_name,
            "partitions": partitions and f"{partitions.first} to {partitions.last}",
            "error": redact(_reason(context)),
        }
        context.log.error("run failed: %s", json.dumps(message))
        if webhook_url:
            httpx.post(webhook_url, json=message, timeout=10).raise_for_status()

    return tell


def _reason(context: dg.RunFailureSensorContext) -> str:
    """Why the run failed: the first failed step's own words, or Dagster's where no step failed."""
    for event in context.get_step_failure_events():
        failure, error = event.step_failure_data.user_failure_data, event.step_failure_data.error
        if failure is not None and failure.description:
            return failure.description
        if error is not None:
            return (error.cause or error).message.strip()
    return str(context.failure_event.message)
