"""Holes in: the trades or bars that history has of them out, asked from the venue until they fill the hole.

A hole that history does not fill stays in `venue_events` as a gap without a repair; the batch chain settles that day.
"""

import asyncio
import datetime as dt
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace

import polars as pl
import structlog

from md_platform.domain.events import Bar, Trade
from md_platform.domain.instruments import Instrument
from md_platform.domain.intervals import UTC, Interval
from md_platform.domain.live_periods import MINUTE_NS
from md_platform.errors import MalformedPayload, SourceError, StorageError, UserError
from md_platform.sources.history import HistorySources
from md_platform.venues import VENUES
from streaming.holes import MARGIN_NS, Hole
from streaming.past import bars_of

log = structlog.get_logger(__name__)

_WAITS_S = (0.5, 2.0, 5.0, 15.0, 60.0)
_PROOF_NS = 300 * 1_000_000_000  # before a hole
_LONGEST_NS = 24 * 3_600 * 1_000_000_000
_HOLES_AT_MOST = 10_000
_SETTLED_S = 3.0  # after the end of a hole history is asked
_LONG_AGO_NS = 20 * 1_000_000_000  # after its end history has all that it will have of a hole
_AT_ONCE = 4


class Repair:
    """Fills holes in the background, a few at once; those that wait for their time keep no other one waiting.

    Of an instrument one is asked at a time: two downloads of one interval would take each other's pages away.
    Overflow policy: beyond _HOLES_AT_MOST a hole is left open, and said so.
    """

    def __init__(self, sources: HistorySources, give: Callable[[Hole, Sequence[Trade] | Sequence[Bar]], bool]) -> None:
        self._sources = sources
        self._give = give
        self._queue: asyncio.Queue[Hole] = asyncio.Queue()
        self._asking = asyncio.Semaphore(_AT_ONCE)
        self._of_instrument: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._open = 0
        self.left_open = 0

    def put(self, hole: Hole) -> None:
        """Queue a hole."""
        if self._open >= _HOLES_AT_MOST:
            self._leave(hole, "too many holes")
        elif hole.end_ns - hole.start_ns > _LONGEST_NS and not hole.by_bars:
            self._leave(hole, "too long for the live process")
        else:
            self._open += 1
            self._queue.put_nowait(hole)

    async def run(self) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as group:
            while True:
                group.create_task(self._fill(await self._queue.get()))

    async def _fill(self, hole: Hole) -> None:
        reason = "history does not have all of it"
        for wait_s in _WAITS_S:
            await asyncio.sleep(max(wait_s, hole.end_ns / 1e9 + _SETTLED_S - time.time()))
            hole = served_part(hole, time.time_ns())
            try:
                async with self._of_instrument[hole.instrument.id], self._asking:
                    found = await asyncio.to_thread(self._asked, hole)
            except (SourceError, UserError, StorageError) as error:
                reason = str(error)
                if not (error.retryable or isinstance(error, StorageError)):  # a disk may take a page later
                    break
                continue
            if _fills(found, hole):
                if self._give(hole, found):
                    self._open -= 1
                    return
                reason = "nothing shows that history gives trades the ids that the feed gives them"
        self._open -= 1
        self._leave(hole, reason)

    def _leave(self, hole: Hole, reason: str) -> None:
        self.left_open += 1
        log.warning("hole left open", instrument=hole.instrument.id, reason=reason)

    def _asked(self, hole: Hole) -> Sequence[Trade] | Sequence[Bar]:
        return self._bars(hole) if hole.by_bars else self._trades(hole)

    def _trades(self, hole: Hole) -> list[Trade]:
        """Beyond the end of the hole too, as a later trade shows that history has come so far."""
        start_ns, end_ns = hole.start_ns - MARGIN_NS, hole.end_ns + MARGIN_NS
        if hole.needs_proof:
            start_ns, end_ns = hole.start_ns - _PROOF_NS, max(end_ns, time.time_ns())
        elif hole.ids is None:
            end_ns = max(end_ns, min(time.time_ns(), hole.end_ns + _LONG_AGO_NS))
        interval = Interval(_instant(start_ns), _instant(end_ns))
        return trades_of(self._sources.trades(hole.instrument, interval).frame, hole.instrument)

    def _bars(self, hole: Hole) -> list[Bar]:
        interval = Interval(_instant(hole.start_ns), _instant(hole.end_ns))
        return bars_of(self._sources.bars(hole.instrument, interval).frame.sort("open_time"))


def served_part(hole: Hole, now_ns: int) -> Hole:
    """What of a hole by bars the venue still serves: some keep a few hours of 1m bars."""
    bars_back = next((spec.bars_back for spec in VENUES if spec.id == hole.instrument.venue), None)
    if not hole.by_bars or bars_back is None:
        return hole
    oldest_ns = now_ns - now_ns % MINUTE_NS - (bars_back - 2) * MINUTE_NS
    return replace(hole, start_ns=max(hole.start_ns, oldest_ns))


def trades_of(frame: pl.DataFrame, instrument: Instrument) -> list[Trade]:
    """Trades of a RAW_TRADES frame as events, in order of time; MalformedPayload where one has no id."""
    if frame["trade_id"].has_nulls():
        raise MalformedPayload(f"history of {instrument.id} gives trades without ids")
    columns = frame.sort("ts_event").select(
        pl.col("ts_event", "ts_received").dt.epoch("ns"), "trade_id", "price", "size", "taker_side", "trade_count"
    )
    return [
        Trade(instrument.id, at, received, int(id_) if id_.isdigit() else id_, price, size, side, count, sent_late=True)
        for at, received, id_, price, size, side, count in columns.iter_rows()
    ]


def _fills(found: Sequence[Trade] | Sequence[Bar], hole: Hole) -> bool:
    """Whether this is all that there is to know of the hole: its ids, or else something that came after it."""
    if hole.by_bars:
        return True
    trades = [each for each in found if isinstance(each, Trade)]
    if hole.ids is not None:
        return {trade.trade_id for trade in trades}.issuperset(hole.ids)
    is_long_ago = time.time_ns() - hole.end_ns > _LONG_AGO_NS
    return is_long_ago or any(trade.ts_event >= hole.end_ns for trade in trades)


def _instant(ns: int) -> dt.datetime:
    return dt.datetime.fromtimestamp(ns // 1_000 / 1e6, UTC)
