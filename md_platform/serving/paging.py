"""Long ranges a page at a time: a range or a cursor in, rows and the cursor of the next page out.

A cursor holds all that the next page needs, so any process can serve it, at any time. It names a place in time, not a
number of rows: what is revised or comes late meanwhile moves nothing.
"""

import base64
import binascii
import datetime as dt
from dataclasses import dataclass

import msgspec
import polars as pl

from md_platform.domain.intervals import DAY, Interval, Timeframe
from md_platform.domain.schemas import CLEANED_BARS, CLEANED_TRADES
from md_platform.errors import InvalidParameter
from md_platform.serving.bars import BarQuery, Bars
from md_platform.serving.trades import Trades

_WIDEST = 256
_HOUR = dt.timedelta(hours=1)
_SPANS_A_PAGE = 24


class _Place(msgspec.Struct, array_like=True):
    """Of whose rows, from when (µs), how many of that very time were given already, until when (µs)."""

    instrument: str
    kind: str
    next_us: int
    given: int
    end_us: int


@dataclass(frozen=True, slots=True)
class Page:
    """`rows` in order; `next_cursor` None: there are no more."""

    rows: pl.DataFrame
    next_cursor: str | None
    is_degraded: bool = False


def bar_page(
    bars: Bars, instrument: str, timeframe: Timeframe, span: Interval | None, limit: int, cursor: str | None
) -> Page:
    """At most `limit` bars of `span`, or from where `cursor` says; InvalidParameter where it is of something else."""
    place = _begun(instrument, timeframe.value, span, cursor)
    end, at, factor = _instant(place.end_us), _instant(place.next_us), 1
    rows, is_degraded = pl.DataFrame(schema=CLEANED_BARS.schema), False
    while at < end and rows.is_empty():
        length = dt.timedelta(seconds=timeframe.seconds or 31 * 86_400)
        until = _later(at, length * limit * factor, end)
        answer = bars.read(BarQuery(instrument, timeframe, Interval(at, until)))
        rows, is_degraded, at, factor = answer.rows, answer.is_degraded, until, min(factor * 4, _WIDEST)
    if rows.height > limit:
        rows = rows.head(limit)
        at = timeframe.close_time(rows["open_time"][-1])
    return Page(rows, _cursor(place, at) if at < end else None, is_degraded)


def trade_page(trades: Trades, instrument: str, span: Interval | None, limit: int, cursor: str | None) -> Page:
    """At most `limit` trades of `span`, or from where `cursor` says; InvalidParameter where it is of something else."""
    place = _begun(instrument, "trades", span, cursor)
    end, at, given = _instant(place.end_us), _instant(place.next_us), place.given
    parts: list[pl.DataFrame] = []
    height, is_degraded, step = 0, False, _HOUR
    for _ in range(_SPANS_A_PAGE):
        if at >= end or height >= limit:
            break
        until = _later(at, step, end)
        answer = trades.read(instrument, Interval(at, until))
        found = answer.rows.slice(given)
        parts.append(found)
        height, is_degraded, at, given = height + found.height, is_degraded or answer.is_degraded, until, 0
        step = step if found.height else min(step * 4, DAY)
    rows = pl.concat([pl.DataFrame(schema=CLEANED_TRADES.schema), *parts])
    if rows.height > limit:
        rows = rows.head(limit)
        at = rows["ts_event"][-1]
        given = int((rows["ts_event"] == at).sum()) + (place.given if at == _instant(place.next_us) else 0)
    return Page(rows, _cursor(place, at, given) if at < end else None, is_degraded)


def _later(at: dt.datetime, by: dt.timedelta, end: dt.datetime) -> dt.datetime:
    return end if end - at <= by else at + by


def _begun(instrument: str, kind: str, span: Interval | None, cursor: str | None) -> _Place:
    if cursor is None:
        if span is None:
            raise InvalidParameter("a first page needs a range, a later one its cursor")
        start = max(span.start, _instant(0))
        return _Place(instrument, kind, _us(start), 0, _us(max(span.end, start)))
    try:
        place = msgspec.json.decode(base64.urlsafe_b64decode(cursor.encode()), type=_Place)
        _instant(place.next_us), _instant(place.end_us)
    except (ValueError, OverflowError, binascii.Error):
        raise InvalidParameter("cursor is none that was given out: take it from the page before") from None
    if (place.instrument, place.kind) != (instrument, kind) or place.given < 0 or place.next_us < 0:
        raise InvalidParameter(f"cursor is of {place.kind} of {place.instrument}, asked were {kind} of {instrument}")
    return place


def _cursor(place: _Place, at: dt.datetime, given: int = 0) -> str:
    then = _Place(place.instrument, place.kind, _us(at), given, place.end_us)
    return base64.urlsafe_b64encode(msgspec.json.encode(then)).decode()


def _us(instant: dt.datetime) -> int:
    return (instant - _EPOCH) // dt.timedelta(microseconds=1)


def _instant(us: int) -> dt.datetime:
    return _EPOCH + dt.timedelta(microseconds=us)


_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
