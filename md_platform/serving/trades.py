"""Trades of one instrument and interval out, each once, from wherever they are stored; the rule is that of `seam`."""

import datetime as dt
from dataclasses import dataclass
from itertools import count, takewhile

import polars as pl

from md_platform.catalog.reading import Reader, Selection
from md_platform.domain.intervals import DAY, Interval
from md_platform.domain.schemas import CLEANED_TRADES
from md_platform.serving.live import Streamed
from md_platform.serving.seam import Seam, Segment


@dataclass(frozen=True, slots=True)
class TradeAnswer:
    """`rows` as TRADE_COLUMNS, by time and id; `version` and `is_degraded` as those of bars."""

    rows: pl.DataFrame
    version: str | None
    is_degraded: bool = False


class Trades:
    """Reads trades. For any number of threads."""

    def __init__(self, history: Reader, seam: Seam, live: Streamed) -> None:
        self._history = history
        self._seam = seam
        self._live = live

    def read(self, instrument: str, interval: Interval) -> TradeAnswer:
        """Every trade of `interval`: they are many, so the interval should be short; StorageError."""
        plan = self._seam.of_rows(instrument, CLEANED_TRADES, interval)
        parts, is_degraded = [], False
        for segment in plan.segments:
            if segment.chunks:
                parts.append(self._stored(instrument, segment))
            if segment.kind == "open":
                found = self._live.trades(instrument, segment.interval)
                parts.append(found.rows)
                is_degraded |= found.is_degraded
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
