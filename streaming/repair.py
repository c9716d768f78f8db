"""Holes in: the trades that history has of them out, asked from the venue until they fill the hole.

A hole that history does not fill stays in `venue_events` as a gap without a repair; the batch chain settles that day.
"""

import asyncio
import datetime as dt
from collections.abc import Callable, Sequence

import polars as pl
import structlog

from md_platform.domain.events import Trade
from md_platform.domain.instruments import Instrument
from md_platform.domain.intervals import UTC, Interval
from md_platform.errors import SourceError, UserError
from md_platform.sources.history import HistorySources
from streaming.pipeline import Hole

log = structlog.get_logger(__name__)

_WAITS_S = (0.5, 2.0, 5.0, 15.0, 60.0)
_MARGIN_NS = 1_000_000_000
_LONGEST_NS = 24 * 3_600 * 1_000_000_000
_QUEUE = 10_000
_WORKERS = 4


class Repair:
    """Fills holes in the background. Overflow policy: beyond the queue a hole is left open, and said so."""

    def __init__(self, sources: HistorySources, give: Callable[[Hole, Sequence[Trade]], None]) -> None:
        self._sources = sources
        self._give = give
        self._queue: asyncio.Queue[Hole] = asyncio.Queue(_QUEUE)
        self.left_open = 0

    def put(self, hole: Hole) -> None:
        """Queue a hole."""
        if hole.end_ns - hole.start_ns > _LONGEST_NS or self._queue.full():
            self._leave(hole, "too long for the live process" if not self._queue.full() else "too many holes")
        else:
            self._queue.put_nowait(hole)

    async def run(self) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as group:
            for _ in range(_WORKERS):
                group.create_task(self._work())

    async def _work(self) -> None:
        while True:
            hole = await self._queue.get()
            reason = "history does not have all of it"
            for wait_s in _WAITS_S:
                await asyncio.sleep(wait_s)
                try:
                    trades = await asyncio.to_thread(self._fetch, hole)
                except (SourceError, UserError) as error:
                    reason = str(error)
                    if not error.retryable:
                        break
                    continue
                if _fills(trades, hole):
                    self._give(hole, trades)
                    break
            else:
                self._leave(hole, reason)

    def _leave(self, hole: Hole, reason: str) -> None:
        self.left_open += 1
        log.warning("hole left open", instrument=hole.instrument.id, reason=reason)

    def _fetch(self, hole: Hole) -> list[Trade]:
        interval = Interval(_instant(hole.start_ns - _MARGIN_NS), _instant(hole.end_ns + _MARGIN_NS))
        return trades_of(self._sources.trades(hole.instrument, interval).frame, hole.instrument)


def trades_of(frame: pl.DataFrame, instrument: Instrument) -> list[Trade]:
    """Trades of a RAW_TRADES frame as events, in order of time."""
    columns = frame.sort("ts_event").select(
        pl.col("ts_event", "ts_received").dt.epoch("ns"), "trade_id", "price", "size", "taker_side", "trade_count"
    )
    return [
        Trade(instrument.id, at, received, int(id_) if id_.isdigit() else id_, price, size, side, count, sent_late=True)
        for at, received, id_, price, size, side, count in columns.iter_rows()
    ]


def _fills(trades: Sequence[Trade], hole: Hole) -> bool:
    """Whether `trades` are all that there is to know of the hole: its ids, or else something that came after it."""
    first, last = hole.notice.first_missing, hole.notice.last_missing
    if first is not None and last is not None and "trades" in hole.notice.channels and hole.notice.instruments:
        ids = {trade.trade_id for trade in trades}
        return ids.issuperset(range(first, last + 1))
    return any(trade.ts_event >= hole.end_ns for trade in trades) or _is_long_ago(hole)


def _is_long_ago(hole: Hole) -> bool:
    return dt.datetime.now(UTC) - _instant(hole.end_ns) > dt.timedelta(seconds=20)


def _instant(ns: int) -> dt.datetime:
    return dt.datetime.fromtimestamp(ns // 1_000 / 1e6, UTC)
