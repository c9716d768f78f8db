"""What was streamed of an instrument in, rows out, each once: those that are stored, and those that soon will be.

The live store is read first, then what was published since its last row: what it lacks was published after that.
"""

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import polars as pl
import redis
import structlog

from md_platform.domain.intervals import Interval, Timeframe
from md_platform.domain.schemas import CLEANED_BARS, CLEANED_TRADES
from md_platform.serving.cache import Cache
from md_platform.serving.pool import Pool, T, once_more
from md_platform.serving.tail import Tail, trade_frame
from md_platform.storage.live_reading import FOREVER, LiveReader

log = structlog.get_logger(__name__)

_OURS = "trades"
"""Source of bars aggregated from trades. They are preferred to the venue's own candles, as in running bars."""


_STORED_FOR_S = 1.0
"""How old what was read of the database may be: what was stored since was published since, too."""


@dataclass(frozen=True, slots=True)
class Found:
    """`rows` in order of time. `is_degraded`: Redis did not answer, so that what is not stored yet is missing."""

    rows: pl.DataFrame
    is_degraded: bool = False


class Streamed(Protocol):
    """What was streamed and is not of the lake yet."""

    def bars(self, instrument: str, timeframe: Timeframe, interval: Interval, as_of: dt.datetime | None) -> Found:
        """Bars that open in `interval` as BAR_COLUMNS, closed and running, as they were known at `as_of`."""

    def rolled(self, instrument: str, timeframe: Timeframe, interval: Interval) -> pl.DataFrame | None:
        """Bars of 1h or 1d that are kept rolled up; None where none are, or those of several sources."""

    def trades(self, instrument: str, interval: Interval) -> Found:
        """Trades of `interval` as TRADE_COLUMNS; those that are stored and told stand twice, the stored ones last."""


class Live:
    """The live store with the tails of Redis, where there is one. For any number of threads."""

    def __init__(self, store: Pool[LiveReader], cache: Cache, tail: Tail | None) -> None:
        self._store = store
        self._cache = cache
        self._is_ahead: bool | None = None
        self._tail = tail

    def bars(self, instrument: str, timeframe: Timeframe, interval: Interval, as_of: dt.datetime | None) -> Found:
        """Bars that open in `interval` as BAR_COLUMNS, closed and running, as they were known at `as_of`."""
        known_by = as_of or FOREVER

        def read() -> pl.DataFrame:
            return self._read(lambda reader: reader.bars(instrument, timeframe, interval, known_by))

        key = f"{instrument} {timeframe} {interval}"
        stored = read() if as_of else self._cache.frame("live", key, _STORED_FOR_S, read)
        try:
            since = interval.start if stored.is_empty() else stored["close_time"][-1]
            told = None if self._tail is None else self._tail.bars(instrument, timeframe, since)
        except redis.RedisError as error:
            return Found(_best(stored), is_degraded=_said(error))
        if told is None:
            return Found(_best(stored))
        known = told.filter(_within("open_time", interval), pl.col("known_at") <= known_by)
        return Found(_best(pl.concat([stored, known])))

    def rolled(self, instrument: str, timeframe: Timeframe, interval: Interval) -> pl.DataFrame | None:
        """Bars of 1h or 1d that the database keeps rolled up; None where it keeps none, or those of several sources."""
        if self._is_ahead is None:
            self._is_ahead = self._read(LiveReader.rolls_up_ahead)
        if not self._is_ahead:
            return None
        found = self._read(lambda reader: reader.rolled_bars(instrument, timeframe, interval))
        return found if found["source"].n_unique() <= 1 else None

    def trades(self, instrument: str, interval: Interval) -> Found:
        """Trades of `interval` as TRADE_COLUMNS; those that are stored and told stand twice, the stored ones last."""
        stored = self._read(lambda reader: reader.trades(instrument, interval))
        stored = stored.select(CLEANED_TRADES.schema.names())
        if self._tail is None:
            return Found(stored)
        since = interval.start if stored.is_empty() else stored["ts_received"][-1]
        source = instrument.partition(":")[0] if stored.is_empty() else stored["source"][-1]
        try:
            told = trade_frame(self._tail.trades(instrument, since), source)
        except redis.RedisError as error:
            return Found(stored, is_degraded=_said(error))
        return Found(pl.concat([told.filter(_within("ts_event", interval)), stored]))

    def _read(self, read: Callable[[LiveReader], T]) -> T:
        def borrowed() -> T:
            with self._store.borrowed() as reader:
                return read(reader)

        return once_more(borrowed)


def _within(time: str, interval: Interval) -> pl.Expr:
    return pl.col(time).is_between(interval.start, interval.end, closed="left")


def _best(bars: pl.DataFrame) -> pl.DataFrame:
    """Of each open time one bar: ours before the venue's, closed before running, the newest revision."""
    if bars.is_empty():
        return pl.DataFrame(schema=CLEANED_BARS.schema)
    ours = pl.col("source").str.starts_with(_OURS)
    descending = [False, True, True, True]
    return bars.sort("open_time", ours, "is_closed", "revision", descending=descending, maintain_order=True).unique(
        "open_time", keep="first", maintain_order=True
    )


def _said(error: redis.RedisError) -> bool:
    log.warning("redis is away: what is not stored yet is missing", reason=str(error))
    return True
