"""What a load must run: the ledger's states and the wanted days in, ranges of partitions to launch out. Pure.

A day is whole when every dataset of the stage is there, made from the inputs as they now are. Days that are not whole
run through the chain; then what looks at several days (indicators, weeks, months) follows where it is behind its days.
"""

import datetime as dt
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Self, get_args

from md_platform.catalog.chain import PERIOD_ASSETS, STAGES, STREAMED, TRADE_STAGES, assets_up_to
from md_platform.catalog.ledger import USABLE, States, Status
from md_platform.catalog.ranges import Range, blocks, neighbours, next_day
from md_platform.domain.intervals import DAY, Interval, Timeframe

AT_MOST = 20_000
"""Partitions of one asset that one run makes; more are split by instruments."""

DAILY = tuple(assets_up_to("archive", trades=True))
"""Every asset that is partitioned by day."""

_DONE: tuple[Status, ...] = (*USABLE, "closed")
_WORST_FIRST: tuple[Status, ...] = ("failed", "pending", "missing", "degraded", "ok", "closed")
_ARCHIVE = "archive_"


@dataclass(frozen=True)
class Chain:
    """Daily assets from raw to `stage`, of bars, of trades, or of both."""

    stage: str
    bars: bool = True
    trades: bool = False

    @cached_property
    def assets(self) -> tuple[str, ...]:
        """What a run makes."""
        names = assets_up_to(self.stage, trades=self.trades)
        return tuple(name for name in names if self.bars or name not in STAGES["raw"])

    @cached_property
    def targets(self) -> tuple[str, ...]:
        """What must be there for a day to be whole; the first of them counts its rows.

        Trades themselves are asked of their source once, even where all that follows was made of streamed ones.
        """
        order = list(STAGES)
        reached = [name for name in order[: order.index(self.stage) + 1] if name in TRADE_STAGES]
        of_trades = (*TRADE_STAGES[reached[-1]], *TRADE_STAGES["raw"]) if self.trades else ()
        wanted = dict.fromkeys((*STAGES[self.stage], *of_trades))
        return tuple(name for name in wanted if name in self.assets and name != STREAMED)

    @cached_property
    def following(self) -> tuple[str, ...]:
        """What must be made again of the days that look back on changed ones."""
        return tuple(name for name in self.assets if name.removeprefix(_ARCHIVE) == "indicators")

    @property
    def has_periods(self) -> bool:
        """Whether weeks and months follow."""
        return self.stage == "archive"


@dataclass(frozen=True, slots=True)
class Problem:
    """A partition that failed, or waits, and why."""

    dataset: str
    instrument: str
    date: dt.date
    status: Status
    reason: str


@dataclass(frozen=True, slots=True)
class Summary:
    """What one instrument has of the wanted days: `statuses` counts days by the worst of their targets."""

    instrument: str
    days: int
    rows: int
    statuses: Mapping[Status, int]
    first: dt.datetime | None
    last: dt.datetime | None
    problems: tuple[Problem, ...] = field(default=())


def unmade(states: States, chain: Chain, dates: Iterable[dt.date]) -> list[dt.date]:
    """Those of `dates` that are not whole: absent, failed, waiting or missing, or made from what has since changed."""
    return [date for date in dates if not _is_whole(states, chain, date)]


def _is_whole(states: States, chain: Chain, date: dt.date) -> bool:
    if any(_status(states, name, date) not in _DONE for name in chain.targets):
        return False
    return all(_is_current(states, name, date) for name in chain.assets)


def _status(states: States, dataset: str, date: dt.date) -> Status:
    state = states.get((dataset, date))
    return "pending" if state is None else state.status


def _is_current(states: States, dataset: str, date: dt.date) -> bool:
    """Whether a partition, where it is known, was made from the same day's inputs as they now are."""
    state = states.get((dataset, date))
    if state is None:
        return True
    made_from = dict(state.inputs)
    if dataset.startswith(_ARCHIVE):
        made_from[dataset.removeprefix(_ARCHIVE)] = state.sha256
    return all(sha256 == _sha256(states, name, date) for name, sha256 in made_from.items())


def _sha256(states: States, dataset: str, date: dt.date) -> str | None:
    state = states.get((dataset, date))
    return None if state is None else state.sha256


def behind_by_look_back(states: States, start: dt.date, end: dt.date, look_back_days: int) -> list[dt.date]:
    """Days whose indicators are older than a change on a day in `[start, end)` that they look back on."""
    changes: dict[dt.date, dt.datetime] = {}
    for (dataset, date), state in states.items():
        if dataset in ("cleaned_bars", "resampled_bars") and start <= date < end:
            changes[date] = max(state.changed_at, changes.get(date, state.changed_at))
    made = {
        date: s.updated_at for (dataset, date), s in states.items() if dataset == "indicators" and s.status in USABLE
    }
    behind: list[dt.date] = []
    newest: deque[tuple[dt.date, dt.datetime]] = deque()  # changes within the look-back, the newest in front
    for date in sorted({*changes, *made}):
        while newest and newest[0][0] < date - look_back_days * DAY:
            newest.popleft()
        if date in changes:
            while newest and newest[-1][1] <= changes[date]:
                newest.pop()
            newest.append((date, changes[date]))
        if date in made and newest and newest[0][1] > made[date]:
            behind.append(date)
    return behind


