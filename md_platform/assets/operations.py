"""Jobs, schedules and sensors of all universes, put together."""

import dagster as dg

from md_platform.assets import schedules, sensors
from md_platform.assets.partitions import UniversePartitions
from md_platform.settings import Settings, Universe


def operations(partitions: list[UniversePartitions], settings: Settings) -> dg.Definitions:
    """Everything that runs by itself."""
    universes: tuple[Universe, ...] = tuple(each.universe for each in partitions)
    checks = {each: schedules.freshness_check(each) for each in partitions}
    webhook = settings.alert_webhook_url
    return dg.Definitions(
        asset_checks=list(checks.values()),
        jobs=[schedules.archive_maintenance],
        schedules=[
            schedules.weekly_maintenance,
            *(schedules.daily_schedule(each) for each in partitions),
            *(schedules.freshness_schedule(check, each) for each, check in checks.items()),
        ],
        sensors=[
            sensors.failure_sensor(webhook.get_secret_value() if webhook else None),
            *(sensors.instruments_sensor(each, universes, settings.instruments) for each in partitions),
            *(sensors.imports_sensor(each, settings.imports) for each in partitions),
            *(sensors.periods_sensor(each) for each in partitions),
        ],
    )
