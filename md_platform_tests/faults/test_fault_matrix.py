"""The fault matrix in short: everything that takes seconds, and two kills. `python -m md_platform_tests.faults` does all."""

import random
from pathlib import Path

import pytest

from md_platform_tests.faults.matrix import run
from md_platform_tests.faults.report import printed
from md_platform_tests.faults.trials import TRIALS
from md_platform_tests.small_disk import MAY_MOUNT

SLOW = ("stall", "slow server", "late trades")
"""A stall is one after half a minute; the others come near the two that take their place."""


@pytest.mark.timeout(300)
def test_no_fault_loses_repeats_or_falsifies_anything(open_folder: Path) -> None:
    trials = [trial for trial in TRIALS if trial.name not in SLOW and (MAY_MOUNT or not trial.needs_root)]
    verdicts = run(open_folder / "faults", trials, kills=2, chance=random.Random(1))
    printed(verdicts)
    assert len(verdicts) == len(trials) + 1
    assert [verdict for verdict in verdicts if not verdict.is_good] == []
