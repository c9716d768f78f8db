"""Rows of the live store in, frames out: what was stored of an instrument or a venue in an interval.

Read through ADBC, whose rows never become Python objects. Long history is read from the lake, not here.
"""

import contextlib
import datetime as dt
from typing import Any, Self

import adbc_driver_manager
import polars as pl
from adbc_driver_postgresql import dbapi
from opentelemetry import trace

from md_platform.domain.bars import vwap
from md_platform.domain.intervals import Interval, Timeframe
from md_platform.domain.schemas import BAR_COLUMNS, INSTANT, TRADE_COLUMNS, Column
from md_platform.errors import InvalidTimeframe, StorageError, StorageUnavailable
from md_platform.storage.database import first_line, is_passing

LIVE_TRADE_COLUMNS = (
    *TRADE_COLUMNS,
    Column("ts_event_ns", pl.Int16(), "ns", "nanoseconds of ts_event within its microsecond"),
    Column("ts_received_ns", pl.Int16(), "ns", "nanoseconds of ts_received within its microsecond"),
    Column("sent_late", pl.Boolean(), "", "from before the subscription: sent on subscribing"),
    Column("quality", pl.Float64(), "", "score from 0 to 1"),
)
"""Trades as every dataset has them, and what only the live store knows."""

NOTICE_COLUMNS = (
    Column("at", INSTANT, "UTC", "when it was noticed"),
    Column("kind", pl.String(), "", "what happened: disconnected, gap, repaired, stalled, halted, ..."),
    Column("venue", pl.String(), "", "venue's id"),
    Column("feed", pl.String(), "", "the venue's feed"),
    Column("connection", pl.String(), "", "connection within the feed"),
    Column("cause", pl.String(), "", "why, in words"),
    Column("start", INSTANT, "UTC", "start of what is affected, inclusive; null where unknown", nullable=True),
    Column("end", INSTANT, "UTC", "end of what is affected, exclusive; null while it goes on", nullable=True),
    Column("channels", pl.List(pl.String()), "", "channels affected; empty means all of the connection"),
    Column("instruments", pl.List(pl.String()), "", "instruments affected; empty means all of the connection"),
    Column("first_missing", pl.Int64(), "", "first of the venue's numbers that never came", nullable=True),
    Column("last_missing", pl.Int64(), "", "last of them", nullable=True),
)
"""What happened to feeds."""

FOREVER = dt.datetime.max.replace(tzinfo=dt.UTC)

ROLLED = (Timeframe.M1, Timeframe.H1, Timeframe.D1)
"""Timeframes that the database itself rolls up from bars of a minute."""


_tracer = trace.get_tracer(__name__)


class LiveReader:
    """Reads the live store in the database at `url`, for one thread. Frames are sorted by time; empty where none is.

    StorageUnavailable (retryable) where the database does not answer; the next call connects again.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._connection: Any = None

    def close(self) -> None:
        """Close the connection; a later call opens another."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(adbc_driver_manager.Error):
                connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def trades(self, instrument: str, interval: Interval) -> pl.DataFrame:
        """Trades whose ts_event lies in `interval`, as LIVE_TRADE_COLUMNS: by time, then by id."""
        found = self._frame(_TRADES, (instrument, interval.start, interval.end))
        return _as(found.with_columns(instrument=pl.lit(instrument)), LIVE_TRADE_COLUMNS)

    def bars(
        self, instrument: str, timeframe: Timeframe, interval: Interval, as_of: dt.datetime = FOREVER
    ) -> pl.DataFrame:
        """Latest revision of each bar that opens in `interval`, of every source, as BAR_COLUMNS.

        With `as_of` the latest of those that were known then.
        """
        found = self._frame(_BARS, (instrument, timeframe.value, interval.start, interval.end, as_of))
        return _as(_named(found, instrument, timeframe), BAR_COLUMNS)

    def rolled_bars(self, instrument: str, timeframe: Timeframe, interval: Interval) -> pl.DataFrame:
        """Bars of 1m, 1h or 1d that the database rolled up from bars of a minute, of every source, as BAR_COLUMNS.

        A bar is closed when all in it are and its period is over.
        """
        if timeframe not in ROLLED:
            raise InvalidTimeframe(f"the database rolls up {' '.join(ROLLED)}, was {timeframe}")
        found = self._frame(_ROLLED, (instrument, timeframe.value, interval.start, interval.end))
        return _as(_named(found, instrument, timeframe), BAR_COLUMNS)

    def rolls_up_ahead(self) -> bool:
        """Whether rolled bars are kept, by TimescaleDB's continuous aggregates, or computed at each read."""
        return not self._frame(_AHEAD, ()).is_empty()

    def traded(self, interval: Interval) -> list[str]:
        """Instruments of which a trade was stored with its ts_event in `interval`, in order of registration."""
        return self._frame(_TRADED, (interval.start, interval.end))["id"].to_list()

    def notices(self, interval: Interval, venue: str | None = None) -> pl.DataFrame:
        """What happened to the feeds of `venue` (None: of all) and was noticed in `interval`, as NOTICE_COLUMNS."""
        return _as(self._frame(_NOTICES, (interval.start, interval.end, venue or "")), NOTICE_COLUMNS)

    def _frame(self, query: str, values: tuple[Any, ...]) -> pl.DataFrame:
        try:
            if self._connection is None:
                self._connection = dbapi.connect(self._url, autocommit=True)
            with _tracer.start_as_current_span("live store query"), self._connection.cursor() as cursor:
                cursor.execute(query, values)
                return pl.DataFrame(cursor.fetch_arrow_table())
        except adbc_driver_manager.Error as error:
            self.close()
            raise _storage_error(error) from None
        except OSError as error:  # Arrow's, for what breaks off while rows are read
            self.close()
            raise StorageUnavailable(f"the database broke off: {first_line(error)}") from None


