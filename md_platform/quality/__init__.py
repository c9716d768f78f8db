"""What a dataset promises and whether a partition keeps it: expectations, completeness, gaps, score, verdict of a run.

Per partition `load_suite(dataset).measure(frame, expected_table(...))` and `score_partition`, after the run `validate`.
Great Expectations is imported by `validate` alone.
"""

from md_platform.quality.contract import Check, Expectation, Severity
from md_platform.quality.expected import expected_table, owed_by_trades
from md_platform.quality.gaps import Gap, missing_ranges
from md_platform.quality.score import PartitionScore, score_partition
from md_platform.quality.suite import CompiledSuite, Measurement, check_names, load_suite, own_checks
from md_platform.quality.verdict import CheckResult, ExpectationResult, MeasuredPartition, Verdict, validate

__all__ = [
    "Check",
    "CheckResult",
    "CompiledSuite",
    "Expectation",
    "ExpectationResult",
    "Gap",
    "MeasuredPartition",
    "Measurement",
    "PartitionScore",
    "Severity",
    "Verdict",
    "check_names",
    "expected_table",
    "load_suite",
    "missing_ranges",
    "owed_by_trades",
    "own_checks",
    "score_partition",
    "validate",
]
