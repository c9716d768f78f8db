"""Trades of one instrument in, its bars out as they close: 1s and 1m from trades, 5m to 1d by cascade.

    bars = LiveBars("binance:BTC-USDT", complete_since_ns=subscribed_ns)
    for trade in batch:
        bars.add(trade)  # False: too late for any bar that is still remembered
    publish(bars.closed())  # what closed since the last call, and revisions
    publish(bars.running())  # bars that changed and are not closed

A bar closes when the clock passes its end by `lateness_ns`. The clock is the latest `ts_event`, or what `advance` is
told. Until then trades may come in any order and split; a trade after it makes a revision of its bars. What is closed
depends on trades and clock alone, not on when anybody asks. A period without trades has no bar; one that gets its
first trade after it should have closed begins at revision 1, as revision 0 was that there is none.

Closed means complete: a bar that overlaps a hole (before `complete_since_ns`, or told by `gap`) stays provisional,
`is_closed` False, and `incomplete` names it, until `repair` brings its minutes from history. No duplicates are looked
for here, and no trade is judged: one from the future would close everything before it.
"""

from collections.abc import Iterable
from heapq import heappop, heappush

from md_platform.domain.events import Bar, Trade
from md_platform.domain.holes import Holes
from md_platform.domain.intervals import Timeframe
from md_platform.domain.live_cascade import CASCADE, LENGTHS_NS, SECOND_NS, Cascade
from md_platform.domain.live_parts import Traded, bar_of, part_of, same_content, values_of
from md_platform.errors import InvalidRange

MINUTE_NS = 60 * SECOND_NS
DAY_NS = 1_440 * MINUTE_NS
LATENESS_NS = 2 * SECOND_NS
"""How long after a bar's end its trades may still come without a revision."""
LIVE_TIMEFRAMES = (Timeframe.S1, *CASCADE)

_SECOND, _MINUTE = -1, 0  # levels; those from 1 on are the cascade's
_NAMES = {_SECOND: Timeframe.S1.value, _MINUTE: Timeframe.M1.value}


