"""What a venue is: a frozen VenueSpec of addresses, limits and pure functions. Requests and payloads are values here.

A venue's file declares its functions in a `RestHistory` and one VenueSpec for each venue that speaks its protocol. The
network code in `sources` reads these and knows no venue by name.
"""

import datetime as dt
import email.utils
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

import polars as pl

from md_platform.domain.instruments import Instrument
from md_platform.domain.intervals import UTC, Interval, Timeframe
from md_platform.errors import RateLimited, SourceError, SourceRejected, SourceUnavailable

if TYPE_CHECKING:
    from md_platform.venues.feeds import Feed

_RATE_LIMITED = {418, 429}
_SERVER_ERROR = 500
_LEGAL_REASONS = 451


@dataclass(frozen=True, slots=True)
class RateLimit:
    """At most `weight` in any `window_s` seconds; `used_header` is where answers tell how much of it is used."""

    weight: float
    window_s: float
    used_header: str | None = None


@dataclass(frozen=True, slots=True)
class Request:
    """A request: path below the venue's REST address, query parameters, and what it costs of the rate limit.

    `bookmark` is not sent: it is what the parser of the answer wants to remember of the pages before. A POST carries no
    body.
    """

    path: str
    params: Mapping[str, str | int] = field(default_factory=dict)
    weight: float = 1.0
    bookmark: int | None = None
    method: Literal["GET", "POST"] = "GET"

    def changed(self, **params: str | int) -> "Request":
        """The same request with some parameters changed."""
        return replace(self, params={**self.params, **params})


@dataclass(frozen=True, slots=True)
class Query:
    """What is asked of a venue: bars or trades of `instrument` in `interval`.

    `source` is stamped on every row; `received` (UTC) is when the payload at hand came in, which is also the "now" that
    decides whether a bar is closed. `timeframe` means nothing for trades.
    """

    instrument: Instrument
    interval: Interval
    source: str
    received: dt.datetime
    timeframe: Timeframe = Timeframe.M1


@dataclass(frozen=True, slots=True)
class Page:
    """Rows of one payload in the stored schema, oldest first, and the request for the next page, None after the last.

    Rows outside of the interval and rows seen on the page before may be among them: the engine drops both.
    """

    frame: pl.DataFrame
    following: Request | None = None


ParsePage = Callable[[bytes, Request, Query], Page]


@dataclass(frozen=True, slots=True)
class RestHistory:
    """How a protocol serves history over REST. Parsers raise MalformedPayload where a payload is not the protocol."""

    instruments_request: Callable[[], Request]
    parse_instruments: Callable[[bytes, str], list[Instrument]]
    bars_request: Callable[[Instrument, Timeframe, Interval], Request]
    parse_bars: ParsePage
    trades_request: Callable[[Instrument, Interval], Request]
    parse_trades: ParsePage
    parse_error: Callable[[int, Mapping[str, str], bytes], SourceError]


@dataclass(frozen=True, slots=True)
class VenueSpec:
    """One venue. `history` is None where nothing can be asked over REST.

    `bulk_url` is where the venue publishes files, used when the user configures it. `bars_back` is how many of the last
    bars the venue serves, None for all. `ccxt` names the ccxt exchange that reaches the same venue. A simulated
    venue's rows are stamped with its own id whatever its address.
    """

    id: str
    title: str
    rest_url: str | None = None
    bulk_url: str | None = None
    rate_limit: RateLimit = RateLimit(1, 1)
    max_bars: int = 0
    bars_back: int | None = None
    ccxt: str | None = None
    is_simulated: bool = False
    history: RestHistory | None = None
    feeds: tuple["Feed", ...] = ()


def retry_after_s(headers: Mapping[str, str], now: dt.datetime | None = None) -> float | None:
    """Seconds that a `Retry-After` header (seconds, or an HTTP date) asks to wait; None where it says nothing usable.

    Names of `headers` are in lower case.
    """
    text = headers.get("retry-after", "").strip()
    if text.isascii() and text.isdigit() and len(text) < 10:  # noqa: PLR2004 - a wait of more digits is no wait
        return float(text)
    try:
        until = email.utils.parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    until = until.replace(tzinfo=UTC) if until.tzinfo is None else until
    return max(0.0, (until - (now or dt.datetime.now(UTC))).total_seconds())


def error_of_status(venue: str, status: int, headers: Mapping[str, str], detail: str) -> SourceError:
    """The SourceError that an HTTP `status` means on any venue; `detail` is the venue's own words."""
    said = f"{venue} answered {status}" + (f": {detail[:300]}" if detail else "")
    if status in _RATE_LIMITED:
        return RateLimited(said, retry_after_s(headers))
    if status >= _SERVER_ERROR:
        return SourceUnavailable(said)
    if status == _LEGAL_REASONS:
        return SourceRejected(f"{said} (the venue does not serve this location)")
    return SourceRejected(said)