def _storage_error(error: adbc_driver_manager.Error) -> StorageError:
    first = first_line(error)
    state = error.sqlstate or ""
    if isinstance(error, adbc_driver_manager.OperationalError) and is_passing(error.sqlstate):
        return StorageUnavailable(f"the database does not answer: {first}")
    if state in ("42P01", "42703", "3F000"):
        return StorageError(f"the database lacks tables of this version, run `mdp migrate`: {first}")
    return StorageError(f"the database refused: {first}")


def _named(found: pl.DataFrame, instrument: str, timeframe: Timeframe) -> pl.DataFrame:
    return found.with_columns(vwap(), instrument=pl.lit(instrument), timeframe=pl.lit(timeframe.value))


def _as(frame: pl.DataFrame, columns: tuple[Column, ...]) -> pl.DataFrame:
    return frame.select(pl.col(column.name).cast(column.dtype) for column in columns)


_TRADES = """
SELECT ts_event, ts_received, CASE WHEN trade_key = '' THEN trade_id::text ELSE trade_key END AS trade_id, price, size,
       CASE taker_side WHEN 1 THEN 'buy' WHEN -1 THEN 'sell' END AS taker_side, trade_count::bigint AS trade_count,
       sources.name AS source, ts_event_ns, ts_received_ns, sent_late, quality
FROM md.trades JOIN md.sources USING (source_id)
WHERE instrument_id = (SELECT instrument_id FROM md.instruments WHERE id = $1) AND ts_event >= $2 AND ts_event < $3
ORDER BY ts_event, ts_event_ns, trades.trade_id, trade_key
"""

_AHEAD = "SELECT number FROM md.migrations WHERE variant = 'timescale' LIMIT 1"

_TRADED = """
SELECT id FROM md.instruments
WHERE EXISTS (
    SELECT FROM md.trades
    WHERE trades.instrument_id = instruments.instrument_id AND ts_event >= $1 AND ts_event < $2
)
ORDER BY instrument_id
"""

_BARS = """
SELECT DISTINCT ON (open_time, name)
       open_time, close_time, open, high, low, close, volume, quote_volume, trade_count, taker_buy_volume,
       taker_buy_quote_volume, is_closed, sources.name AS source, revision, known_at
FROM md.bars JOIN md.sources USING (source_id)
WHERE instrument_id = (SELECT instrument_id FROM md.instruments WHERE id = $1) AND timeframe = $2
  AND open_time >= $3 AND open_time < $4 AND known_at <= $5
ORDER BY open_time, name, revision DESC
"""

_ROLLED = """
SELECT open_time, close_time, open, high, low, close, volume, quote_volume, trade_count, taker_buy_volume,
       taker_buy_quote_volume, is_closed, source, revision, known_at
FROM md.rolled_bars
WHERE instrument_id = (SELECT instrument_id FROM md.instruments WHERE id = $1) AND timeframe = $2
  AND open_time >= $3 AND open_time < $4
ORDER BY open_time, source
"""

_NOTICES = """
SELECT at, kind, venue, feed, connection, cause, affected_from AS start, affected_to AS "end", channels, instruments,
       first_missing, last_missing
FROM md.venue_events
WHERE at >= $1 AND at < $2 AND ($3 = '' OR venue = $3)
ORDER BY at, at_ns
"""
