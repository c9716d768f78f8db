"""live_trades: a finished day as it was streamed, what of it is missing, and how the venue's history differs."""

import datetime as dt
from collections.abc import Iterator
from typing import Any, cast

import polars as pl

from md_platform.assets.batch import COMPLETE, Batch, Part
from md_platform.domain.instruments import Instrument
from md_platform.domain.intervals import DAY, UTC, Interval
from md_platform.domain.schemas import LIVE_TRADES, RAW_TRADES
from md_platform.errors import UnknownVenue
from md_platform.quality.live_day import FeedGap, count_of, missing_ids, open_gaps
from md_platform.quality.reconcile import compare_trades
from md_platform.storage.live_reading import LiveReader
from md_platform.transforms.revisions import merge_trades
from md_platform.venues import venue_named

LIVE = "live"
"""Name of the one source of `live_trades`; each row names the venue or address that it was streamed from."""

_MARGIN = dt.timedelta(hours=1)
_RANGES = 100  # of missing ids that evidence names
_OF_NEIGHBOURS = ["ts_event", "trade_id", "source"]


def streamed_from(source: str) -> str:
    """The name under which trades streamed from `source` compete with other sources: `binance-live`."""
    venue, at, address = source.partition("@")
    return f"{venue}-live{at}{address}"


def live_trades(batch: Batch) -> Iterator[Part]:
    """Take each day's trades from the live store, say what is known to be missing, compare them with history.

    What was taken once stays, so that the live store may drop it.
    """
    with batch.stores.live() as store:
        for date in batch.dates:
            yield _taken(batch, store, date)


def _taken(batch: Batch, store: LiveReader, date: dt.date) -> Part:
    lake, day = batch.stores.lake, Interval.day(date)
    columns = list(LIVE_TRADES.schema)
    found = store.trades(batch.instrument.id, Interval(day.start - _MARGIN, day.end + _MARGIN)).select(columns)
    inside = found.filter(pl.col("ts_event").is_between(day.start, day.end, closed="left"))
    trades = merge_trades(lake.read([lake.path(LIVE_TRADES, batch.instrument.id, date, LIVE)]), inside)
    if trades.is_empty():
        return Part(date, evidence={"empty": "nothing was streamed"})
    sources = trades["source"].value_counts(sort=True)
    fullest = pl.col("source") == sources["source"][0]
    judged = trades.filter(fullest)
    neighbours = [lake.path(LIVE_TRADES, batch.instrument.id, other, LIVE) for other in (date - DAY, date + DAY)]
    kept = lake.read(neighbours, columns=_OF_NEIGHBOURS)
    around = pl.concat([found.select(_OF_NEIGHBOURS), *([] if kept is None else [kept])]).filter(fullest)
    noticed = Interval(day.start, max(day.end, dt.datetime.now(UTC)))
    gaps = open_gaps(store.notices(noticed, batch.instrument.venue), batch.instrument, day)
    evidence, lacks = _completeness(batch.instrument, judged, around, day, gaps)
    comparison = dict(_compared(batch, date, judged))
    lacks += [
        f"{source} has {n} trades more" for source, told in comparison.items() if (n := told["only_history"]["count"])
    ]
    evidence |= {"streamed": dict(sources.iter_rows()), "history": comparison}
    return Part(date, trades, source=LIVE, evidence=evidence, lacks=lacks)


def _completeness(
    instrument: Instrument, trades: pl.DataFrame, around: pl.DataFrame, day: Interval, gaps: list[FeedGap]
) -> tuple[dict[str, Any], list[str]]:
    """Evidence of what is missing among `trades` of one day, and the same in words; `around` holds its neighbours.

    Where a venue numbers its trades, an unbroken row of numbers from the day before to the day after proves that none
    is missing, whatever happened to the feed.
    """
    evidence: dict[str, Any] = {COMPLETE: False, "feed_gaps": [gap.evidence() for gap in gaps]}
    earlier, later = around.filter(pl.col("ts_event") < day.start), around.filter(pl.col("ts_event") >= day.end)
    times = trades["ts_event"]
    first, last = cast("tuple[dt.datetime, dt.datetime]", (times.min(), times.max()))
    lacks = []
    if earlier.is_empty():
        lacks.append(f"nothing is known of before {first:%H:%M:%S}")
    if later.is_empty():
        lacks.append(f"nothing is known of after {last:%H:%M:%S}")
    ids = trades["trade_id"].cast(pl.Int64, strict=False)
    if _numbers_trades(instrument) and not ids.null_count():
        before, after = (side["trade_id"].cast(pl.Int64, strict=False) for side in (earlier, later))
        ranges = missing_ids(ids, _number(before.max()), _number(after.min()))
        evidence |= {
            COMPLETE: not lacks and not ranges,
            "missing_trades": count_of(ranges),
            "missing_ids": ranges[:_RANGES],
        }
        if ranges:
            lacks.append(f"{count_of(ranges)} trades by their numbers, the first {ranges[0][0]}")
    if gaps and not evidence[COMPLETE]:
        longest = max(gaps, key=lambda gap: gap.end - gap.start)
        span = f"{longest.start:%H:%M:%S} to {longest.end:%H:%M:%S}"
        lacks.append(f"{len(gaps)} feed gaps not repaired, longest {span} ({longest.cause})")
    return evidence, lacks


def _compared(batch: Batch, date: dt.date, trades: pl.DataFrame) -> Iterator[tuple[str, dict[str, Any]]]:
    """By source of `raw_trades`, how its day differs from what was streamed."""
    lake, instrument = batch.stores.lake, batch.instrument.id
    for source in lake.sources(RAW_TRADES, instrument, date):
        history = lake.read([lake.path(RAW_TRADES, instrument, date, source)])
        if history is not None:
            yield source, compare_trades(trades, history).evidence()


def _numbers_trades(instrument: Instrument) -> bool:
    """Whether the venue's feed numbers the trades of `instrument` without a jump."""
    try:
        feeds = venue_named(instrument.venue).feeds
    except UnknownVenue:
        return False
    return any(feed.numbers_trades for feed in feeds if feed.spoken[1] is None and feed.accepts(instrument))


def _number(found: object) -> int | None:
    return found if isinstance(found, int) else None
