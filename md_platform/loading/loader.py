"""Loads through Dagster: instruments and days, or files, in; runs launched and watched; what came of them out.

Nothing is printed here. Which partitions to run is decided by `catalog.backfill`.
"""

import datetime as dt
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from md_platform.catalog.backfill import (
    DAILY,
    Chain,
    Launch,
    Summary,
    behind_by_look_back,
    behind_periods,
    next_period,
    period_start,
    ranges_of,
    summary,
    unmade,
)
from md_platform.catalog.chain import PERIOD_ASSETS
from md_platform.catalog.ledger import Ledger, States
from md_platform.catalog.ranges import PERIODS_FOLLOW, Range, blocks, next_day
from md_platform.domain.instruments import Instrument
from md_platform.domain.intervals import DAY, Timeframe
from md_platform.errors import InvalidRange, OrchestratorUnavailable, StorageError
from md_platform.orchestrator import UNFINISHED, Orchestrator, Run
from md_platform.settings import Universe, universe_of
from md_platform.sources.files import FilePlan
from md_platform.transforms.indicators import look_back_days

BACKFILL, VENUE = "mdp/backfill", "mdp/venue"
"""Tags of every run that a load launches: the load's own id, and the venue, of which one run goes at a time.

That spares the venue's rate limit, and keeps two runs from rewriting one instrument's month in the archive at once.
"""

_QUIET_POLLS = 5
_PATIENCE_S = 60.0
"""How long Dagster or the database may be away (their supervisor restarts them) before a watch gives up."""


@dataclass(frozen=True, slots=True)
class Progress:
    """Partitions made so far, of all that the runs will make; the runs as they are."""

    made: int
    total: int
    runs: Sequence[Run]


Report = Callable[[Progress], None]


@dataclass(frozen=True, slots=True)
class Load:
    """The days wanted of each instrument, and how far they are taken; `id` names the load in Dagster."""

    instruments: tuple[Instrument, ...]
    days: tuple[dt.date, ...]
    chain: Chain
    id: str = field(default_factory=lambda: uuid.uuid4().hex[:8])

    @property
    def first(self) -> dt.date:
        """First day."""
        return self.days[0]

    @property
    def end(self) -> dt.date:
        """The day after the last."""
        return self.days[-1] + DAY


@dataclass(frozen=True, slots=True)
class FinishedRun:
    """A run that is over; `error` is why it failed."""

    id: str
    status: str
    error: str | None = None


