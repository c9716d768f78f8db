"""What bars say of an instrument now, where Redis knows nothing or lacks the day: bars in, last prices out."""

import datetime as dt

import msgspec
import polars as pl

from md_platform.domain.intervals import DAY, UTC, Interval, Timeframe
from md_platform.serving.bars import BarQuery, Bars
from md_platform.serving.cache import Cache
from md_platform.serving.latest import Latest, day_of, from_bar

_DAY_TTL_S = 5.0


def completed(bars: Bars, cache: Cache, instrument: str, known: Latest | None) -> Latest | None:
    """`known` with the statistics of the day; where it is nothing, what the last bar says; None without any."""
    until = dt.datetime.now(UTC).replace(second=0, microsecond=0)

    def minutes(span: Interval) -> pl.DataFrame:
        return bars.read(BarQuery(instrument, Timeframe.M1, span)).rows

    key = f"{instrument}-{until.isoformat()}"
    day_bars = cache.frame("day", key, _DAY_TTL_S, lambda: minutes(Interval(until - DAY, until)))
    day = day_of(day_bars, until)
    if known is not None and known.price is not None:
        return msgspec.structs.replace(known, day=day)
    if day is not None:
        return from_bar(instrument, day_bars.row(-1, named=True), day, until)
    last = bars.last_before(instrument, Timeframe.M1, until)
    if last is None:
        return None
    found = minutes(Interval(last, last + dt.timedelta(minutes=1)))
    return from_bar(instrument, found.row(-1, named=True), None, until)
