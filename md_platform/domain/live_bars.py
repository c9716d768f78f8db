"""Trades of one instrument in, its bars out as they close: 1s and 1m from trades, 5m to 1M by cascade.

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

from collections.abc import Iterable, Sequence

from md_platform.domain.events import Bar, Trade
from md_platform.domain.intervals import Timeframe
from md_platform.domain.live_cascade import CASCADE, DAY_NS, LEVELS, SECOND_NS, openings
from md_platform.domain.live_parts import bar_of, same_content, values_of
from md_platform.domain.live_periods import MINUTE, MINUTE_NS, NAMES, SECOND, Periods
from md_platform.errors import InvalidRange

LATENESS_NS = 2 * SECOND_NS
"""How long after a bar's end its trades may come without a revision."""

LIVE_TIMEFRAMES = (Timeframe.S1, *CASCADE)


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
        self.too_late_for_seconds = 0
        """Trades that were taken into their minute and came too late for their second."""
        self._complete_since = complete_since_ns
        self._lateness = lateness_ns
        remember = (max(remember_seconds_ns, lateness_ns), max(remember_minutes_ns, lateness_ns))
        self._periods = Periods(instrument, source, complete_since_ns, lateness_ns, remember)
        # Trades of [_from, _until) only queue up: they are of one second, and nothing falls due among them.
        self._from = self._until = 0
        self._queue: list[Trade] = []

    def add(self, trade: Trade) -> bool:
        """Take a trade; False where it is too late for any bar, which is for the caller to count and report."""
        if self._from <= trade.ts_event < self._until:
            self._queue.append(trade)
            return True
        return self._add(trade)

    def add_all(self, trades: Sequence[Trade]) -> list[Trade]:
        """Take several trades; those that are too late come back."""
        times = [trade.ts_event for trade in trades]
        if times and self._from <= min(times) and max(times) < self._until:
            self._queue += trades
            return []
        return [trade for trade in trades if not self.add(trade)]

    def advance(self, now_ns: int) -> None:
        """Say that the venue's clock is at `now_ns` and that its trades until then are here, so that bars close."""
        if self._periods.advance(now_ns):
            self._from = self._until = 0
        self._periods.fold()

    def closed(self) -> list[Bar]:
        """Bars closed and revised since the last call, in that order, members before what holds them."""
        bars, self._periods.out = self._periods.out, []
        return bars

    def running(self) -> list[Bar]:
        """Bars that changed since the last call and are not closed, as they are now, shortest first."""
        return self._periods.running()

    def gap(self, start_ns: int, end_ns: int, *, seconds_end_ns: int | None = None) -> None:
        """Say that trades of `[start_ns, end_ns)` may be missing. Bars of then already reported are not taken back.

        Where whole minutes are named, as they are what can be repaired, the seconds from `seconds_end_ns` on are whole.
        """
        self._periods.holes_of_seconds.add(start_ns, end_ns if seconds_end_ns is None else seconds_end_ns)
        self._periods.holes.add(start_ns, end_ns)

    def incomplete(self, timeframe: Timeframe) -> list[int]:
        """Open times, up to now, of the periods that overlap a hole: with a bar or without, none is known whole."""
        periods, until = self._periods, self._periods.clock + 1
        if timeframe is Timeframe.S1:
            holes = periods.holes_of_seconds.until(until)
            return sorted({at for start, end in holes for at in range(start - start % SECOND_NS, end, SECOND_NS)})
        level = LEVELS[timeframe.value]
        opened = {at for start, end in periods.holes.until(until) for at in openings(level, start, end)}
        return sorted(at for at in opened if not periods.is_complete(level, at))

    def resume(
        self,
        bars: Iterable[Bar],
        trades: Iterable[Trade],
        start_ns: int,
        end_ns: int,
        unknown: Iterable[tuple[int, int]] = (),
    ) -> list[Bar]:
        """First of all after a restart: what was stored and taken before it.

        `bars` are the closed 1m bars of `[start_ns, end_ns)`, all there are but in the holes `unknown`; `trades` those
        since `complete_since_ns` that had come, in any order. The bars count as reported, as do the longer ones that
        end by `end_ns`. Those that the trades cover are built anew and reported where they differ; older ones cannot be
        revised. What lies between `end_ns` and `complete_since_ns` is a hole. 1s bars may be given, too; those that are
        not are reported again.
        Also 1d bars of days before `start_ns`: with all of its days a week or month is whole.

        Returns the bars of since `start_ns` that count as reported, shorter before longer: `bars` and what they make.
        """
        _check_grid(start_ns, end_ns)
        periods, clock = self._periods, 0
        reported: list[Bar] = []
        if periods.clock:
            raise InvalidRange(f"resume comes before all else, and the clock is at {periods.clock}: use repair")
        if start_ns < end_ns:
            periods.holes.fill(start_ns, end_ns)
        for hole in unknown:
            self.gap(*hole)
        for bar in bars:
            if bar.timeframe == Timeframe.D1:
                periods.put_day(bar)
                continue
            reported.append(bar)
            level = SECOND if bar.timeframe == NAMES[SECOND] else MINUTE
            traded = periods.begin(level, bar.open_time)
            traded.closed = bar
            traded.is_sealed = bar.open_time < self._complete_since
            if level == MINUTE:
                periods.cascade.put(bar)
            clock = max(clock, bar.close_time + self._lateness)
        for trade in trades:
            clock = max(clock, trade.ts_event)
            is_sealed = periods.minute_of(trade.ts_event).is_sealed
            if not is_sealed and (second := periods.open_second_of(trade.ts_event)) is not None:
                second.pending.append(trade)
        reported_until = min(end_ns, clock - self._lateness)
        reported += periods.closed_by(start_ns, reported_until)
        periods.advance(clock)
        return reported

    def repair(self, bars: Iterable[Bar], start_ns: int, end_ns: int) -> None:
        """The closed 1m bars of `[start_ns, end_ns)` from history, all there are: they take the place of ours.

        Reported is what they complete: minutes, and longer bars that should have closed. A bar reported before with
        other content gets its next revision. Trades of these minutes that come later are too late.
        """
        _check_grid(start_ns, end_ns)
        periods = self._periods
        if end_ns + self._lateness > periods.clock:
            raise InvalidRange(f"repair takes what has ended by {periods.clock - self._lateness}, was up to {end_ns}")
        periods.holes.fill(start_ns, end_ns)
        for bar in bars:
            minute = periods.minute_of(bar.open_time)
            minute.is_sealed = True
            before = minute.closed
            if before is None or not same_content(values_of(before), values_of(bar)):
                # A longer bar that was reported without this minute grows by one revision, too.
                least = before.revision + 1 if before is not None else periods.cascade.is_held(bar.open_time)
                key = (self.instrument, NAMES[MINUTE], bar.open_time, bar.open_time + MINUTE_NS)
                revision = max(bar.revision, int(least))
                periods.put_out(
                    minute, bar_of(key, values_of(bar), is_closed=True, source=bar.source, revision=revision)
                )
        for minute in periods.minutes(start_ns, end_ns):
            if minute.closed is None:
                periods.report(MINUTE, minute, is_late=periods.cascade.is_held(minute.open_time))
        periods.close_longer(start_ns, end_ns)

    def filled(self, start_ns: int, end_ns: int) -> None:
        """Say that the trades of the hole `[start_ns, end_ns)` have come, by `add`: what it kept open is reported."""
        self._periods.filled(start_ns, end_ns)
        self._from = self._until = 0

    def is_whole(self, bar: Bar) -> bool:
        """Whether no trade of the time of `bar`, as far as that has come, may be missing."""
        return self._periods.is_whole(bar)

    def is_known(self, start_ns: int, end_ns: int) -> bool:
        """Whether no trade of `[start_ns, end_ns)` may be missing."""
        return not self._periods.holes.overlap(start_ns, end_ns)

    def _add(self, trade: Trade) -> bool:
        ts, periods = trade.ts_event, self._periods
        if periods.advance(ts):
            self._from = self._until = 0
        if periods.is_forgotten(ts) or periods.minute_of(ts).is_sealed:
            return False
        second = periods.open_second_of(ts)
        if second is None:
            self.too_late_for_seconds += not periods.add_late(trade)
            return True
        self._queue = second.pending
        self._queue.append(trade)
        # Bars fall due at whole seconds + lateness: the window ends where the next of these or the second does.
        next_due = ts + SECOND_NS - (ts - self._lateness) % SECOND_NS
        self._from = max(second.open_time, next_due - SECOND_NS)
        self._until = min(second.open_time + SECOND_NS, next_due)
        return True


def _check_grid(start_ns: int, end_ns: int) -> None:
    if start_ns % MINUTE_NS or end_ns % MINUTE_NS:
        raise InvalidRange(f"start and end must be whole minutes, were {start_ns} and {end_ns}")
