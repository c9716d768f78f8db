"""What was published and may not be stored yet: the bounded tails `md:log:*` of Redis in, events out."""

import datetime as dt
from collections.abc import Iterator
from typing import Any, cast

import polars as pl
import redis

from md_platform.domain.bars import vwap
from md_platform.domain.events import Bar, Trade
from md_platform.domain.intervals import Timeframe
from md_platform.domain.schemas import BAR_COLUMNS, CLEANED_BARS, CLEANED_TRADES, INSTANT
from md_platform.domain.wire import Published, decode

_CLOCKS_AGREE = dt.timedelta(minutes=1)
"""Tails are cut by the time of Redis, bars and trades by the venue's."""

_NS = pl.Datetime("ns", "UTC")


class Tail:
    """Reads the tails on `client`. redis.RedisError where it does not answer: what is stored is then all there is."""

    def __init__(self, client: "redis.Redis") -> None:
        self._client = client

    def bars(self, instrument: str, timeframe: Timeframe, since: dt.datetime) -> pl.DataFrame:
        """The last that was said of each bar and source since then, closed or running, as BAR_COLUMNS."""
        said = self._events(f"bars:{instrument}:{timeframe}", since)
        latest = {(bar.open_time, bar.source): bar for bar in said if isinstance(bar, Bar)}
        return bar_frame(list(latest.values()))

    def trades(self, instrument: str, since: dt.datetime) -> list[Trade]:
        """Trades that were published since then, as they came."""
        return [trade for trade in self._events(f"trades:{instrument}", since) if isinstance(trade, Trade)]

    def _events(self, channel: str, since: dt.datetime) -> Iterator[Published]:
        since_ms = max(int((since - _CLOCKS_AGREE).timestamp() * 1_000), 0)
        entries = cast("list[tuple[bytes, dict[bytes, bytes]]]", self._client.xrange(f"md:log:{channel}", since_ms))
        for _, fields in entries:
            yield from decode(fields[b"m"])


def bar_frame(bars: list[Bar]) -> pl.DataFrame:
    """Bars as BAR_COLUMNS, in order of time."""
    names = Bar.__struct_fields__
    columns: dict[str, list[Any]] = {name: [getattr(bar, name) for bar in bars] for name in names}
    types = {
        name: pl.Int64() if dtype == INSTANT else dtype for name, dtype in CLEANED_BARS.schema.items() if name in names
    }
    times = [name for name, dtype in CLEANED_BARS.schema.items() if dtype == INSTANT]
    return (
        pl.DataFrame(columns, schema=types)
        .with_columns(pl.col(times).cast(_NS).cast(INSTANT), vwap())
        .select(column.name for column in BAR_COLUMNS)
        .sort("open_time")
    )


def trade_frame(trades: list[Trade], source: str) -> pl.DataFrame:
    """Trades as TRADE_COLUMNS."""
    columns = {
        "instrument": [trade.instrument for trade in trades],
        "ts_event": pl.Series([trade.ts_event for trade in trades], dtype=pl.Int64).cast(_NS).cast(INSTANT),
        "ts_received": pl.Series([trade.ts_received for trade in trades], dtype=pl.Int64).cast(_NS).cast(INSTANT),
        "trade_id": [str(trade.trade_id) for trade in trades],
        "price": [trade.price for trade in trades],
        "size": [trade.size for trade in trades],
        "taker_side": [trade.taker_side for trade in trades],
        "trade_count": [trade.trade_count for trade in trades],
        "source": [source] * len(trades),
    }
    return pl.DataFrame(columns, schema=CLEANED_TRADES.schema)
