"""Half-open UTC intervals and the time grid: timeframes in, bucket boundaries out. No calendars of exchanges here."""

import datetime as dt
import re
from dataclasses import dataclass
from enum import StrEnum

from md_platform.errors import InvalidRange, InvalidTimeframe

UTC = dt.UTC
DAY = dt.timedelta(days=1)
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_MONDAY = dt.datetime(1970, 1, 5, tzinfo=UTC)


class Timeframe(StrEnum):
    """Length of a bar. Buckets align to the UTC epoch; weeks start on Monday, months on the 1st."""

    S1 = "1s"
    M1 = "1m"
    M5 = "5m"
    M15 = "15m"
    M30 = "30m"
    H1 = "1h"
    H4 = "4h"
    D1 = "1d"
    W1 = "1w"
    MONTH1 = "1M"

    @classmethod
    def parse(cls, text: str) -> "Timeframe":
        """Timeframe named `text`, as "1m" or "1M"; InvalidTimeframe otherwise."""
        try:
            return cls(text)
        except ValueError:
            known = " ".join(cls)
            raise InvalidTimeframe(f"timeframe must be one of {known}, was {text!r}") from None

    @property
    def seconds(self) -> int | None:
        """Fixed length in seconds; None for the month, whose length varies."""
        return _SECONDS.get(self)

    @property
    def polars_every(self) -> str:
        """The same length in polars' duration language (`1mo` is its month)."""
        return "1mo" if self is Timeframe.MONTH1 else self.value

    def open_time(self, instant: dt.datetime) -> dt.datetime:
        """Open time of the bar that holds `instant` (UTC)."""
        if self is Timeframe.MONTH1:
            return instant.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
        origin = _EPOCH_MONDAY if self is Timeframe.W1 else _EPOCH
        return instant - (instant - origin) % dt.timedelta(seconds=_SECONDS[self])

    def close_time(self, open_time: dt.datetime) -> dt.datetime:
        """Exclusive end of the bar that opens at `open_time`."""
        if self is Timeframe.MONTH1:
            return (open_time.replace(day=28) + 4 * DAY).replace(day=1)
        return open_time + dt.timedelta(seconds=_SECONDS[self])


_SECONDS: dict[Timeframe, int] = {
    Timeframe.S1: 1,
    Timeframe.M1: 60,
    Timeframe.M5: 300,
    Timeframe.M15: 900,
    Timeframe.M30: 1_800,
    Timeframe.H1: 3_600,
    Timeframe.H4: 14_400,
    Timeframe.D1: 86_400,
    Timeframe.W1: 604_800,
}

INTRADAY_ROLL_UPS = (
    Timeframe.M5,
    Timeframe.M15,
    Timeframe.M30,
    Timeframe.H1,
    Timeframe.H4,
    Timeframe.D1,
)
"""What `resampled_bars` holds, each rolled up from the one before, the first from 1m."""


@dataclass(frozen=True, slots=True)
class Interval:
    """`[start, end)`, both UTC-aware; InvalidRange unless start < end."""

    start: dt.datetime
    end: dt.datetime

    def __post_init__(self) -> None:
        for name, value in (("start", self.start), ("end", self.end)):
            if value.utcoffset() != dt.timedelta(0):
                raise InvalidRange(f"{name} must be a UTC time, was {value.isoformat()}")
        if self.end <= self.start:
            raise InvalidRange(
                f"end must be after start, was start {self.start.isoformat()} and end {self.end.isoformat()}"
            )

    @classmethod
    def day(cls, date: dt.date) -> "Interval":
        """The UTC day `date`."""
        start = dt.datetime(date.year, date.month, date.day, tzinfo=UTC)
        return cls(start, start + DAY)

    def __contains__(self, instant: dt.datetime) -> bool:
        return self.start <= instant < self.end

    def days(self) -> list[dt.date]:
        """Every UTC day that the interval touches, in order."""
        last = (self.end - dt.timedelta(microseconds=1)).date()
        return [self.start.date() + n * DAY for n in range((last - self.start.date()).days + 1)]


_DIGITS = re.compile(r"\d{9,19}")


def parse_time(text: str, *, name: str = "time") -> dt.datetime:
    """UTC instant from ISO 8601 (no offset means UTC) or an epoch in s, ms, us or ns; InvalidRange otherwise."""
    if _DIGITS.fullmatch(text):
        return _EPOCH + dt.timedelta(microseconds=epoch_to_ns(int(text)) // 1_000)
    try:
        parsed = dt.datetime.fromisoformat(text)
        return parsed.replace(tzinfo=UTC) if parsed.tzinfo is None else parsed.astimezone(UTC)
    except (ValueError, OverflowError):
        raise InvalidRange(f"{name} must be an ISO 8601 date or time, or an epoch, was {text!r}") from None


def parse_interval(start: str, end: str, *, now: dt.datetime) -> Interval:
    """`[start, end)` from user text; InvalidRange where it is empty or reaches past `now`."""
    interval = Interval(parse_time(start, name="start"), parse_time(end, name="end"))
    if interval.end > now:
        raise InvalidRange(
            f"end must not lie in the future, was {interval.end.isoformat()}, now is {now:%Y-%m-%dT%H:%M}"
        )
    return interval


def epoch_unit(value: int) -> str:
    """Unit of an epoch by its magnitude, for times between 1990 and 2100: "s", "ms", "us" or "ns".

    Binance's bulk files changed from ms to us on 2025-01-01, so a file's unit is detected, never assumed.
    InvalidRange where no unit puts the value between those years.
    """
    for unit, per_second in _PER_SECOND.items():
        if _YEAR_1990_S <= value // per_second < _YEAR_2100_S:
            return unit
    raise InvalidRange(f"epoch must lie between 1990 and 2100 in s, ms, us or ns, was {value}")


_YEAR_1990_S, _YEAR_2100_S = 631_152_000, 4_102_444_800
_PER_SECOND = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}


def epoch_to_ns(value: int) -> int:
    """Nanoseconds since the epoch from a value in s, ms, us or ns."""
    return value * (1_000_000_000 // _PER_SECOND[epoch_unit(value)])
