"""What the user sees of a load: progress and remarks on standard error, the result on standard output."""

import json
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from md_platform.catalog.backfill import Launch, Problem, Summary
from md_platform.catalog.ledger import Status
from md_platform.catalog.ranges import blocks
from md_platform.cli.tables import cell, console, heading_table, iso
from md_platform.loading import loader as loading
from md_platform.sources.files import FilePlan
from md_platform.telemetry import redact

_SHOWN_PROBLEMS = 20
_BOOKKEEPING = ("instrument", "timeframe", "close_time", "is_closed", "source", "revision", "known_at", "ts_received")
_QUEUED_TOO_LONG_S = 60.0
_STATUSES: tuple[Status, ...] = ("ok", "degraded", "closed", "missing", "failed", "pending")


class Screen:
    """One load on the terminal, from the first launch to the table at the end."""

    def __init__(self, dagster_url: str, load: loading.Load, *, as_json: bool) -> None:
        self._dagster_url = dagster_url
        self._load = load
        self._as_json = as_json
        self._console = Console(stderr=True)
        self._bar = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=self._console,
            transient=True,
            disable=not self._console.is_terminal,
        )
        self._task = self._bar.add_task("partitions", total=None, visible=False)
        self._told = ""
        self._moved_at = time.monotonic()

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    @property
    def runs_url(self) -> str:
        """Page of the load's runs in Dagster's UI."""
        return f"{self._dagster_url}/runs?q[0]={quote(f'tag:{loading.BACKFILL}={self._load.id}', safe='')}"

    def say(self, text: str) -> None:
        """One remark."""
        self._console.print(redact(text), markup=False, highlight=False, soft_wrap=True)

    def launching(self, launches: Sequence[Launch]) -> None:
        """Say what is about to run."""
        partitions = sum(launch.size for launch in launches)
        runs = "1 run" if len(launches) == 1 else f"{len(launches)} runs"
        self.say(f"load {self._load.id}: {runs}, {partitions} partitions, {self.runs_url}")

    def progress(self, progress: loading.Progress) -> None:
        """Show how far the runs are; where there is no terminal, a line whenever their states change."""
        states = Counter(run.status.lower() for run in progress.runs)
        told = ", ".join(f"{count} {state}" for state, count in sorted(states.items()))
        self._bar.update(
            self._task, description=told, completed=progress.made, total=progress.total or None, visible=True
        )
        if told != self._told:
            self._told, self._moved_at = told, time.monotonic()
            if self._bar.disable:
                self.say(f"{progress.made} of {progress.total} partitions, runs: {told}")
        elif set(states) == {"queued"} and time.monotonic() - self._moved_at > _QUEUED_TOO_LONG_S:
            self._moved_at = float("inf")
            self.say("no run has started for a minute: `mdp doctor` says whether Dagster's daemon is well")

    def finish(
        self, runs: Sequence[loading.FinishedRun], summaries: Sequence[Summary], *, is_done_already: bool
    ) -> None:
        """Show what came of the load."""
        self._bar.stop()
        if self._as_json:
            typer.echo(json.dumps(self._document(runs, summaries), indent=1))
            return
        if is_done_already:
            self.say("everything is there already: nothing to make (--refresh makes it again)")
        out = console()
        out.print(_summary_table(summaries))
        for run in runs:
            if run.status != "SUCCESS":
                reason = f": {redact(run.error)}" if run.error else ""
                out.print(f"run {run.id} {run.status.lower()}{reason}", markup=False, soft_wrap=True)
        lines = list(_grouped(problem for each in summaries for problem in each.problems))
        for line in lines[:_SHOWN_PROBLEMS]:
            out.print(redact(line), markup=False, soft_wrap=True)
        if len(lines) > _SHOWN_PROBLEMS:
            out.print(f"and {len(lines) - _SHOWN_PROBLEMS} more: `mdp status` tells", markup=False)

    def _document(self, runs: Sequence[loading.FinishedRun], summaries: Sequence[Summary]) -> dict[str, Any]:
        problems = [problem for each in summaries for problem in each.problems]
        return {
            "load": self._load.id,
            "stage": self._load.chain.stage,
            "first": self._load.first.isoformat(),
            "end": self._load.end.isoformat(),
            "runs": [
                {"id": run.id, "status": run.status, "error": redact(run.error) if run.error else None} for run in runs
            ],
            "instruments": [
                {
                    "instrument": each.instrument,
                    "days": each.days,
                    "rows": each.rows,
                    "statuses": dict(each.statuses),
                    "first": each.first and iso(each.first),
                    "last": each.last and iso(each.last),
                }
                for each in summaries
            ],
            "problems": [
                {
                    "dataset": problem.dataset,
                    "instrument": problem.instrument,
                    "date": problem.date.isoformat(),
                    "status": problem.status,
                    "reason": redact(problem.reason),
                }
                for problem in problems
            ],
        }