class Loader:
    """What a load needs: the ledger, Dagster and the universes."""

    def __init__(
        self,
        ledger: Ledger,
        orchestrator: Orchestrator,
        universes: tuple[Universe, ...],
        poll_s: float = 1.0,
    ) -> None:
        self._ledger = ledger
        self._orchestrator = orchestrator
        self._universes = universes
        self._poll_s = poll_s

    def register(self, instruments: Sequence[Instrument]) -> None:
        """Make `instruments` known to the ledger and to Dagster, each in its universe."""
        self._ledger.register([(each, self._universe(each).name) for each in instruments])
        for universe, members in self._by_universe(instruments).items():
            self._orchestrator.register(universe.name, [each.id for each in members])

    def require_days(self, instruments: Sequence[Instrument], days: Sequence[dt.date], today: dt.date) -> None:
        """Raise InvalidRange unless the universes of `instruments` have every one of `days`."""
        for universe in self._by_universe(instruments):
            if days[0] < universe.first_day:
                raise InvalidRange(
                    f"days must not lie before {universe.first_day}, the first day of universe {universe.name}, was"
                    f" {days[0]}: universes and their first days stand in MDP_UNIVERSES_FILE"
                )
        if days[-1] >= today:
            raise InvalidRange(f"end must not lie after {today}, as that day is not over yet, was {days[-1] + DAY}")

    def plan(self, load: Load, *, refresh: bool = False) -> list[Launch]:
        """Runs that make what is not whole of `load`; with `refresh`, all of it."""
        todo = {}
        for instrument in load.instruments:
            states = self._history(instrument, load)
            dates = load.days if refresh else unmade(states, load.chain, load.days)
            if dates:
                todo[instrument.id] = dates
        return list(self._launches(load, load.chain.assets, todo))

    def plan_files(
        self, load: Load, plans: Sequence[FilePlan], time_unit: str | None, columns: Mapping[str, str]
    ) -> list[Launch]:
        """Runs that import the files of `plans`, one for each block of consecutive days, with that block's files."""
        instrument, raw = load.instruments[0], load.chain.assets[0]
        universe = self._universe(instrument).name
        launches = []
        for first, last in blocks(load.days):
            files = [str(p.path.resolve()) for p in plans if any(first <= day <= last for day in p.days)]
            wanted = {"files": files, "time_unit": time_unit, "columns": dict(columns)}
            given = {name: value for name, value in wanted.items() if value}
            config = {"ops": {f"{universe}__{raw}": {"config": given}}}
            partitions = Range((instrument.id,), first, last)
            launches.append(Launch.of(universe, load.chain.assets, partitions, config=config))
        return launches

    def plan_following(self, load: Load) -> list[Launch]:
        """Runs of what is behind the days of `load`: indicators of days that look back on them, weeks and months."""
        behind: dict[str, list[dt.date]] = {}
        periods: dict[Timeframe, dict[str, list[dt.date]]] = {Timeframe(name): {} for name in PERIOD_ASSETS}
        if not load.chain.following and not load.chain.has_periods:
            return []
        for instrument in load.instruments:
            look_back = look_back_days(self._universe(instrument).calendar)
            states = self._history(instrument, load, look_back)
            if dates := behind_by_look_back(states, load.first, load.end, look_back):
                behind[instrument.id] = dates
            for timeframe, late in periods.items():
                if load.chain.has_periods and (dates := behind_periods(states, timeframe, load.first, load.end)):
                    late[instrument.id] = dates
        launches = list(self._launches(load, load.chain.following, behind))
        for timeframe, late in periods.items():
            launches += self._launches(load, PERIOD_ASSETS[timeframe.value], late, next_period(timeframe))
        return launches

    def _history(self, instrument: Instrument, load: Load, look_back: int = 0) -> States:
        """States around the days of `load`: the weeks and months they touch, and the days that look back on them."""
        datasets = [*DAILY, *(name for names in PERIOD_ASSETS.values() for name in names)]
        starts = [period_start(Timeframe(name), load.first) for name in PERIOD_ASSETS]
        ends = [next_period(Timeframe(name))(period_start(Timeframe(name), load.days[-1])) for name in PERIOD_ASSETS]
        end = max(*ends, load.end + look_back * DAY)
        return self._ledger.history(instrument.id, datasets, min(starts), end)

    def _launches(
        self,
        load: Load,
        assets: Sequence[str],
        todo: Mapping[str, Sequence[dt.date]],
        after: Callable[[dt.date], dt.date] = next_day,
    ) -> Iterator[Launch]:
        for universe, members in self._by_universe(load.instruments).items():
            wanted = {each.id: todo[each.id] for each in members if each.id in todo}
            if wanted:
                registered = self._orchestrator.registered(universe.name)
                for partitions in ranges_of(wanted, registered, after):
                    yield Launch.of(universe.name, assets, partitions, after)

    def run(self, load: Load, launches: Sequence[Launch], report: Report) -> list[FinishedRun]:
        """Launch all of `launches` and wait until they are over, retries by Dagster included."""
        launched: dict[str, Launch] = {}
        for launch in launches:
            venue = launch.partitions.instruments[0].partition(":")[0]
            tags = {BACKFILL: load.id, VENUE: venue, PERIODS_FOLLOW: "yes"}
            run_id = self._orchestrator.launch(launch.universe, launch.assets, launch.partitions, tags, launch.config)
            launched[run_id] = launch
        runs = self._watch(load.id, lambda runs: self._progress(runs, launched), report, launched)
        return [self._finished(run) for run in runs if _root(run) in launched and run.superseded_by is None]

    def under_way(self, load: Load) -> list[str]:
        """Ids of earlier loads with unfinished runs over some of the same partitions."""
        found = []
        for universe, members in self._by_universe(load.instruments).items():
            order = {name: n for n, name in enumerate(self._orchestrator.registered(universe.name))}
            wanted = [order[each.id] for each in members if each.id in order]
            for venue in dict.fromkeys(each.venue for each in members):
                for run in self._orchestrator.runs({VENUE: venue}, UNFINISHED):
                    touched = Range.of_run(run.tags)
                    if touched is None or BACKFILL not in run.tags:
                        continue
                    low, high = (order.get(name, -1) for name in touched.instruments)
                    days_meet = touched.first < load.end and touched.last >= load.first
                    if days_meet and any(low <= place <= high for place in wanted):
                        found.append(run.tags[BACKFILL])
        return list(dict.fromkeys(found))

    def wait_for(self, load_id: str, report: Report) -> None:
        """Wait until every run of the load `load_id` is over."""

        def steps(runs: Sequence[Run]) -> Progress:
            return Progress(sum(run.steps_done for run in runs), sum(run.steps for run in runs), runs)

        self._watch(load_id, steps, report, ())

    def cancel(self, load: Load) -> list[str]:
        """Cancel the unfinished runs of `load`, those included that Dagster is still about to create; their ids."""
        cancelled: list[str] = []
        seen_at = time.monotonic()
        while time.monotonic() - seen_at < _QUIET_POLLS * self._poll_s:
            for run in self._orchestrator.runs({BACKFILL: load.id}, UNFINISHED):
                if run.id not in cancelled:
                    self._orchestrator.terminate(run.id)
                    cancelled.append(run.id)
                    seen_at = time.monotonic()
            time.sleep(self._poll_s)
        return cancelled

    def summaries(self, load: Load) -> list[Summary]:
        """What each instrument has of the days of `load`."""
        return [summary(each.id, self._history(each, load), load.chain, load.days) for each in load.instruments]

    def _watch(
        self, load_id: str, progress: Callable[[Sequence[Run]], Progress], report: Report, expected: Iterable[str]
    ) -> list[Run]:
        answered = time.monotonic()
        while True:
            try:
                runs = self._orchestrator.runs({BACKFILL: load_id})
                report(progress(runs))
                answered = time.monotonic()
            except (OrchestratorUnavailable, StorageError):
                if time.monotonic() - answered > _PATIENCE_S:
                    raise
                runs = []
            seen = {run.id for run in runs}
            awaited = {*expected, *(run.superseded_by for run in runs if run.superseded_by)}
            if seen and seen >= awaited and all(run.is_finished for run in runs):
                return runs
            time.sleep(self._poll_s)

    def _progress(self, runs: Sequence[Run], launched: Mapping[str, Launch]) -> Progress:
        ours = [run for run in runs if _root(run) in launched]
        first = min(launch.partitions.first for launch in launched.values())
        end = max(launch.partitions.last for launch in launched.values()) + DAY
        datasets = sorted({name for launch in launched.values() for name in launch.assets})
        counts = self._ledger.count_made([run.id for run in ours], datasets, first, end)
        made = dict.fromkeys(launched, 0)
        for run in ours:
            root = _root(run)
            size = launched[root].size
            made[root] = size if run.status == "SUCCESS" else min(size, made[root] + counts.get(run.id, 0))
        return Progress(sum(made.values()), sum(launch.size for launch in launched.values()), ours)

    def _finished(self, run: Run) -> FinishedRun:
        error = self._orchestrator.failure(run.id) if run.status == "FAILURE" else None
        return FinishedRun(run.id, run.status, error)

    def _universe(self, instrument: Instrument) -> Universe:
        return universe_of(instrument.id, self._universes)

    def _by_universe(self, instruments: Sequence[Instrument]) -> dict[Universe, list[Instrument]]:
        members: dict[Universe, list[Instrument]] = {}
        for instrument in instruments:
            members.setdefault(self._universe(instrument), []).append(instrument)
        return members


def _root(run: Run) -> str:
    """The run that Dagster tried again by `run`, or itself."""
    return run.tags.get("dagster/root_run_id", run.id)
