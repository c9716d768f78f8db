"""Any exchange that ccxt knows: an instrument and an interval in, bars without taker volumes or trades out.

ccxt keeps each exchange's own rate limit. Its errors become ours, with their retry policy.
"""

import datetime as dt
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar

import ccxt
import polars as pl

from md_platform.domain.instruments import Instrument
from md_platform.domain.intervals import Interval
from md_platform.domain.schemas import RAW_BARS
from md_platform.errors import (
    MalformedPayload,
    NotServed,
    RateLimited,
    SourceError,
    SourceRejected,
    SourceUnavailable,
    UnknownInstrument,
)
from md_platform.sources.fetch import Meter, RetryPolicy, utc_now
from md_platform.sources.rest import joined, spooled_days
from md_platform.sources.spool import PageSpool
from md_platform.venues.frames import bar_frame, epoch, instant, latest, number, table, trade_frame, whole
from md_platform.venues.spec import Page, Query, Request

T = TypeVar("T")
_MINUTE_MS = 60_000
_PAGE = 500
_BAR_COLUMNS = ("open_time", "open", "high", "low", "close", "volume")
_TRADE_KEYS = ("timestamp", "id", "price", "amount", "side")
_UNREADABLE = (TypeError, ValueError, KeyError, IndexError, AttributeError)


def knows(venue: str) -> bool:
    """Whether ccxt has an exchange called `venue`."""
    return isinstance(getattr(ccxt, venue, None), type) and issubclass(getattr(ccxt, venue), ccxt.Exchange)


class CcxtSource:
    """The exchange that ccxt calls `exchange`; `rest_url` replaces the scheme and host of its addresses.

    `name` is stamped on rows. One thread talks to it at a time.
    """

    def __init__(
        self,
        exchange: str,
        name: str,
        cache: Path,
        rest_url: str | None = None,
        *,
        clock: Callable[[], dt.datetime] = utc_now,
        retry: RetryPolicy | None = None,
    ) -> None:
        self.name = name
        self._cache = cache
        self._clock = clock
        self._retry = retry or RetryPolicy()
        self._lock = threading.Lock()
        self._id = exchange
        timeout_ms = int(self._retry.read_timeout_s * 1_000)
        self._exchange = getattr(ccxt, exchange)(
            {"enableRateLimit": True, "timeout": timeout_ms, "enableLastJsonResponse": True}
        )
        if rest_url is not None:
            self._exchange.urls["api"] = moved(self._exchange.urls["api"], "http", rest_url)

    def instruments(self, meter: Meter) -> list[Instrument]:
        """Every spot market and linear perpetual."""
        return [
            Instrument(self._id, market["base"], market["quote"], market["id"], is_perpetual=bool(market.get("swap")))
            for market in self._markets(meter).values()
            if market.get("spot") or (market.get("swap") and market.get("linear"))
        ]

    def bars(self, instrument: Instrument, interval: Interval, meter: Meter) -> pl.DataFrame:
        """1m bars of `interval`; NotServed where the exchange does not go back so far."""
        self._require(instrument, meter)
        if not self._exchange.has.get("fetchOHLCV"):
            raise SourceRejected(f"{self.name} serves no bars")
        return joined(self._bar_pages(instrument, interval, meter), RAW_BARS, interval)

    def trades(self, instrument: Instrument, interval: Interval, meter: Meter) -> pl.DataFrame:
        """Trades of `interval`; NotServed where the exchange serves only its newest ones."""
        self._require(instrument, meter)
        root = PageSpool.of(self._cache, self.name, instrument.symbol).folder
        return spooled_days(
            root, interval, self._clock(), lambda day, after: self._trade_pages(instrument, day, after, meter)
        )

    def _bar_pages(self, instrument: Instrument, interval: Interval, meter: Meter) -> Iterator[pl.DataFrame]:
        since, end = epoch(interval.start, "ms"), epoch(interval.end, "ms")
        limit = self._exchange.feature_value(instrument.ccxt, "fetchOHLCV", "limit") or _PAGE
        is_first = True

        def newest() -> pl.Series:
            return self._bars(instrument, interval, None, limit, meter)["open_time"]

        while since < end:
            frame = self._bars(instrument, interval, since, limit, meter)
            if is_first:
                self._require_whole("bars", frame["open_time"], interval, newest)
            is_first = False
            yield frame
            last = latest(frame, "open_time")
            reached = since if last is None else epoch(last, "ms") + _MINUTE_MS
            since = reached if reached > since else since + limit * _MINUTE_MS

    def _bars(
        self, instrument: Instrument, interval: Interval, since: int | None, limit: int, meter: Meter
    ) -> pl.DataFrame:
        rows = self._call(meter, lambda: self._exchange.fetch_ohlcv(instrument.ccxt, "1m", since, limit))
        query = Query(instrument, interval, self.name, self._clock())
        return self._timed(_bars(rows, query, self._contract_size(instrument, meter)), "open_time")

    def _trade_pages(
        self, instrument: Instrument, interval: Interval, after: Page | None, meter: Meter
    ) -> Iterator[Page]:
        since, end = epoch(interval.start, "ms"), epoch(interval.end, "ms")
        if after is not None and after.following is not None:
            since = int(after.following.params["since"])
        known: set[str] = set()

        def newest() -> pl.Series:
            return self._trades(instrument, interval, None, meter)["ts_event"]

        while True:
            frame = self._trades(instrument, interval, since, meter)
            if after is None:
                self._require_whole("trades", frame["ts_event"], interval, newest)
            last, ids = latest(frame, "ts_event"), set(frame["trade_id"].drop_nulls())
            following = None
            if last is not None and epoch(last, "ms") < end and not ids <= known:
                since = max(epoch(last, "ms"), since)
                following = Request("trades", {"since": since})
            known = ids
            after = Page(frame, following)
            yield after
            if following is None:
                return

    def _trades(self, instrument: Instrument, interval: Interval, since: int | None, meter: Meter) -> pl.DataFrame:
        limit = self._exchange.feature_value(instrument.ccxt, "fetchTrades", "limit")
        rows = self._call(meter, lambda: self._exchange.fetch_trades(instrument.ccxt, since, limit))
        query = Query(instrument, interval, self.name, self._clock())
        return self._timed(_trades(rows, query, self._contract_size(instrument, meter)), "ts_event")

    def _timed(self, frame: pl.DataFrame, time: str) -> pl.DataFrame:
        """`frame`; MalformedPayload where it has rows and not one of them a time, from which paging could go on."""
        if frame.height and latest(frame, time) is None:
            raise MalformedPayload(f"{self.name} must give times in ms, was {frame.height} rows without one")
        return frame

    def _require_whole(self, what: str, first: pl.Series, interval: Interval, newest: Callable[[], pl.Series]) -> None:
        """Some exchanges answer any `since` with the newest they have: then the interval's beginning is not there."""
        oldest = first.min()
        if not isinstance(oldest, dt.datetime) or oldest <= interval.start:
            return
        if newest().min() == oldest:
            raise NotServed(f"{self.name} serves only its newest {what}, from {oldest:%Y-%m-%dT%H:%M:%S} on")

    def _require(self, instrument: Instrument, meter: Meter) -> None:
        if instrument.ccxt not in self._markets(meter):
            raise UnknownInstrument(f"{self.name} lists no {instrument.ccxt} ({instrument.id})")

    def _contract_size(self, instrument: Instrument, meter: Meter) -> float:
        return contract_size(self._markets(meter)[instrument.ccxt])

    def _markets(self, meter: Meter) -> dict[str, dict[str, Any]]:
        if not self._exchange.markets:
            self._call(meter, self._exchange.load_markets)
        markets: dict[str, dict[str, Any]] = self._exchange.markets
        return markets

    def _call(self, meter: Meter, call: Callable[[], T]) -> T:
        def attempt() -> T:
            meter.requests += 1
            try:
                with self._lock:
                    answer = call()
                    body = self._exchange.last_http_response or ""
                    is_json = self._exchange.last_json_response is not None
            except ccxt.BaseError as error:
                raise error_of(self.name, error) from error
            except _UNREADABLE as error:
                raise MalformedPayload(f"{self.name}: ccxt cannot read the answer ({error!r})") from error
            meter.bytes += len(body)
            if not is_json:
                raise MalformedPayload(f"{self.name} must answer JSON, was {body[:100]!r}")
            return answer

        return self._retry.run(attempt)