def behind_periods(states: States, timeframe: Timeframe, start: dt.date, end: dt.date) -> list[dt.date]:
    """First days of the weeks or months of days in `[start, end)` that are not made, or older than a day of theirs."""
    periods, archived = PERIOD_ASSETS[timeframe.value]
    touched = {period_start(timeframe, start + n * DAY) for n in range((end - start).days)}
    newest: dict[dt.date, dt.datetime] = {}
    for (dataset, date), state in states.items():
        if dataset == "resampled_bars" and (first := period_start(timeframe, date)) in touched:
            newest[first] = max(state.changed_at, newest.get(first, state.changed_at))
    return sorted(first for first, changed in newest.items() if not _follows(states, periods, archived, first, changed))


def _follows(states: States, periods: str, archived: str, first: dt.date, changed: dt.datetime) -> bool:
    made = states.get((periods, first))
    if made is None or made.status in ("failed", "pending") or made.updated_at < changed:
        return False
    return _status(states, archived, first) not in ("failed", "pending") and _is_current(states, archived, first)


def period_start(timeframe: Timeframe, date: dt.date) -> dt.date:
    """First day of the week or month that holds `date`."""
    return timeframe.open_time(Interval.day(date).start).date()


def next_period(timeframe: Timeframe) -> Callable[[dt.date], dt.date]:
    """What gives the first day of the week or month after the one that begins on a date."""
    return lambda first: timeframe.close_time(Interval.day(first).start).date()


def ranges_of(
    todo: Mapping[str, Collection[dt.date]],
    registered: Sequence[str],
    after: Callable[[dt.date], dt.date] = next_day,
    at_most: int = AT_MOST,
) -> list[Range]:
    """Ranges that together hold every date of every instrument in `todo` once, and nothing else; earliest first.

    One venue each, so that its runs can be kept to one at a time. An instrument's consecutive dates stay together,
    whatever `at_most`, because indicators look back.
    """
    known = set(registered)
    if unknown := [instrument for instrument in todo if instrument not in known]:
        raise ValueError(f"only registered instruments can be run, was {' '.join(unknown)}")
    spans: dict[tuple[dt.date, dt.date, str], list[str]] = {}
    for instrument, dates in todo.items():
        for first, last in blocks(dates, after):
            spans.setdefault((first, last, instrument.partition(":")[0]), []).append(instrument)
    ranges = []
    for (first, last, _), instruments in sorted(spans.items()):
        width = max(1, at_most // _count(first, last, after))
        for group in neighbours(instruments, registered):
            ranges += [Range(group[n : n + width], first, last) for n in range(0, len(group), width)]
    return ranges


def _count(first: dt.date, last: dt.date, after: Callable[[dt.date], dt.date]) -> int:
    count = 1
    while first < last:
        first, count = after(first), count + 1
    return count


@dataclass(frozen=True, slots=True)
class Launch:
    """One run: `assets` of `universe` over `partitions`, with the run's config; `dates` counts the range's dates."""

    universe: str
    assets: tuple[str, ...]
    partitions: Range
    dates: int
    config: Mapping[str, object] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        universe: str,
        assets: Sequence[str],
        partitions: Range,
        after: Callable[[dt.date], dt.date] = next_day,
        config: Mapping[str, object] | None = None,
    ) -> Self:
        """The launch of `partitions`, whose dates follow each other by `after`."""
        count = _count(partitions.first, partitions.last, after)
        return cls(universe, tuple(assets), partitions, count, config or {})

    @property
    def size(self) -> int:
        """Partitions that the run makes, over all its assets."""
        return len(self.assets) * len(self.partitions.instruments) * self.dates


def summary(instrument: str, states: States, chain: Chain, dates: Sequence[dt.date]) -> Summary:
    """What `instrument` has of `dates`, with what failed or waits in any asset of the chain."""
    counts: Counter[Status] = Counter()
    problems: list[Problem] = []
    for date in dates:
        troubled = [
            Problem(name, instrument, date, state.status, state.reason or "breaks an expectation of severity error")
            for name in chain.assets
            if (state := states.get((name, date))) is not None and state.status in ("failed", "pending")
        ]
        failed = [problem for problem in troubled if problem.status == "failed"]
        problems += failed or troubled[:1]
        worst = [_status(states, name, date) for name in chain.targets] + ["failed"] * bool(failed)
        counts[min(worst, key=_WORST_FIRST.index)] += 1
    counted = [states[chain.targets[0], date] for date in dates if (chain.targets[0], date) in states]
    times = [time for state in counted for time in (state.first_time, state.last_time) if time is not None]
    return Summary(
        instrument,
        len(dates),
        sum(state.rows for state in counted),
        {status: counts[status] for status in get_args(Status)},
        min(times, default=None),
        max(times, default=None),
        tuple(problems),
    )
