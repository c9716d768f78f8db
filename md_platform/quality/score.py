"""A partition's measurement in, its status and its score between 0 and 1 out."""

from dataclasses import dataclass
from typing import Literal

from md_platform.quality.suite import Measurement

QualityStatus = Literal["ok", "degraded", "failed", "missing", "closed"]

_WARNING_WEIGHT = 0.1


@dataclass(frozen=True, slots=True)
class PartitionScore:
    """`status` is what the ledger records; `score` is 1.0 for a partition with nothing to say about it."""

    status: QualityStatus
    score: float


def score_partition(measured: Measurement, quarantined: int = 0) -> PartitionScore:
    """Judge one partition of which `quarantined` rows were set aside before it was measured.

    score = coverage * validity * consistency
        coverage     (expected - missing) / expected, 1 where nothing is expected
        validity     rows / (rows + quarantined)
        consistency  1 - (rows in broken error expectations + 0.1 * rows in broken warnings) / rows, at least 0

    - closed: nothing expected, nothing there (score 1)
    - missing: something expected, nothing there (score 0)
    - failed: an expectation of severity error is broken
    - degraded: a warning is broken (missing bars beyond what the suite tolerates are one), or rows are in quarantine
    - ok: none of these
    """
    if not measured.rows:
        return PartitionScore("missing", 0.0) if measured.expected else PartitionScore("closed", 1.0)
    coverage = 1 - measured.missing / measured.expected if measured.expected else 1.0
    validity = measured.rows / (measured.rows + quarantined)
    consistency = max(0.0, 1 - _weight(measured) / measured.rows)
    if "error" in measured.broken.values():
        status: QualityStatus = "failed"
    elif measured.broken or quarantined:
        status = "degraded"
    else:
        status = "ok"
    return PartitionScore(status, round(coverage * validity * consistency, 6))


def _weight(measured: Measurement) -> float:
    """Rows in broken expectations, by severity. Missing rows are not among them: coverage has counted those."""
    return sum(
        measured.violations[id_] * (1.0 if severity == "error" else _WARNING_WEIGHT)
        for id_, severity in measured.broken.items()
        if id_ not in measured.about_expected
    )
