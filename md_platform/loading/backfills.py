"""Backfills as jobs: instruments and days in, a job that loads them through Dagster and follows up out.

It does what `mdp backfill` does, and goes on where the process was killed.
"""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from md_platform.catalog.backfill import Chain, Launch, Summary
from md_platform.domain.instruments import Instrument
from md_platform.domain.intervals import DAY
from md_platform.errors import InvalidRange
from md_platform.jobs.queue import Job, Jobs
from md_platform.jobs.worker import Cancelled, Task
from md_platform.loading.loader import BACKFILL, FinishedRun, Load, Loader, Progress
from md_platform.loading.naming import Listing, resolve
from md_platform.orchestrator import Orchestrator

_SHOWN_PROBLEMS = 50


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to be loaded: days from `start` to before `end`, as far as `stage`; `refresh` makes it all again."""

    ids: tuple[str, ...]
    start: dt.date
    end: dt.date
    stage: str = "archive"
    trades: bool = False
    refresh: bool = False

    @property
    def days(self) -> tuple[dt.date, ...]:
        """The days, in order; InvalidRange where there are none."""
        if self.end <= self.start:
            raise InvalidRange(f"end must be after start, was start {self.start} and end {self.end}")
        return tuple(self.start + n * DAY for n in range((self.end - self.start).days))

    @property
    def chain(self) -> Chain:
        """How far they are taken; InvalidSetting for an unknown stage."""
        chain = Chain(self.stage, trades=self.trades)
        chain.assets  # noqa: B018 - raises for an unknown stage
        return chain


@dataclass(frozen=True)
class Backfills:
    """Starts backfills, and carries them out. `configured` are the instruments that settings name."""

    jobs: Jobs
    loader: Loader
    orchestrator: Orchestrator
    listing: Listing
    configured: Sequence[str] = field(default=())

    def start(
        self, wish: Wish, owner: str, registered: Sequence[Instrument], today: dt.date
    ) -> tuple[Job | None, bool]:
        """The job that makes what is missing of `wish`, and whether it is new; no job where everything is there.

        The same wish while its job is unfinished is that job. UserError where it cannot be granted,
        OrchestratorUnavailable where Dagster is away.
        """
        days, chain = wish.days, wish.chain
        instruments = resolve(wish.ids, registered, self.listing, self.configured)
        self.loader.require_days(instruments, days, today)
        request = _request(wish, instruments)
        for job in self.jobs.unfinished("backfill"):
            if job.request == request:
                return job, False
        self.loader.register(instruments)
        load = Load(tuple(instruments), days, chain)
        launches = self.loader.plan(load, refresh=wish.refresh) or self.loader.plan_following(load)
        if not launches:
            return None, False
        return self.jobs.add("backfill", owner, request, sum(launch.size for launch in launches)), True

    def do(self, task: Task) -> str | None:
        """Carry out a job; why it is not whole, None where it is."""
        load, refresh = _load(task.job), bool(task.job.request["refresh"])
        try:
            runs = self._made(task, load, refresh=refresh)
            if following := self.loader.plan_following(load):
                runs += self.loader.run(load, following, _reporting(task))
        except Cancelled:
            self.loader.cancel(load)
            raise
        summaries = self.loader.summaries(load)
        made = sum(each.days - each.statuses["failed"] - each.statuses["pending"] for each in summaries)
        wanted = sum(each.days for each in summaries)
        task.report(task.job.total, task.job.total, _told(runs, summaries))
        failed = [run for run in runs if run.status != "SUCCESS"]
        if made == wanted and not failed:
            return None
        reason = next((run.error for run in failed if run.error), "see problems")
        return f"{wanted - made} of {wanted} days are not made, {len(failed)} runs failed: {reason}"

    def _made(self, task: Task, load: Load, *, refresh: bool) -> list[FinishedRun]:
        """Runs of what is not whole, finished; those included that were launched before the process was killed."""
        report = _reporting(task)
        earlier = self.orchestrator.runs({BACKFILL: load.id})
        if earlier:
            self.loader.wait_for(load.id, report)
        for other in self.loader.under_way(load):
            self.loader.wait_for(other, report)
        launches = self.loader.plan(load, refresh=refresh)
        if refresh:  # what was made again before need not be made once more
            launches = [each for each in launches if not _was_launched(each, [run.tags for run in earlier])]
        return self.loader.run(load, launches, report) if launches else []


def _was_launched(launch: Launch, tags: Sequence[Mapping[str, str]]) -> bool:
    return any(launch.partitions.tags.items() <= each.items() for each in tags)


def _request(wish: Wish, instruments: Sequence[Instrument]) -> dict[str, Any]:
    return {
        "instruments": [each.id for each in instruments],
        "natives": [each.native for each in instruments],
        "start": wish.start.isoformat(),
        "end": wish.end.isoformat(),
        "stage": wish.stage,
        "trades": wish.trades,
        "refresh": wish.refresh,
    }


def _load(job: Job) -> Load:
    wanted = job.request
    instruments = [
        Instrument.parse(id_, native=native)
        for id_, native in zip(wanted["instruments"], wanted["natives"], strict=True)
    ]
    start, end = (dt.date.fromisoformat(wanted[name]) for name in ("start", "end"))
    wish = Wish((), start, end, wanted["stage"], wanted["trades"])
    return Load(tuple(instruments), wish.days, wish.chain, job.id)


def _reporting(task: Task) -> Any:  # noqa: ANN401 - a Report
    def report(progress: Progress) -> None:
        runs = [{"id": run.id, "status": run.status} for run in progress.runs]
        task.report(progress.made, progress.total, {"runs": runs})

    return report


def _told(runs: Sequence[FinishedRun], summaries: Sequence[Summary]) -> dict[str, Any]:
    """What came of it, for whoever asked."""
    problems = [problem for each in summaries for problem in each.problems]
    return {
        "runs": [{"id": run.id, "status": run.status, "error": run.error} for run in runs],
        "instruments": [
            {"instrument": each.instrument, "days": each.days, "rows": each.rows, "statuses": dict(each.statuses)}
            for each in summaries
        ],
        "problems": [
            {
                "dataset": each.dataset,
                "instrument": each.instrument,
                "date": each.date.isoformat(),
                "status": each.status,
                "reason": each.reason,
            }
            for each in problems[:_SHOWN_PROBLEMS]
        ],
        "problems_total": len(problems),
    }
