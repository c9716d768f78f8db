"""Asset checks: a suite's named checks as Dagster declares them, and a run's verdict as Dagster shows it."""

from collections.abc import Iterable, Iterator

import dagster as dg

from md_platform.domain.schemas import Dataset
from md_platform.quality import CheckResult, Verdict, check_names, own_checks
from md_platform.quality.expected import GRIDS

_SEVERITY = {"error": dg.AssetCheckSeverity.ERROR, "warning": dg.AssetCheckSeverity.WARN}


def is_judged(dataset: Dataset) -> bool:
    """Whether `dataset` has a suite; raw data are judged when they are cleaned."""
    return dataset.name in GRIDS


def check_specs(universe: str, dataset: Dataset) -> list[dg.AssetCheckSpec]:
    """One check for each named check of the dataset's suite.

    None blocks by itself: one bad partition must not hold up a range. Downstream assets skip failed partitions, and a
    run of a single partition fails with it.
    """
    if not is_judged(dataset):
        return []
    return [
        dg.AssetCheckSpec(
            name,
            asset=dg.AssetKey([universe, dataset.name]),
            description=f"{check.description} [{check.severity}]",
            metadata={"severity": check.severity},
        )
        for name, check in check_names(dataset.name).items()
    ]


def selection(universe: str, names: Iterable[str]) -> dg.AssetSelection:
    """The assets `names` with the checks that they yield themselves, and no others (freshness has its own job)."""
    assets = [dg.AssetKey([universe, name]) for name in names]
    own = [dg.AssetCheckKey(asset, check) for asset in assets for check in own_checks(asset.path[-1])]
    chosen = dg.AssetSelection.assets(*assets).without_checks()
    return chosen | dg.AssetSelection.checks(*own) if own else chosen


def check_results(verdict: Verdict) -> Iterator[dg.AssetCheckResult]:
    """The verdict's named checks with their evidence: what failed, where, how often, and the run's Data Docs."""
    for name, check in verdict.checks().items():
        yield dg.AssetCheckResult(
            check_name=name,
            passed=check.passed,
            severity=_SEVERITY[check.severity],
            description=_summary(check, verdict.partitions),
            metadata={
                "partitions": verdict.partitions,
                "violations": check.violations,
                "failing": dg.MetadataValue.md("\n".join(f"- {partition}" for partition in check.failing) or "none"),
                "expectations": dg.MetadataValue.md(_table(check)),
                **({"data_docs": dg.MetadataValue.path(verdict.data_docs)} if verdict.data_docs else {}),
            },
        )


def _summary(check: CheckResult, partitions: int) -> str:
    if check.passed:
        return f"holds in {partitions} partitions"
    return f"{check.violations} violations, first in {', '.join(check.failing[:3])}: {check.description}"


def _table(check: CheckResult) -> str:
    rows = [
        f"| {e.description} | {e.severity} | {'yes' if e.passed else 'NO'} | {e.violations} | {e.failing_partitions} |"
        for e in check.expectations
    ]
    return "\n".join(
        ["| expectation | severity | met | violations | failing partitions |", "|---|---|---|---|---|", *rows]
    )