def error_of(name: str, error: Exception) -> SourceError:
    """The SourceError that one of ccxt's means."""
    said = f"{name}: {type(error).__name__} {str(error)[:300]}"
    if isinstance(error, (ccxt.RateLimitExceeded, ccxt.DDoSProtection)):
        return RateLimited(said)
    if isinstance(error, ccxt.NetworkError):
        return SourceUnavailable(said)
    if isinstance(error, ccxt.BadResponse):
        return MalformedPayload(said)
    return SourceRejected(said)


def contract_size(market: Mapping[str, Any]) -> float:
    """How much of the base currency ccxt's unit of amounts on `market` is: it counts contracts where there are any."""
    return float(market.get("contractSize") or 1.0) if market.get("contract") else 1.0


def moved(urls: Any, scheme: Literal["http", "ws"], base: str) -> Any:  # noqa: ANN401 - ccxt nests addresses as it likes
    """`urls` of ccxt's with scheme and host of those of `scheme`, with or without TLS, replaced by `base`."""
    if isinstance(urls, dict):
        return {name: moved(url, scheme, base) for name, url in urls.items()}
    return re.sub(rf"^{scheme}s?://[^/]+", lambda _: base.rstrip("/"), urls) if isinstance(urls, str) else urls


def _bars(rows: object, query: Query, unit: float) -> pl.DataFrame:
    texts = table(rows, _BAR_COLUMNS, query.source)
    opened = instant(number("open_time").cast(pl.Int64, strict=False), "ms").alias("open_time")
    prices, volume = map(number, _BAR_COLUMNS[1:-1]), number("volume") * unit
    return bar_frame(texts.select(opened, *prices, volume), query)


def _trades(rows: object, query: Query, unit: float) -> pl.DataFrame:
    if not isinstance(rows, list):
        raise MalformedPayload(f"{query.source} must give a list of trades, was {repr(rows)[:100]}")
    texts = table([[row.get(key) for key in _TRADE_KEYS] for row in rows], _TRADE_KEYS, query.source)
    side = pl.when(pl.col("side").is_in(["buy", "sell"])).then("side").alias("taker_side")
    return trade_frame(
        texts.select(
            instant(whole("timestamp"), "ms").alias("ts_event"),
            pl.col("id").alias("trade_id"),
            number("price"),
            (number("amount") * unit).alias("size"),
            side,
            pl.lit(1, pl.Int64).alias("trade_count"),
        ),
        query,
    )