def _summary_table(summaries: Sequence[Summary]) -> Table:
    table = heading_table("instrument", "days", "rows", *_STATUSES, "first", "last", right=range(1, 9))
    for each in summaries:
        counts = [cell(each.statuses.get(status, 0) or None) for status in _STATUSES]
        table.add_row(each.instrument, cell(each.days), cell(each.rows), *counts, cell(each.first), cell(each.last))
    return table


def _grouped(problems: Iterator[Problem]) -> Iterator[str]:
    """One line for each reason and run of days."""
    groups: dict[tuple[str, str, str, str], list[Problem]] = {}
    for problem in problems:
        reason = problem.reason.replace(problem.date.isoformat(), "the day")
        groups.setdefault((problem.instrument, problem.dataset, problem.status, reason), []).append(problem)
    for (instrument, dataset, status, reason), members in groups.items():
        own = {problem.date: problem.reason for problem in members}
        for first, last in blocks(own):
            days, why = (f"{first}", own[first]) if first == last else (f"{first} to {last}", reason)
            yield f"{status}: {dataset} of {instrument}, {days}: {why}"


def show_plans(plans: Sequence[FilePlan], *, as_json: bool) -> None:
    """What the files of an import are understood as."""
    if as_json:
        typer.echo(json.dumps({"files": [_plan_document(plan) for plan in plans]}, indent=1, default=iso))
        return
    out = console()
    alike: dict[tuple[object, ...], list[FilePlan]] = {}
    for plan in plans:
        columns = tuple(tuple(part.columns.items()) for part in plan.parts)
        alike.setdefault((tuple(dict.fromkeys(columns)), plan.time_units, plan.warnings), []).append(plan)
    for group in alike.values():
        _show_alike(out, group)
    days = {day for plan in plans for day in plan.days}
    rows = sum(plan.rows for plan in plans)
    unreadable = sum(plan.unreadable for plan in plans)
    out.print(
        f"files {len(plans)}, days {len(days)}, rows {rows:,}, of which unreadable {unreadable}: dry run, nothing was"
        f" imported for {plans[0].instrument}",
        markup=False,
        soft_wrap=True,
    )


def _show_alike(out: Console, plans: Sequence[FilePlan]) -> None:
    """Files that are understood in the same way, with rows of the first."""
    first, last = plans[0], plans[-1]
    days = [day for plan in plans for day in plan.days]
    spans = ", ".join(f"{start}" if start == end else f"{start} to {end}" for start, end in blocks(days))
    start, end = min(plan.first for plan in plans), max(plan.last for plan in plans)
    facts = heading_table("", "", show_header=False)
    facts.add_row("file", str(first.path) if len(plans) == 1 else f"{len(plans)}: {first.path} … {last.path.name}")
    facts.add_row("holds", f"{sum(plan.rows for plan in plans):,} rows of {first.kind}, {iso(start)} to {iso(end)}")
    facts.add_row("days", f"{len(set(days))}: {spans}")
    facts.add_row("time unit", " ".join(first.time_units))
    for columns in dict.fromkeys(tuple(part.columns.items()) for part in first.parts):
        facts.add_row("columns", ", ".join(f"{ours}={theirs}" for ours, theirs in columns))
    for warning in first.warnings:
        facts.add_row("warning", warning)
    out.print(facts)
    names = [name for name in first.sample[0] if name not in _BOOKKEEPING]
    sample = heading_table(*names)
    for row in first.sample:
        sample.add_row(*(cell(row[name]) for name in names))
    out.print(sample)


def _plan_document(plan: FilePlan) -> dict[str, Any]:
    return {
        "path": str(plan.path),
        "instrument": plan.instrument,
        "kind": plan.kind,
        "rows": plan.rows,
        "unreadable": plan.unreadable,
        "first": plan.first,
        "last": plan.last,
        "days": plan.days,
        "parts": [
            {"name": part.name, "format": part.format, "columns": dict(part.columns), "time_unit": part.time_unit}
            for part in plan.parts
        ],
        "sample": [dict(row) for row in plan.sample],
        "warnings": plan.warnings,
    }
