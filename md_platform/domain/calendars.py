"""When an instrument trades: a calendar's name in, expected bar open times out. "24/7", or an exchange's MIC code."""

import datetime as dt
from functools import cache
from typing import TYPE_CHECKING

import polars as pl

from md_platform.domain.intervals import DAY, Interval, Timeframe
from md_platform.errors import InvalidRange, InvalidSetting

if TYPE_CHECKING:
    from exchange_calendars import ExchangeCalendar

ALWAYS_OPEN = "24/7"
_FROM = "1990-01-01"


@cache
def _exchange(name: str) -> "ExchangeCalendar":
    # with pandas below them they cost a second and 50 MiB, which a process of a market that never closes need not pay
    import pandas as pd  # noqa: PLC0415
    from exchange_calendars import get_calendar, get_calendar_names  # noqa: PLC0415

    if name not in get_calendar_names(include_aliases=True):
        raise InvalidSetting(f"calendar must be {ALWAYS_OPEN} or an exchange_calendars name such as XNYS, was {name!r}")
    earliest = type(get_calendar(name)).bound_min()
    first = pd.Timestamp(_FROM)
    return get_calendar(name, start=first if earliest is None else max(first, earliest))


def trading_periods(calendar: str, date: dt.date) -> list[Interval]:
    """Periods of the UTC day `date` in which the calendar is open, lunch breaks left out; empty when it is closed.

    A session that crosses UTC midnight (futures, Asian markets) counts in each day for the part that lies in it.
    InvalidSetting for an unknown calendar, InvalidRange for a day that the calendar does not reach.
    """
    day = Interval.day(date)
    if calendar == ALWAYS_OPEN:
        return [day]
    exchange = _exchange(calendar)
    first, last = exchange.first_session.date(), exchange.last_session.date()
    if not first <= date <= last:
        raise InvalidRange(f"calendar {calendar} is known from {first} to {last}, was asked for {date}")
    periods: list[Interval] = []
    for session in exchange.sessions_in_range(str(max(date - DAY, first)), str(min(date + DAY, last))):
        opened = exchange.session_open(session).to_pydatetime()
        closed = exchange.session_close(session).to_pydatetime()
        parts = [(opened, closed)]
        if exchange.session_has_break(session):
            pause = exchange.session_break_start(session).to_pydatetime()
            parts = [(opened, pause), (exchange.session_break_end(session).to_pydatetime(), closed)]
        clipped = [(max(start, day.start), min(end, day.end)) for start, end in parts]
        periods += [Interval(start, end) for start, end in clipped if start < end]
    return periods


def expected_open_times(calendar: str, timeframe: Timeframe, date: dt.date) -> pl.Series:
    """Open times (`Datetime[us, UTC]`) of the bars that begin on the UTC day `date` while the calendar is open.

    Bars longer than the open period count when any part of them is open. Raises InvalidSetting for an unknown calendar.
    """
    if calendar == ALWAYS_OPEN and timeframe not in (Timeframe.W1, Timeframe.MONTH1):
        day = Interval.day(date)
        return pl.datetime_range(
            day.start, day.end, timeframe.polars_every, closed="left", time_unit="us", eager=True
        ).alias("open_time")
    expected: set[dt.datetime] = set()
    for period in trading_periods(calendar, date):
        moment = timeframe.open_time(period.start)
        while moment < period.end:
            expected.add(moment)
            moment = timeframe.close_time(moment)
    return pl.Series("open_time", sorted(expected), pl.Datetime("us", "UTC"))


def is_session(calendar: str, date: dt.date) -> bool:
    """Whether the calendar is open at any time of the UTC day `date`."""
    return bool(trading_periods(calendar, date))


@cache
def bars_per_year(calendar: str, timeframe: Timeframe) -> float | None:
    """Bars of `timeframe` that trade in a year, for annualising; None for a calendar that never closes.

    The exchange's regular session of an ordinary year counts: 252 days of New York, 252 × 390 minutes.
    """
    if calendar == ALWAYS_OPEN:
        return None
    sessions = _exchange(calendar).sessions_in_range("2023-01-01", "2023-12-31")
    if timeframe in (Timeframe.D1, Timeframe.W1, Timeframe.MONTH1):
        per_day = {Timeframe.D1: 1.0, Timeframe.W1: 1 / 5, Timeframe.MONTH1: 1 / 21}[timeframe]
        return len(sessions) * per_day
    counts = [len(expected_open_times(calendar, timeframe, session.date())) for session in sessions[:20]]
    return len(sessions) * sum(counts) / len(counts)
