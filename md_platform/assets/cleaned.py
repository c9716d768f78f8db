"""cleaned_bars, cleaned_trades, trade_bars: the best source of each day, its valid rows, the rest in quarantine."""

import datetime as dt
from collections.abc import Callable, Iterator
from dataclasses import replace

import polars as pl

from md_platform.assets.batch import COMPLETE, Batch, Part, by_day
from md_platform.assets.live import LIVE, streamed_from
from md_platform.domain.bars import bars_from_trades
from md_platform.domain.calendars import trading_periods
from md_platform.domain.intervals import Interval, Timeframe
from md_platform.domain.schemas import CLEANED_TRADES, LIVE_TRADES, RAW_BARS, RAW_TRADES, TRADE_BARS, Dataset
from md_platform.transforms.cleaned import Cleaned, choose_source, clean_bars, clean_trades, has_consecutive_ids

TRADES = "trades"
"""Name of the source of bars that are aggregated from the instrument's own trades."""


def cleaned_bars(batch: Batch) -> Iterator[Part]:
    """Clean every source's bars, the instrument's own trade bars among them, and keep the fullest of each day."""
    cleaned = _by_source(batch, RAW_BARS, clean_bars)
    from_trades = batch.read(TRADE_BARS)
    if from_trades is not None:
        cleaned[TRADES] = _by_date(batch, Cleaned(from_trades, _no_rejects(from_trades), 0), "open_time")
    yield from _choose(batch, RAW_BARS, cleaned, lambda date: expected_minutes(batch, date))


def cleaned_trades(batch: Batch) -> Iterator[Part]:
    """Clean every source's trades, those that were streamed among them, and keep the fullest of each day."""
    for date in batch.dates:  # one at a time for the memory that trades take
        day = replace(batch, dates=[date])
        streamed = _streamed(day)
        cleaned = {**_by_source(day, RAW_TRADES, clean_trades), **streamed}
        for part in _choose(day, RAW_TRADES, cleaned, lambda _: 0):
            yield _judged(batch, part, is_streamed=part.source in streamed)


def _streamed(day: Batch) -> dict[str, dict[dt.date, Cleaned]]:
    """What was streamed of the one day, cleaned, by the name of where it came from."""
    lake = day.stores.lake
    found = lake.read([lake.path(LIVE_TRADES, day.instrument.id, date, LIVE) for date in day.dates])
    if found is None:
        return {}
    by_source = {str(rows["source"][0]): rows for rows in found.partition_by("source", maintain_order=True)}
    return {
        streamed_from(source): _by_date(day, clean_trades(rows), LIVE_TRADES.time) for source, rows in by_source.items()
    }


def _judged(batch: Batch, part: Part, *, is_streamed: bool) -> Part:
    """`part` of cleaned trades with what is known of its completeness: a source's own day begins and ends whole."""
    if part.frame is None:
        return part
    known = batch.inputs.get((LIVE_TRADES.name, batch.instrument.id, part.date)) if is_streamed else None
    is_whole = not is_streamed or batch.is_complete(LIVE_TRADES, part.date)
    evidence = {**part.evidence, COMPLETE: is_whole and has_consecutive_ids(part.frame)}
    lacks = [f"of what was streamed: {known.reason}"] if known is not None and known.reason else []
    return replace(part, evidence=evidence, lacks=lacks)


def trade_bars(batch: Batch) -> Iterator[Part]:
    """Aggregate cleaned trades into 1m bars, one day at a time for the memory that trades take."""
    for date in batch.dates:
        if reason := batch.blocked(CLEANED_TRADES, date):
            yield Part(date, pending=reason)
            continue
        trades = batch.read(CLEANED_TRADES, [date])
        if trades is None:
            yield Part(date, evidence={"empty": "no trades"})
            continue
        bars = bars_from_trades(trades.lazy(), Timeframe.M1, Interval.day(date).end).collect()
        yield Part(date, bars, source=bars["source"][0], evidence={COMPLETE: batch.is_complete(CLEANED_TRADES, date)})


def _no_rejects(kept: pl.DataFrame) -> pl.DataFrame:
    return kept.clear().with_columns(rule=pl.lit(None, pl.String))


def expected_minutes(batch: Batch, date: dt.date) -> int:
    """How many 1m bars the universe's calendar wants of `date`, or its complete trades do."""
    traded = batch.traded_minutes(date)
    if traded is not None:
        return traded.len()
    return sum(
        int((period.end - period.start).total_seconds() // 60)
        for period in trading_periods(batch.universe.calendar, date)
    )


def _by_source(
    batch: Batch, dataset: Dataset, clean: Callable[[pl.DataFrame], Cleaned]
) -> dict[str, dict[dt.date, Cleaned]]:
    lake, instrument = batch.stores.lake, batch.instrument.id
    present = {date: lake.sources(dataset, instrument, date) for date in batch.dates}
    names = sorted(set().union(*present.values()), key=lambda name: (not name.startswith(batch.instrument.venue), name))
    cleaned = {}
    for source in names:
        paths = [lake.path(dataset, instrument, date, source) for date in batch.dates]
        raw = lake.read(paths)
        if raw is not None:
            cleaned[source] = _by_date(batch, clean(raw), dataset.time)
    return cleaned


def _by_date(batch: Batch, cleaned: Cleaned, time: str) -> dict[dt.date, Cleaned]:
    kept = dict(by_day(cleaned.kept, time, batch.dates))
    rejected = dict(by_day(cleaned.rejected, time, batch.dates))
    return {date: Cleaned(kept[date], rejected[date], cleaned.reordered) for date in batch.dates}


def _choose(
    batch: Batch, raw: Dataset, cleaned: dict[str, dict[dt.date, Cleaned]], expected: Callable[[dt.date], int]
) -> Iterator[Part]:
    for date in batch.dates:
        rows = {source: days[date].kept.height for source, days in cleaned.items()}
        rejects = {source: days[date].rejected.height for source, days in cleaned.items()}
        if not any(rows.values()) and not any(rejects.values()):
            reason = batch.blocked(raw, date)
            yield Part(date, pending=reason) if reason else Part(date, evidence={"empty": "no source has rows"})
            continue
        choice = choose_source(rows, expected(date))
        day = cleaned[choice.source][date]
        rejected = pl.concat([days[date].rejected for days in cleaned.values()])
        evidence = {"source_chosen": choice.reason, "reordered": day.reordered}
        yield Part(date, day.kept, source=choice.source, rejected=rejected, evidence=evidence)