class LiveBars:
    """Bars of one instrument. `remember_*_ns`: how long after its time a trade can still revise a bar."""

    def __init__(
        self,
        instrument: str,
        *,
        complete_since_ns: int,
        lateness_ns: int = LATENESS_NS,
        remember_seconds_ns: int = 15 * MINUTE_NS,
        remember_minutes_ns: int = DAY_NS,
        source: str = "trades",
    ) -> None:
        self.instrument = instrument
        self.source = source
        self.too_late_for_seconds = 0
        """Trades taken into their minute whose second is no longer remembered."""
        self._complete_since = complete_since_ns
        self._lateness = lateness_ns
        self._remember_seconds = max(remember_seconds_ns, lateness_ns)
        self._remember_minutes = max(remember_minutes_ns, lateness_ns)
        self._clock = 0
        self._due: list[tuple[int, int, int]] = []  # (when, level, open time) of what is to be closed
        self._seconds: dict[int, Traded] = {}
        self._open_seconds: dict[int, Traded] = {}
        self._minutes: dict[int, Traded] = {}
        self._cascade = Cascade(instrument)
        self._holes_of_seconds, self._holes = Holes(complete_since_ns), Holes(complete_since_ns)
        self._changed_seconds: set[int] = set()
        self._changed_minutes: set[int] = set()
        self._out: list[Bar] = []
        # Trades of [_from, _until) only queue up: they are of one second, and nothing falls due among them.
        self._from = self._until = 0
        self._queue = list[Trade]().append

    def add(self, trade: Trade) -> bool:
        """Take a trade; False where it is too late for any bar, which is for the caller to count and report."""
        if self._from <= trade.ts_event < self._until:
            self._queue(trade)
            return True
        return self._add(trade)

    def add_all(self, trades: Iterable[Trade]) -> list[Trade]:
        """Take several trades; those that are too late come back."""
        return [trade for trade in trades if not self.add(trade)]

    def advance(self, now_ns: int) -> None:
        """Say that the venue's clock is at `now_ns` and that its trades until then are here, so that bars close."""
        if now_ns > self._clock:
            self._clock = now_ns
            self._close_due()

    def closed(self) -> list[Bar]:
        """Bars closed and revised since the last call, in that order, members before what holds them."""
        bars, self._out = self._out, []
        return bars

    def running(self) -> list[Bar]:
        """Bars that changed since the last call and are not closed, as they are now, shortest first."""
        for second in self._open_seconds.values():
            self._fold(second)
        bars = []
        for level, changed in ((_SECOND, self._changed_seconds), (_MINUTE, self._changed_minutes)):
            for open_time in sorted(changed):
                traded = self._of(level).get(open_time)
                if traded is not None and traded.closed is None:
                    bar = self._bar(level, traded, is_closed=False)
                    bars.append(bar)
                    if level == _MINUTE:
                        self._cascade.put(bar)
        bars += self._cascade.running(self._changed_minutes)
        self._changed_seconds.clear()
        self._changed_minutes.clear()
        return bars

    def gap(self, start_ns: int, end_ns: int) -> None:
        """Say that trades of `[start_ns, end_ns)` may be missing. Bars of then already reported are not taken back."""
        self._holes_of_seconds.add(start_ns, end_ns)
        self._holes.add(start_ns, end_ns)

    def incomplete(self, timeframe: Timeframe) -> list[int]:
        """Open times, up to now, of the periods that overlap a hole: with a bar or without, none is known whole."""
        if timeframe is Timeframe.S1:
            return self._holes_of_seconds.periods(SECOND_NS, self._clock + 1)
        return self._holes.periods(LENGTHS_NS[CASCADE.index(timeframe)], self._clock + 1)

    def resume(self, bars: Iterable[Bar], trades: Iterable[Trade], start_ns: int, end_ns: int) -> None:
        """First of all after a restart: what was stored and taken before it.

        `bars` are the closed 1m bars of `[start_ns, end_ns)`, all there are; `trades` those since `complete_since_ns`
        that had come, in any order. The bars count as reported, as do the longer ones that end by `end_ns`. Those that
        the trades cover are built anew and reported where they differ; older ones cannot be revised. What lies between
        `end_ns` and `complete_since_ns` is a hole. 1s bars may be given, too; those that are not are reported again.
        """
        _check_grid(start_ns, end_ns)
        if self._clock:
            raise InvalidRange(f"resume comes before all else, and the clock is at {self._clock}: use repair")
        self._holes.fill(start_ns, end_ns)
        clock = 0
        for bar in bars:
            level = _SECOND if bar.timeframe == _NAMES[_SECOND] else _MINUTE
            traded = self._begin(level, bar.open_time)
            traded.closed = bar
            traded.is_sealed = bar.open_time < self._complete_since
            if level == _MINUTE:
                self._cascade.put(bar)
            clock = max(clock, bar.close_time + self._lateness)
        for trade in trades:
            minute, open_time = self._minute_of(trade.ts_event), trade.ts_event - trade.ts_event % SECOND_NS
            if not minute.is_sealed:
                second = self._seconds.get(open_time) or self._begin(_SECOND, open_time)
                self._open_seconds[open_time] = second
                second.pending.append(trade)
                clock = max(clock, trade.ts_event)
        reported_until = min(end_ns, clock - self._lateness)
        for level in range(1, len(CASCADE)):
            for open_time in self._cascade.opened(level, start_ns, reported_until):
                if open_time + LENGTHS_NS[level] <= reported_until and self._is_complete(level, open_time):
                    self._cascade.close(level, open_time)
        self.advance(clock)

    def repair(self, bars: Iterable[Bar], start_ns: int, end_ns: int) -> None:
        """The closed 1m bars of `[start_ns, end_ns)` from history, all there are: they take the place of ours.

        Reported is what they complete: minutes, and longer bars that should have closed. A bar reported before with
        other content gets its next revision. Trades of these minutes that come later are too late.
        """
        _check_grid(start_ns, end_ns)
        if end_ns + self._lateness > self._clock:
            raise InvalidRange(f"repair takes what has ended by {self._clock - self._lateness}, was up to {end_ns}")
        self._holes.fill(start_ns, end_ns)
        for bar in bars:
            minute = self._minute_of(bar.open_time)
            minute.is_sealed = True
            before = minute.closed
            if before is None or not same_content(values_of(before), values_of(bar)):
                # A longer bar that was reported without this minute grows by one revision, too.
                least = before.revision + 1 if before is not None else self._cascade.has_closed(1, bar.open_time)
                key = (self.instrument, _NAMES[_MINUTE], bar.open_time, bar.open_time + MINUTE_NS)
                revision = max(bar.revision, int(least))
                self._put_out(minute, bar_of(key, values_of(bar), is_closed=True, source=bar.source, revision=revision))
        for minute in self._minutes.values():
            if start_ns <= minute.open_time < end_ns and minute.closed is None:
                self._report(_MINUTE, minute)
        self._close_longer(start_ns, end_ns)
        self._from = self._until = 0

    def filled(self, start_ns: int, end_ns: int) -> None:
        """Say that the trades of the hole `[start_ns, end_ns)` have come, by `add`: what it kept open is reported."""
        for holes in (self._holes_of_seconds, self._holes):
            holes.fill(start_ns, end_ns)
        for level, length in ((_SECOND, SECOND_NS), (_MINUTE, MINUTE_NS)):
            for traded in list(self._of(level).values()):
                overlaps = traded.open_time < end_ns and start_ns < traded.open_time + length
                if overlaps and traded.closed is None and traded.parts and self._is_due(level, traded.open_time):
                    self._report(level, traded)
        self._close_longer(start_ns, end_ns)
        self._from = self._until = 0

    def _add(self, trade: Trade) -> bool:
        ts = trade.ts_event
        if ts > self._clock:
            self._clock = ts
            self._close_due()
        if ts < self._clock - self._remember_minutes or self._minute_of(ts).is_sealed:
            return False
        open_time = ts - ts % SECOND_NS
        second = self._open_seconds.get(open_time)
        if second is None:
            if self._is_due(_SECOND, open_time):
                self._add_late(trade)
                return True
            second = self._seconds.get(open_time) or self._begin(_SECOND, open_time)
            self._open_seconds[open_time] = second
        self._queue = second.pending.append
        self._queue(trade)
        # Bars fall due at whole seconds + lateness: the window ends where the next of these or the second does.
        next_due = ts + SECOND_NS - (ts - self._lateness) % SECOND_NS
        self._from, self._until = max(open_time, next_due - SECOND_NS), min(open_time + SECOND_NS, next_due)
        return True

    def _add_late(self, trade: Trade) -> None:
        """A trade whose second should have closed: a revision, or a first bar that comes late."""
        ts, part = trade.ts_event, part_of([trade])
        start = ts - ts % SECOND_NS
        second = self._seconds.get(start)
        if ts < self._clock - self._remember_seconds or (second is not None and second.is_sealed):
            self.too_late_for_seconds += 1
        else:
            second = second or self._begin(_SECOND, start)
            second.parts.append(part)
            self._report(_SECOND, second, is_late=True)
        minute = self._minute_of(ts)
        minute.parts.append(part)
        self._changed_minutes.add(minute.open_time)
        if self._is_due(_MINUTE, minute.open_time):
            self._report(_MINUTE, minute, is_late=True)
            self._close_longer(ts, ts + 1)

    def _minute_of(self, ts: int) -> Traded:
        open_time = ts - ts % MINUTE_NS
        return self._minutes.get(open_time) or self._begin(_MINUTE, open_time)

    def _begin(self, level: int, open_time: int) -> Traded:
        traded = self._of(level)[open_time] = Traded(open_time)
        self._await(level, open_time)
        if level == _MINUTE:
            for longer, opened in self._cascade.begin(open_time):
                self._await(longer, opened)
        return traded

    def _await(self, level: int, open_time: int) -> None:
        if not self._is_due(level, open_time):
            heappush(self._due, (open_time + _length(level) + self._lateness, level, open_time))

    def _close_due(self) -> None:
        due = self._due
        if not due or due[0][0] > self._clock:
            return
        self._from = self._until = 0
        minutes_closed = 0
        while due and due[0][0] <= self._clock:
            _, level, open_time = heappop(due)
            if level > _MINUTE:
                self._close_longer(open_time, open_time + 1, level)
                continue
            traded = self._of(level)[open_time]
            if level == _SECOND:
                self._open_seconds.pop(open_time, None)
                self._fold(traded)
            else:
                minutes_closed += 1
            if traded.parts:
                self._report(level, traded)
            else:
                traded.is_sealed = True  # stored, and its trades were not fed again
        if minutes_closed:
            self._forget()

    def _fold(self, second: Traded) -> None:
        if second.pending:
            part = part_of(second.pending)
            second.pending.clear()
            second.parts.append(part)
            minute = second.open_time - second.open_time % MINUTE_NS
            self._minutes[minute].parts.append(part)
            self._changed_seconds.add(second.open_time)
            self._changed_minutes.add(minute)

    def _report(self, level: int, traded: Traded, *, is_late: bool = False) -> None:
        """Put out a second or minute whose time has come, if it is whole and not what was put out before."""
        if not self._is_complete(level, traded.open_time):
            return
        bar = self._bar(level, traded, is_closed=True)
        before = traded.closed
        if before is None:
            bar.revision = int(is_late)
        elif same_content(values_of(before), values_of(bar)):
            return
        else:
            bar.revision = before.revision + 1
        self._put_out(traded, bar)

    def _put_out(self, traded: Traded, bar: Bar) -> None:
        traded.closed = bar
        self._out.append(bar)
        if bar.timeframe == _NAMES[_MINUTE]:
            self._cascade.put(bar)

    def _close_longer(self, start_ns: int, end_ns: int, *levels: int) -> None:
        """Close, or close anew, the longer bars that overlap `[start_ns, end_ns)`, are whole and should have closed."""
        for level in levels or range(1, len(CASCADE)):
            for open_time in self._cascade.opened(level, start_ns, end_ns):
                if self._is_due(level, open_time) and self._is_complete(level, open_time):
                    bar = self._cascade.close(level, open_time)
                    if bar is not None:
                        self._out.append(bar)

    def _forget(self) -> None:
        before = self._clock - self._remember_seconds
        while self._seconds and (first := next(iter(self._seconds))) + SECOND_NS <= before:
            del self._seconds[first]
        self._holes_of_seconds.forget(before)
        before = self._clock - self._remember_minutes
        while self._minutes and (first := next(iter(self._minutes))) + MINUTE_NS <= before:
            del self._minutes[first]
        self._cascade.forget(before)
        self._holes.forget(before - LENGTHS_NS[-1])
        self._changed_seconds &= self._seconds.keys()
        self._changed_minutes &= self._minutes.keys()

    def _of(self, level: int) -> dict[int, Traded]:
        return self._seconds if level == _SECOND else self._minutes

    def _is_due(self, level: int, open_time: int) -> bool:
        return open_time + _length(level) + self._lateness <= self._clock

    def _is_complete(self, level: int, open_time: int) -> bool:
        holes = self._holes_of_seconds if level == _SECOND else self._holes
        return not holes.overlap(open_time, open_time + _length(level))

    def _bar(self, level: int, traded: Traded, *, is_closed: bool) -> Bar:
        key = (self.instrument, _NAMES[level], traded.open_time, traded.open_time + _length(level))
        return bar_of(key, traded.part().values, is_closed=is_closed, source=self.source)


def _length(level: int) -> int:
    return SECOND_NS if level == _SECOND else LENGTHS_NS[level]


def _check_grid(start_ns: int, end_ns: int) -> None:
    if start_ns % MINUTE_NS or end_ns % MINUTE_NS:
        raise InvalidRange(f"start and end must be whole minutes, were {start_ns} and {end_ns}")
