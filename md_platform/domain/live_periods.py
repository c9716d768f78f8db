"""The bars of one instrument that are under way: when they are due, whether they are whole, and what is reported.

What comes in, and when, is for `live_bars` to say; how bars combine, for `live_parts` and `live_cascade`.
"""

from heapq import heappop, heappush

from md_platform.domain.events import Bar, Trade
from md_platform.domain.holes import Holes
from md_platform.domain.intervals import Timeframe
from md_platform.domain.live_cascade import CASCADE, DAILY, DAY_NS, LEVELS, SECOND_NS, Cascade, closing
from md_platform.domain.live_parts import Traded, bar_of, part_of, same_content, values_of

MINUTE_NS = 60 * SECOND_NS
SECOND, MINUTE = -1, 0
"""Levels; those from 1 on are the cascade's."""
_LONGEST_NS = 32 * DAY_NS
NAMES = {SECOND: Timeframe.S1.value, MINUTE: Timeframe.M1.value}


class Periods:
    """Seconds, minutes and longer bars by open time, with the clock that closes them."""

    def __init__(
        self, instrument: str, source: str, since_ns: int, lateness_ns: int, remember_ns: tuple[int, int]
    ) -> None:
        self.clock = 0
        self._seconds: dict[int, Traded] = {}
        self._minutes: dict[int, Traded] = {}
        self._open_seconds: dict[int, Traded] = {}
        self.cascade = Cascade(instrument)
        self.holes_of_seconds, self.holes = Holes(since_ns), Holes(since_ns)
        self._whole_days: set[int] = set()  # those whose bars are known without their minutes
        self.out: list[Bar] = []
        """What was reported and not taken yet."""
        self._instrument = instrument
        self._source = source
        self._lateness = lateness_ns
        self._remember_seconds, self._remember_minutes = remember_ns
        self._due: list[tuple[int, int, int]] = []  # (when, level, open time) of what is to be closed
        self._changed_seconds: set[int] = set()
        self._changed_minutes: set[int] = set()

    def advance(self, now_ns: int) -> bool:
        """Put the clock forward. Whether that made anything due, which is then closed."""
        self.clock = max(self.clock, now_ns)
        due = self._due
        if not due or due[0][0] > self.clock:
            return False
        minutes_due = 0
        while due and due[0][0] <= self.clock:
            _, level, open_time = heappop(due)
            if level > MINUTE:
                self.close_longer(open_time, open_time + 1, level)
                continue
            traded = self._of(level)[open_time]
            if level == SECOND:
                self._open_seconds.pop(open_time, None)
                self._fold(traded)
            else:
                minutes_due += 1
            if traded.parts:
                self.report(level, traded)
            else:
                traded.is_sealed = True  # stored, and its trades were not fed again
        if minutes_due:
            self._forget()
        return True

    def minute_of(self, ts: int) -> Traded:
        """The minute that holds `ts`."""
        open_time = ts - ts % MINUTE_NS
        return self._minutes.get(open_time) or self.begin(MINUTE, open_time)

    def open_second_of(self, ts: int) -> Traded | None:
        """The second that holds `ts`, to queue trades in; None where it should have closed."""
        open_time = ts - ts % SECOND_NS
        second = self._open_seconds.get(open_time)
        if second is None and not self.is_due(SECOND, open_time):
            second = self._seconds.get(open_time) or self.begin(SECOND, open_time)
            self._open_seconds[open_time] = second
        return second

    def begin(self, level: int, open_time: int) -> Traded:
        """A second or minute that was not there, and the longer bars that come with it."""
        traded = self._of(level)[open_time] = Traded(open_time)
        self._await(level, open_time)
        if level == MINUTE:
            for longer, opened in self.cascade.begin(open_time):
                self._await(longer, opened)
        return traded

    def add_late(self, trade: Trade) -> bool:
        """A trade whose second should have closed makes revisions. False where it came too late for its second."""
        ts, part = trade.ts_event, part_of([trade])
        open_time = ts - ts % SECOND_NS
        second = self._seconds.get(open_time)
        is_taken = ts >= self.clock - self._remember_seconds and (second is None or not second.is_sealed)
        if is_taken:
            second = second or self.begin(SECOND, open_time)
            second.parts.append(part)
            self.report(SECOND, second, is_late=True)
        minute = self.minute_of(ts)
        minute.parts.append(part)
        self._changed_minutes.add(minute.open_time)
        if self.is_due(MINUTE, minute.open_time):
            self.report(MINUTE, minute, is_late=True)
            self.close_longer(ts, ts + 1)
        return is_taken

    def running(self) -> list[Bar]:
        """Bars that changed since the last call and are not closed, shortest first."""
        self.fold()
        bars = []
        for level, changed in ((SECOND, self._changed_seconds), (MINUTE, self._changed_minutes)):
            for open_time in sorted(changed):
                traded = self._of(level).get(open_time)
                if traded is not None and traded.closed is None:
                    bar = self._bar(level, traded, is_closed=False)
                    bars.append(bar)
                    if level == MINUTE:
                        self.cascade.put(bar)
        bars += self.cascade.running(self._changed_minutes)
        self._changed_seconds.clear()
        self._changed_minutes.clear()
        return bars

    def report(self, level: int, traded: Traded, *, is_late: bool = False) -> None:
        """Put out a second or minute whose time has come, if it is whole and not what was put out before."""
        if not self.is_complete(level, traded.open_time):
            return
        bar = self._bar(level, traded, is_closed=True)
        before = traded.closed
        if before is None:
            bar.revision = int(is_late)
        elif same_content(values_of(before), values_of(bar)):
            return
        else:
            bar.revision = before.revision + 1
        self.put_out(traded, bar)

    def put_out(self, traded: Traded, bar: Bar) -> None:
        """Report `bar` as what a second or minute is."""
        traded.closed = bar
        self.out.append(bar)
        if bar.timeframe == NAMES[MINUTE]:
            self.cascade.put(bar)

    def close_longer(self, start_ns: int, end_ns: int, *levels: int) -> None:
        """Close, or close anew, the longer bars that overlap `[start_ns, end_ns)`, are whole and should have closed."""
        for level in levels or range(1, len(CASCADE)):
            for open_time in self.cascade.opened(level, start_ns, end_ns):
                if self.is_due(level, open_time) and self.is_complete(level, open_time):
                    bar = self.cascade.close(level, open_time)
                    if bar is not None:
                        self.out.append(bar)

    def closed_by(self, start_ns: int, end_ns: int) -> list[Bar]:
        """Close the whole longer bars that overlap `[start_ns, end_ns)` and end in it, without reporting them."""
        return [
            bar
            for level in range(1, len(CASCADE))
            for open_time in self.cascade.opened(level, start_ns, end_ns)
            if closing(level, open_time) <= end_ns and self.is_complete(level, open_time)
            if (bar := self.cascade.close(level, open_time)) is not None
        ]

    def filled(self, start_ns: int, end_ns: int) -> None:
        """The trades of a hole have come: report what it kept from being whole."""
        self.holes_of_seconds.fill(start_ns, end_ns)
        self.holes.fill(start_ns, end_ns)
        for level in (SECOND, MINUTE):
            for traded in list(self._of(level).values()):
                overlaps = traded.open_time < end_ns and start_ns < _end(level, traded.open_time)
                if overlaps and traded.parts and not traded.is_sealed and self.is_due(level, traded.open_time):
                    is_late = level == MINUTE and self.cascade.is_held(traded.open_time)
                    self.report(level, traded, is_late=is_late)
        self.close_longer(start_ns, end_ns)

    def is_whole(self, bar: Bar) -> bool:
        """Whether no trade of the bar's time, as far as that has come, may be missing."""
        return self.is_complete(LEVELS.get(bar.timeframe, SECOND), bar.open_time)

    def put_day(self, bar: Bar) -> None:
        """A closed 1d bar from before everything else: weeks and months go on from it."""
        self.cascade.put(bar)
        self._whole_days.add(bar.open_time)

    def minutes(self, start_ns: int, end_ns: int) -> list[Traded]:
        """The minutes of `[start_ns, end_ns)`."""
        return [minute for minute in self._minutes.values() if start_ns <= minute.open_time < end_ns]

    def is_due(self, level: int, open_time: int) -> bool:
        """Whether it should have closed."""
        return _end(level, open_time) + self._lateness <= self.clock

    def is_complete(self, level: int, open_time: int) -> bool:
        """Whether no trade of its time may be missing, or its days are known as a whole."""
        end = _end(level, open_time)
        if level <= DAILY:
            return not (self.holes_of_seconds if level == SECOND else self.holes).overlap(open_time, end)
        days = range(open_time, end, DAY_NS)
        return all(day in self._whole_days or not self.holes.overlap(day, day + DAY_NS) for day in days)

    def is_forgotten(self, ts: int) -> bool:
        """Whether a trade of `ts` is too late even for its minute."""
        return ts < self.clock - self._remember_minutes

    def _await(self, level: int, open_time: int) -> None:
        if not self.is_due(level, open_time):
            heappush(self._due, (_end(level, open_time) + self._lateness, level, open_time))

    def fold(self) -> None:
        """Make parts of the trades that wait: soon after they came they are still in the processor's cache."""
        for second in self._open_seconds.values():
            self._fold(second)

    def _fold(self, second: Traded) -> None:
        if second.pending:
            part = part_of(second.pending)
            second.pending.clear()
            second.parts.append(part)
            minute = second.open_time - second.open_time % MINUTE_NS
            self._minutes[minute].parts.append(part)
            self._changed_seconds.add(second.open_time)
            self._changed_minutes.add(minute)

    def _forget(self) -> None:
        before = self.clock - self._remember_seconds
        while self._seconds and (first := next(iter(self._seconds))) + SECOND_NS <= before:
            del self._seconds[first]
        self.holes_of_seconds.forget(before)
        before = self.clock - self._remember_minutes
        while self._minutes and (first := next(iter(self._minutes))) + MINUTE_NS <= before:
            del self._minutes[first]
        self.cascade.forget(before)
        self.holes.forget(before - _LONGEST_NS)
        self._whole_days = {day for day in self._whole_days if day > before - _LONGEST_NS}
        self._changed_seconds &= self._seconds.keys()
        self._changed_minutes &= self._minutes.keys()

    def _of(self, level: int) -> dict[int, Traded]:
        return self._seconds if level == SECOND else self._minutes

    def _bar(self, level: int, traded: Traded, *, is_closed: bool) -> Bar:
        key = (self._instrument, NAMES[level], traded.open_time, _end(level, traded.open_time))
        return bar_of(key, traded.part().values, is_closed=is_closed, source=self._source)


def _end(level: int, open_time: int) -> int:
    return open_time + SECOND_NS if level == SECOND else closing(level, open_time)
