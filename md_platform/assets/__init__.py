"""The Dagster layer: assets that read, call a pure transform and write; partitions, checks, schedules, sensors."""

import warnings

import dagster as dg

# the version of Dagster is pinned, so that its beta parameters (backfill_policy, partition mappings) do not change
warnings.filterwarnings("ignore", category=dg.BetaWarning)
# the jobs here run as ranges that their launcher chose, so the policies of their assets never meet
warnings.filterwarnings("ignore", message="Asset job .* varying BackfillPolicies")
