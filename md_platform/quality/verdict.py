"""Measurements of a run's partitions in, the verdict of Great Expectations on them out, as named checks.

Great Expectations validates one table a run: a row per partition, a column per expectation. It takes seconds to import
and is imported when the first verdict is asked for.
"""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from md_platform.quality.contract import Expectation, Severity, Suite
from md_platform.quality.suite import CompiledSuite, Measurement

SAMPLE = 20
"""How many failing partitions a result names."""


@dataclass(frozen=True, slots=True)
class MeasuredPartition:
    """One instrument and period of the run with its measurement."""

    instrument: str
    date: dt.date
    measurement: Measurement


@dataclass(frozen=True, slots=True)
class ExpectationResult:
    """What Great Expectations says of one expectation over all partitions of the run.

    `violations` are rows (or expected bars, or columns) in the partitions that fail; `failing` names the first of them
    as "instrument date", `failing_partitions` counts all.
    """

    id: str
    type: str
    check: str
    severity: Severity
    passed: bool
    violations: int
    failing_partitions: int
    failing: tuple[str, ...]
    description: str


@dataclass(frozen=True, slots=True)
class CheckResult:
    """One named check over all partitions of the run; `severity` is that of the severest expectation that failed."""

    name: str
    severity: Severity
    passed: bool
    violations: int
    failing: tuple[str, ...]
    description: str
    expectations: tuple[ExpectationResult, ...]


@dataclass(frozen=True, slots=True)
class Verdict:
    """The verdict on one run of one dataset. `data_docs` is the run's page where one was asked for."""

    dataset: str
    partitions: int
    expectations: tuple[ExpectationResult, ...]
    data_docs: Path | None

    @property
    def passed(self) -> bool:
        """Whether every expectation was met."""
        return all(result.passed for result in self.expectations)

    @property
    def blocks(self) -> bool:
        """Whether an expectation of severity error failed; warnings never block."""
        return any(result.severity == "error" and not result.passed for result in self.expectations)

    def checks(self) -> dict[str, CheckResult]:
        """The verdict by named check, in the suite's order: the names are those of `check_names`."""
        grouped: dict[str, list[ExpectationResult]] = {}
        for result in self.expectations:
            grouped.setdefault(result.check, []).append(result)
        return {name: _check(name, tuple(results)) for name, results in grouped.items()}


def _check(name: str, results: tuple[ExpectationResult, ...]) -> CheckResult:
    failed = [result for result in results if not result.passed]
    severe = any(result.severity == "error" for result in failed or results)
    failing = tuple(dict.fromkeys(partition for result in failed for partition in result.failing))[:SAMPLE]
    described = "; ".join(dict.fromkeys(result.description for result in failed or results))
    return CheckResult(
        name,
        "error" if severe else "warning",
        not failed,
        sum(result.violations for result in failed),
        failing,
        described,
        results,
    )


def metrics_table(suite: Suite, partitions: Sequence[MeasuredPartition]) -> pl.DataFrame:
    """A row per partition: instrument, date, rows, expected, missing, and the violations of each expectation.

    An expectation that tolerates some rows (`mostly`) also has `<id>_held`: the share of rows that keep it.
    """
    counts = {
        "instrument": pl.Series([p.instrument for p in partitions], dtype=pl.String),
        "date": pl.Series([p.date.isoformat() for p in partitions], dtype=pl.String),
    }
    for name in ("rows", "expected", "missing"):
        counts[name] = pl.Series([getattr(p.measurement, name) for p in partitions], dtype=pl.Int64)
    for expectation in suite.expectations:
        id_ = expectation.id
        counts[id_] = pl.Series([p.measurement.violations[id_] for p in partitions], dtype=pl.Int64)
        if expectation.mostly < 1:
            counts[f"{id_}_held"] = pl.Series([p.measurement.held[id_] for p in partitions], dtype=pl.Float64)
    return pl.DataFrame(counts)


def metrics_suite(suite: Suite) -> dict[str, Any]:
    """The same contract over the metrics table: each expectation's violations, or its share of rows, per partition."""
    return {"name": f"{suite.name} by partition", "expectations": [_over_partitions(e) for e in suite.expectations]}


def _over_partitions(expectation: Expectation) -> dict[str, Any]:
    limits = ", ".join(
        f"{name} {value}"
        for name, value in expectation.kwargs.items()
        if name in ("min_value", "max_value") or (name == "mostly" and value < 1)
    )
    bound = (
        {"column": expectation.id, "max_value": 0}
        if expectation.mostly == 1
        else {"column": f"{expectation.id}_held", "min_value": expectation.mostly}
    )
    return {
        "type": "expect_column_values_to_be_between",
        "kwargs": bound,
        "severity": "critical" if expectation.severity == "error" else "warning",
        "description": f"{expectation.check}: {expectation.description}" + (f" ({limits})" if limits else ""),
        "meta": {"id": expectation.id, "check": expectation.check, "type": expectation.type, "why": expectation.why},
    }


def validate(
    suite: CompiledSuite, partitions: Sequence[MeasuredPartition], *, run_id: str, docs: Path | None = None
) -> Verdict:
    """Let Great Expectations judge the partitions of one run.

    With `docs`, a folder of this run's own, its Data Docs are written there: `docs/index.html` lists every dataset
    validated into the folder so far. They are static files that ask nothing of any network.
    """
    # Great Expectations takes seconds to import, which measuring must not pay.
    from md_platform.quality.gx import run_validation  # noqa: PLC0415

    table = metrics_table(suite.suite, partitions)
    validation = run_validation(suite.suite.name, metrics_suite(suite.suite), table, run_id)
    results = tuple(_result(e, validation.failing[e.id], table) for e in suite.expectations)
    page = None
    if docs is not None:
        from md_platform.quality.data_docs import write_data_docs  # noqa: PLC0415

        page = write_data_docs(suite.suite, validation.result, docs)
    return Verdict(suite.suite.name, len(partitions), results, page)


def _result(expectation: Expectation, failing: list[tuple[str, str]], table: pl.DataFrame) -> ExpectationResult:
    violations = 0
    if failing:
        named = pl.DataFrame(failing, schema=["instrument", "date"], orient="row")
        violations = int(table.join(named, on=["instrument", "date"], how="semi")[expectation.id].sum())
    return ExpectationResult(
        id=expectation.id,
        type=expectation.type,
        check=expectation.check,
        severity=expectation.severity,
        passed=not failing,
        violations=violations,
        failing_partitions=len(failing),
        failing=tuple(f"{instrument} {date}" for instrument, date in failing[:SAMPLE]),
        description=expectation.description,
    )
