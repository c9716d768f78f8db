"""Closed bars of one instrument and timeframe in, their indicator values out, one bar at a time: those of compute_day.

    live = LiveIndicators(STANDARD_SET, window)  # the bars so far: `history_days` before today, and today's
    values = live.update(bar)  # the next closed bar: {"sma_20": 101.5, ...}
    values = live.peek(bar)  # what update would return for the bar as it is now; nothing changes
    by_open_time = live.revise(bar)  # a closed bar again, or one that was missing

Values are equal to batch bit for bit, because each indicator's own function makes both (see `lines`), and the live one
starts each UTC day from the same bars before midnight as compute_day does.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import talib

from md_platform.domain.events import Bar
from md_platform.domain.indicators.evaluation import DAY_US, compute_day, memory_days, rows_of_day, since_seed
from md_platform.domain.indicators.lines import Next, opened
from md_platform.domain.indicators.ohlcv import Ohlcv
from md_platform.domain.indicators.registry import IndicatorSpec
from md_platform.errors import InvalidRange

_COLUMNS = ("open_time", "open", "high", "low", "close", "volume")
_SPARE = 256  # rows


@dataclass(slots=True)
class _Live:
    """An indicator from a day's start on: `update` goes on to the next bar, `peek` looks ahead.

    `rows` as in `since_seed`. `is_opened`: by its formula, in constant time; else it is computed anew for each bar,
    which the history then holds already.
    """

    spec: IndicatorSpec
    start: int
    rows: int
    update: Next
    peek: Next
    is_opened: bool = False
    can_open: bool = True


class LiveIndicators:
    """`specs` over the bars of one instrument and timeframe.

    `window`: `memory_days` before today (one more to revise yesterday's values), and today's bars so far. It may be
    short or empty, as batch's may: what then warms up is NaN. Bars of that time are kept, 48 bytes each.
    """

    def __init__(self, specs: Sequence[IndicatorSpec], window: Ohlcv) -> None:
        self.columns = [name for spec in specs for name in spec.columns]
        self._specs = tuple(specs)
        self._history = _History(window)
        self._memory_days = memory_days(specs, window.timeframe, window.periods_per_year)
        self._day = _midnight(self._history.last)
        self._live = self._seeded(self._day)
        self._tomorrow: tuple[int, list[_Live]] | None = None

    @property
    def last_open_time_ns(self) -> int:
        """Open time of the latest bar: later bars are for `update`, others for `revise`. Below 0: none yet."""
        return self._history.last * 1_000

    @property
    def recomputed(self) -> list[IndicatorSpec]:
        """Those that are computed anew for each bar: for want of bars so far, or not in the words of `lines`."""
        return [live.spec for live in self._live if not live.is_opened]

    def update(self, bar: Bar) -> dict[str, float]:
        """Values of the next closed bar, by column; NaN while an indicator warms up."""
        if bar.open_time <= self.last_open_time_ns:
            raise InvalidRange(f"update takes bars after {self.last_open_time_ns}, was {bar.open_time}: use revise")
        self.start_day(bar.open_time)
        self._tomorrow = None
        self._history.append(bar)
        values: list[float] = []
        for live in self._live:
            values += live.update(bar)
            if not live.is_opened:
                self._open(live)
        return dict(zip(self.columns, values, strict=True))

    def peek(self, bar: Bar) -> dict[str, float]:
        """Values of a running bar, as if it closed as it is and came next."""
        lives, day = self._live, _midnight(bar.open_time // 1_000)
        if day != self._day:
            if self._tomorrow is None or self._tomorrow[0] != day:
                self._tomorrow = (day, self._seeded(day))
            lives = self._tomorrow[1]
        values: list[float] = []
        self._history.append(bar)
        for live in lives:
            values += live.peek(bar)
        self._history.drop_last()
        return dict(zip(self.columns, values, strict=True))

    def revise(self, bar: Bar) -> dict[int, dict[str, float]]:
        """A bar that is not the next one takes its place: open time (ns) → values, of it and all bars since.

        Values of days before yesterday are left to batch: what they were made from is not kept.
        """
        changed = bar.open_time // 1_000
        self._history.put(bar)
        self._live, self._tomorrow = self._seeded(self._day), None
        revised: dict[int, dict[str, float]] = {}
        for day in range(max(_midnight(changed), self._day - DAY_US), self._day + 1, DAY_US):
            window = self._history.bars()
            values = compute_day(self._specs, window, day)
            times = window.open_time[slice(*np.searchsorted(window.open_time, (day, day + DAY_US)))]
            for row in np.flatnonzero(times >= changed):
                at = {name: float(column[row]) for name, column in values.items()}
                revised[int(times[row]) * 1_000] = at
        return revised

    def start_day(self, now_ns: int) -> None:
        """Start the UTC day that holds `now_ns` from the bars before it. `update` does so with the day's first bar.

        It costs as much as hundreds of updates: a caller with many instruments spreads it over the first minute, once
        the last bar before midnight has come.
        """
        day = _midnight(now_ns // 1_000)
        if day > self._day:
            self._history.forget(day - (self._memory_days + 1) * DAY_US)
            self._day, self._live = day, self._seeded(day)

    def _seeded(self, day: int) -> list[_Live]:
        window = self._history.bars()
        lives = []
        for spec, (start, seed) in zip(self._specs, rows_of_day(self._specs, window, day), strict=True):
            anew = _Anew(spec, self._history, start, seed - start)
            live = _Live(spec, start, seed - start, anew, anew)
            self._open(live)
            lives.append(live)
        return lives

    def _open(self, live: _Live) -> None:
        if live.can_open and len(bars := self._history.bars(live.start)) > live.spec.lookback:
            try:
                live.update, live.peek = opened(live.spec.indicator.function, live.spec.parameters, bars, live.rows)
                live.is_opened = True
            except talib.InsufficientHistory:
                pass
            except TypeError:
                live.can_open = False


@dataclass(frozen=True, slots=True)
class _Anew:
    """Values of the last bar of the history, by batch's own function."""

    spec: IndicatorSpec
    history: "_History"
    start: int
    rows: int

    def __call__(self, _: object) -> tuple[float, ...]:
        values = since_seed(self.spec.evaluate(self.history.bars(self.start)), self.rows)
        return tuple([float(value[-1]) for value in values])


class _History:
    """Bars as columns that grow. `last` is the latest open time in us."""

    def __init__(self, window: Ohlcv) -> None:
        self._window = window
        self._columns = [getattr(window, name) for name in _COLUMNS]
        self._rows = len(window)
        self.last = int(window.open_time[-1]) if self._rows else -1
        self._keep(0)

    def bars(self, start: int = 0) -> Ohlcv:
        """Rows from `start` on, as views that hold until the next change."""
        columns = (column[start : self._rows] for column in self._columns)
        return replace(self._window, **dict(zip(_COLUMNS, columns, strict=True)))

    def append(self, bar: Bar) -> None:
        """One more bar, later than all."""
        if self._rows == len(self._columns[0]):
            self._keep(0)
        self._write(self._rows, bar)
        self._rows += 1
        self.last = bar.open_time // 1_000

    def drop_last(self) -> None:
        """Take back the latest bar."""
        self._rows -= 1
        self.last = int(self._columns[0][self._rows - 1]) if self._rows else -1

    def put(self, bar: Bar) -> None:
        """A bar in its place among the others, in place of the one that opened with it."""
        row = int(np.searchsorted(self._columns[0][: self._rows], bar.open_time // 1_000))
        if row == self._rows or self._columns[0][row] != bar.open_time // 1_000:
            self.append(bar)
            for column in self._columns:
                column[row + 1 : self._rows] = column[row : self._rows - 1].copy()
            self.last = int(self._columns[0][self._rows - 1])
        self._write(row, bar)

    def forget(self, before_us: int) -> None:
        """Drop the bars that open before."""
        self._keep(int(np.searchsorted(self._columns[0][: self._rows], before_us)))

    def _write(self, row: int, bar: Bar) -> None:
        open_time, open_, high, low, close, volume = self._columns
        open_time[row] = bar.open_time // 1_000
        open_[row], high[row], low[row], close[row] = bar.open, bar.high, bar.low, bar.close
        volume[row] = bar.volume

    def _keep(self, first: int) -> None:
        """The rows from `first` on, and room for as many again."""
        kept = [column[first : self._rows] for column in self._columns]
        self._rows -= first
        spare = self._rows + _SPARE
        self._columns = [np.concatenate((column, np.empty(spare, column.dtype))) for column in kept]


def _midnight(us: int) -> int:
    return us - us % DAY_US
