"""Trades of one instrument and interval out, each once, from wherever they are stored; the rule is that of `seam`."""

import datetime as dt
from dataclasses import dataclass
from itertools import count, takewhile

import polars as pl
import redis
import structlog

from md_platform.catalog.reading import Reader, Selection
from md_platform.domain.events import Trade
from md_platform.domain.intervals import DAY, Interval
from md_platform.domain.schemas import CLEANED_TRADES, INSTANT
from md_platform.serving.pool import Pool
from md_platform.serving.seam import Seam, Segment
from md_platform.serving.tail import Tail
from md_platform.storage.live_reading import LiveReader

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class TradeAnswer:
    """`rows` as TRADE_COLUMNS, by time and id; `version` and `is_degraded` as those of bars."""

    rows: pl.DataFrame
    version: str | None
    is_degraded: bool = False


class Trades:
    """Reads trades. For any number of threads."""

    def __init__(self, history: Reader, seam: Seam, live: Pool[LiveReader], tail: Tail | None) -> None:
        self._history = history
        self._seam = seam
        self._live = live
        self._tail = tail

    def read(self, instrument: str, interval: Interval) -> TradeAnswer:
        """Every trade of `interval`: they are many, so the interval should be short; StorageError."""
        plan = self._seam.of_rows(instrument, CLEANED_TRADES, interval)
        parts, is_degraded = [], False
        for segment in plan.segments:
            if segment.chunks:
                parts.append(self._stored(instrument, segment))
            if segment.kind == "open":
                rows, away = self._open(instrument, segment.interval)
                parts.append(rows)
                is_degraded |= away
        rows = pl.concat(parts).unique(["ts_event", "trade_id"], keep="last", maintain_order=True)
        number = pl.col("trade_id").cast(pl.Int64, strict=False)
        is_final = plan.is_settled and not is_degraded
        return TradeAnswer(
            rows.sort("ts_event", number, "trade_id", maintain_order=True),
            plan.version if is_final else None,
            is_degraded,
        )

    def newest(self, instrument: str, limit: int, until: dt.datetime) -> TradeAnswer:
        """The last `limit` trades before `until`, looked for in ever longer spans, a day at most."""
        spans = takewhile(lambda span: span <= DAY, (dt.timedelta(minutes=3 * 8**n) for n in count()))
        for span in (*spans, DAY):
            answer = self.read(instrument, Interval(until - span, until))
            if answer.rows.height >= limit or span == DAY:
                break
        return TradeAnswer(answer.rows.tail(limit), None, answer.is_degraded)

    def _stored(self, instrument: str, segment: Segment) -> pl.DataFrame:
        selection = Selection(CLEANED_TRADES, instrument, segment.interval)
        return pl.concat(self._history.frames(selection, segment.chunks))

    def _open(self, instrument: str, interval: Interval) -> tuple[pl.DataFrame, bool]:
        """What the live store has, and what Redis has beyond it; whether Redis was away."""
        with self._live.borrowed() as reader:
            stored = reader.trades(instrument, interval)
        rows = stored.select(CLEANED_TRADES.schema.names())
        if self._tail is None:
            return rows, False
        since = interval.start if rows.is_empty() else rows["ts_received"][-1]
        source = instrument.partition(":")[0] if rows.is_empty() else rows["source"][-1]
        try:
            told = trade_frame(self._tail.trades(instrument, since), source)
        except redis.RedisError as error:
            log.warning("redis is away: trades not stored yet are missing", reason=str(error))
            return rows, True
        inside = told.filter(pl.col("ts_event").is_between(interval.start, interval.end, closed="left"))
        return pl.concat([inside, rows]), False


def trade_frame(trades: list[Trade], source: str) -> pl.DataFrame:
    """Trades as TRADE_COLUMNS."""
    ns = pl.Datetime("ns", "UTC")
    columns = {
        "instrument": [trade.instrument for trade in trades],
        "ts_event": pl.Series([trade.ts_event for trade in trades], dtype=pl.Int64).cast(ns).cast(INSTANT),
        "ts_received": pl.Series([trade.ts_received for trade in trades], dtype=pl.Int64).cast(ns).cast(INSTANT),
        "trade_id": [str(trade.trade_id) for trade in trades],
        "price": [trade.price for trade in trades],
        "size": [trade.size for trade in trades],
        "taker_side": [trade.taker_side for trade in trades],
        "trade_count": [trade.trade_count for trade in trades],
        "source": [source] * len(trades),
    }
    return pl.DataFrame(columns, schema=CLEANED_TRADES.schema)
