"""The Dagster layer: assets that read, call a pure transform and write; partitions, checks, schedules, sensors."""
