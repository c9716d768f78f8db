"""resampled_bars, weekly_bars, monthly_bars: shorter bars rolled up into longer ones by the domain's rule."""

import datetime as dt
from collections.abc import Iterator

import polars as pl

from md_platform.assets.batch import Batch, Part, by_day
from md_platform.domain.intervals import Interval, Timeframe
from md_platform.domain.schemas import CLEANED_BARS, RESAMPLED_BARS
from md_platform.transforms.resampled import resample, roll_up_days


def resampled_bars(batch: Batch) -> Iterator[Part]:
    """Roll cleaned 1m bars up to 5m, 15m, 30m, 1h, 4h and 1d."""
    pending = {date: reason for date in batch.dates if (reason := batch.blocked(CLEANED_BARS, date))}
    yield from (Part(date, pending=reason) for date, reason in pending.items())
    dates = [date for date in batch.dates if date not in pending]
    bars = batch.read(CLEANED_BARS, dates) if dates else None
    if bars is None:
        yield from (Part(date, evidence={"empty": "no 1m bars"}) for date in dates)
        return
    for date, frame in by_day(resample(bars, Interval.day(dates[-1]).end), "open_time", dates):
        yield Part(date, frame, source=frame["source"][0] if frame.height else None)


def weekly_bars(batch: Batch) -> Iterator[Part]:
    """Roll daily bars up to weeks from Monday; provisional while the week runs."""
    return _periods(batch, Timeframe.W1)


def monthly_bars(batch: Batch) -> Iterator[Part]:
    """Roll daily bars up to calendar months; provisional while the month runs."""
    return _periods(batch, Timeframe.MONTH1)


def _periods(batch: Batch, timeframe: Timeframe) -> Iterator[Part]:
    today = dt.datetime.now(dt.UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    for date in batch.dates:
        start = Interval.day(date).start
        days = Interval(start, timeframe.close_time(start)).days()
        rows = batch.read(RESAMPLED_BARS, days)
        if rows is None:
            yield Part(date, evidence={"empty": "no daily bars"})
            continue
        daily = rows.filter(pl.col("timeframe") == Timeframe.D1.value)
        frame = roll_up_days(daily, timeframe, today)
        members = f"{daily.height} of {len(days)} days"
        yield Part(date, frame, source=frame["source"][0] if frame.height else None, evidence={"members": members})
