"""Trials in, verdicts out: one after the other on one rig, each judged when all is well again."""

import random
import statistics
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

import structlog

from md_platform_tests.faults.judge import Judge, Verdict, first_sent
from md_platform_tests.faults.rig import INSTRUMENTS, Rig, running, until
from md_platform_tests.faults.trials import MOMENTS, Trial, kill_at
from md_platform_tests.small_disk import MAY_MOUNT, small_disk

log = structlog.get_logger(__name__)

_WITHIN_S = 120.0
_DISK_MB = 700  # more than what is free must be, for nothing to be shed before it is filled


def run(folder: Path, trials: Sequence[Trial], kills: int, chance: random.Random) -> list[Verdict]:
    """All of `trials`, then `kills` kills; what the processes write goes into `folder`."""
    verdicts = []
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o755)  # PostgreSQL may run as another user
    with ExitStack() as stack:
        if MAY_MOUNT and any(trial.needs_root for trial in trials):
            stack.enter_context(small_disk(folder / "home" / "stream", _DISK_MB))
        rig = stack.enter_context(running(folder))
        until(lambda: len(first_sent(rig.frame_log)) == len(INSTRUMENTS), 60, "trades of every instrument")
        judge = Judge(rig)
        until(rig.listener.is_fresh, 60, "trades and books of every instrument on Redis")
        for trial in trials:
            if trial.needs_root and not MAY_MOUNT:
                verdicts.append(Verdict(trial.name, failure="not tried: only root may mount a small disk"))
                continue
            verdicts.append(_tried(rig, judge, trial.name, lambda trial=trial: trial.commit(rig), trial.reports))
            log.info("tried", trial=trial.name, good=verdicts[-1].is_good)
        if kills:
            verdicts.append(_killed(rig, judge, kills, chance))
    return verdicts


def _tried(rig: Rig, judge: Judge, name: str, commit: Callable[[], None], reports: Sequence[str]) -> Verdict:
    duplicates = rig.status().get("duplicates", 0)
    said = {each: rig.said(*_place(each)) for each in reports if each.startswith("log:")}

    def reported() -> Counter[str]:
        found = judge.reports()
        found["duplicates"] = max(0, rig.status().get("duplicates", 0) - duplicates)
        found.update({each: rig.said(*_place(each)) - count for each, count in said.items()})
        return found

    judge.begin()
    failure = ""
    fresh_s = whole_s = float("nan")
    try:
        commit()
        ended_us = time.time_ns() // 1_000
        fresh_s = until(lambda: rig.listener.is_fresh(ended_us * 1_000), _WITHIN_S, "fresh trades and books on Redis")
        whole_s = fresh_s + until(lambda: not judge.missing(ended_us), _WITHIN_S, "every trade in the database")
        whole_s += until(lambda: not _unreported(reports, reported()), _WITHIN_S, "what must be said")
    except TimeoutError as error:
        failure = str(error)
        ended_us = time.time_ns() // 1_000 - 5_000_000
    verdict = judge.verdict(name, ended_us)
    verdict.fresh_s, verdict.whole_s, verdict.failure = fresh_s, whole_s, failure
    verdict.reports = reported()
    verdict.unreported = _unreported(reports, verdict.reports)
    return verdict


def _unreported(wanted: Sequence[str], reports: Counter[str]) -> list[str]:
    """Which of `wanted` nobody has said."""
    return [each for each in wanted if not any(count and each in report for report, count in reports.items())]


def _place(report: str) -> tuple[str, str]:
    """Whose log must say what."""
    name, _, what = report.removeprefix("log:").partition(" ")
    return name, what


def _killed(rig: Rig, judge: Judge, kills: int, chance: random.Random) -> Verdict:
    """All kills are one trial, as each falls into what the one before left."""
    took: list[float] = []

    def commit() -> None:
        for number in range(kills):
            moment = MOMENTS[number % len(MOMENTS)]
            kill_at(rig, moment, chance)
            killed_ns = time.time_ns()
            if chance.random() < 0.7:  # the others fall into the start of what was killed
                took.append(until(lambda: rig.listener.is_fresh(killed_ns), 60, "fresh trades and books after a kill"))  # noqa: B023
            log.info("killed", number=number + 1, who=moment, fresh_s=round(took[-1], 2) if took else None)

    verdict = _tried(rig, judge, f"kill -9, {kills} times", commit, ("gap", "repaired"))
    if took:
        verdict.figures = {"fresh_median_s": statistics.median(took), "fresh_most_s": max(took)}
    return verdict
