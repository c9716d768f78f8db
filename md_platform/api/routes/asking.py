"""What requests for market data have in common: instruments by any name, times, ranges, and how answers are marked."""

import datetime as dt
from typing import Annotated, Any

from fastapi import Path, Query
from starlette.responses import Response

from md_platform.api.config import ApiConfig
from md_platform.api.dependencies import require_rows
from md_platform.api.stores import Stores
from md_platform.domain.intervals import Interval, Timeframe
from md_platform.errors import InvalidParameter
from md_platform.settings import universe_of

InstrumentName = Annotated[
    str,
    Path(
        description="binance:BTC-USDT, binance:BTC/USDT or the venue's BTCUSDT",
        examples=["sandbox:BTC-USDT"],
        max_length=100,
    ),
]
Names = Annotated[
    str,
    Query(
        description="names of instruments, separated by commas",
        examples=["sandbox:BTC-USDT,sandbox-coinbase:ETH-USD"],
        max_length=4_000,
    ),
]
TimeText = Annotated[
    str | None,
    Query(
        description="ISO 8601 (UTC unless it says otherwise), or an epoch in s, ms, µs or ns",
        examples=["2026-11-20T00:00:00Z", "1795132800"],
        max_length=40,
    ),
]
TimeframeText = Annotated[str, Query(description="1s 1m 5m 15m 30m 1h 4h 1d 1w 1M", examples=["1m"], max_length=5)]
Adjusted = Annotated[bool, Query(description="for splits and dividends until `as_of` or now")]
DEGRADED = "x-degraded"
"""Header of answers that lack something because a part of the platform is away; it names the part."""

_MOST_NAMES = 100


def named(text: str) -> list[str]:
    """Names between commas, at most 100."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not 1 <= len(names) <= _MOST_NAMES:
        raise InvalidParameter(f"ids must name 1 to {_MOST_NAMES} instruments, was {len(names)}")
    return names


def bounded(asked: Interval, timeframe: Timeframe, config: ApiConfig) -> Interval:
    """`asked`, unless it holds more bars than an answer may; TooLarge. What lies before 1970 holds none."""
    start = max(asked.start, dt.datetime(1970, 1, 1, tzinfo=dt.UTC))
    seconds = (min(asked.end, dt.datetime.now(dt.UTC)) - start).total_seconds()
    require_rows(int(seconds // (timeframe.seconds or 28 * 86_400)), config)
    return asked


def calendar_of(stores: Stores, instrument: str) -> str:
    """When the instrument trades: its universe's calendar."""
    return universe_of(instrument, stores.universes).calendar


def marked(response: Response, *, is_degraded: bool) -> Response:
    """`response`, which says so where Redis was away."""
    if is_degraded:
        response.headers[DEGRADED] = "redis"
    return response


def iso(value: dt.datetime | None) -> str | None:
    """A time as answers have it."""
    return None if value is None else value.isoformat().replace("+00:00", "Z")


def json_of(kind: str) -> dict[int | str, dict[str, Any]]:
    """`responses` of a route that answers with JSON of its own making: an object or an array."""
    return {200: {"content": {"application/json": {"schema": {"type": kind}}}}}


Meta = dict[str, Any]
"""What stands beside the rows of a table."""
