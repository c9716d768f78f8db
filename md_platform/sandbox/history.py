"""The simulation as a venue's database: trades by time or id, bars from those trades, never past `now`.

REST answers and live messages are both read from here, so what was streamed is what history says.
"""

import datetime as dt
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import polars as pl

from md_platform.domain.bars import bars_from_trades, roll_up
from md_platform.domain.intervals import UTC, Timeframe
from md_platform.domain.schemas import INSTANT
from md_platform.sandbox.book import Books
from md_platform.sandbox.listings import Listing
from md_platform.sandbox.prices import HOUR_US, START_HOUR
from md_platform.sandbox.simulation import Fills, Halt, Hour, Simulation, joined

MINUTE_US = 60_000_000
DAY_US = 24 * HOUR_US
START_US = START_HOUR * HOUR_US
_STATS_US = 10_000_000
_CHUNK_US = {Timeframe.S1: HOUR_US, Timeframe.M1: DAY_US, Timeframe.H1: 7 * DAY_US}
"""How much is aggregated at once, and kept, for each timeframe that is built from trades directly."""


class Trade(NamedTuple):
    """One fill. `is_buy`: the aggressor bought."""

    id: int
    aggregate_id: int
    time_us: int
    price_ticks: int
    lots: int
    is_buy: bool


class Aggregate(NamedTuple):
    """Fills of one taker order at one price."""

    id: int
    first_id: int
    last_id: int
    time_us: int
    price_ticks: int
    lots: int
    is_buy: bool


class Bar(NamedTuple):
    """A bar with its prices in quote units. A bar without trades has 0 trades and the previous close everywhere."""

    open_us: int
    close_us: int
    open: float
    high: float
    low: float
    close: float
    volume: float
    quote_volume: float
    trades: int
    buy_volume: float
    buy_quote_volume: float


class DayStats(NamedTuple):
    """The last 24 hours, to the minute at their far end."""

    bar: Bar
    previous_close: float
    first_id: int
    last_id: int


class History:
    """What the venue would answer at `now_us`; every interval is `[start_us, end_us)`."""

    def __init__(self, simulation: Simulation) -> None:
        self.simulation = simulation
        self.books = Books(simulation)
        self._chunk_bars = lru_cache(4_096)(self._make_chunk_bars)
        self._recent_stats = lru_cache(256)(self._make_stats)

    def set_halts(self, halts: tuple[Halt, ...]) -> None:
        """Replace the halts and forget what was computed under the old ones."""
        self.simulation.set_halts(halts)
        self._chunk_bars.cache_clear()
        self._recent_stats.cache_clear()

    def trades(self, listing: Listing, start_us: int, end_us: int, limit: int | None = None) -> list[Trade]:
        """Fills in the interval, oldest first, the first `limit` of them."""
        found: list[Trade] = []
        for hour, low, high in self._slices(listing, start_us, end_us):
            room = high if limit is None else min(high, low + limit - len(found))
            found.extend(_fills(hour, low, room))
            if limit is not None and len(found) >= limit:
                break
        return found

    def trades_from(self, listing: Listing, trade_id: int, limit: int, now_us: int) -> list[Trade]:
        """Fills from id `trade_id` on, up to now."""
        hour = self._hour_holding(listing, trade_id, now_us, aggregate=False)
        start = self.simulation.hour(listing, hour)
        skip = max(0, trade_id - start.first_trade_id)
        found = self.trades(listing, hour * HOUR_US, now_us, skip + limit)
        return found[skip:]

    def last_trades(self, listing: Listing, limit: int, end_us: int) -> list[Trade]:
        """The last `limit` fills before `end_us`, oldest first."""
        found: list[Trade] = []
        for index in range(end_us // HOUR_US, START_HOUR - 1, -1):
            hour = self.simulation.hour(listing, index)
            high = int(np.searchsorted(hour.fills.time_us, end_us))
            found = _fills(hour, max(0, high - limit + len(found)), high) + found
            if len(found) >= limit:
                break
        return found

    def aggregates(self, listing: Listing, start_us: int, end_us: int, limit: int | None = None) -> list[Aggregate]:
        """Aggregates in the interval, oldest first, the first `limit` of them."""
        found: list[Aggregate] = []
        for hour, low, high in self._slices(listing, start_us, end_us):
            found.extend(_aggregated(hour, low, high, None if limit is None else limit - len(found)))
            if limit is not None and len(found) >= limit:
                break
        return found

    def aggregates_from(self, listing: Listing, aggregate_id: int, limit: int, now_us: int) -> list[Aggregate]:
        """Aggregates from id `aggregate_id` on, up to now."""
        hour = self._hour_holding(listing, aggregate_id, now_us, aggregate=True)
        skip = max(0, aggregate_id - self.simulation.hour(listing, hour).first_aggregate_id)
        return self.aggregates(listing, hour * HOUR_US, now_us, skip + limit)[skip:]

    def last_aggregates(self, listing: Listing, limit: int, end_us: int) -> list[Aggregate]:
        """The last `limit` aggregates before `end_us`, oldest first."""
        found: list[Aggregate] = []
        for index in range(end_us // HOUR_US, START_HOUR - 1, -1):
            hour = self.simulation.hour(listing, index)
            high = int(np.searchsorted(hour.fills.time_us, end_us))
            found = _aggregated(hour, 0, high, None)[-(limit - len(found)) :] + found
            if len(found) >= limit:
                break
        return found

    def bars(self, listing: Listing, timeframe: Timeframe, start_us: int, end_us: int, now_us: int) -> list[Bar]:
        """Bars that open in the interval and have begun by now, oldest first; buckets without trades yield none.

        The last one may still run: it holds the trades before `now_us`.
        """
        opens = _open_us(timeframe, max(start_us, START_US))
        until_us = min(_close_us(timeframe, _open_us(timeframe, end_us - 1)), now_us)
        if until_us <= opens:
            return []
        base = _base_of(timeframe)
        length = _CHUNK_US[base]
        complete = now_us // length
        chunks = [
            self._chunk_bars(listing, number, base)
            for number in range(opens // length, min((until_us - 1) // length + 1, complete))
        ]
        if until_us > complete * length:
            chunks.append(self._running_bars(listing, max(opens, complete * length), until_us, base))
        frame = pl.concat(chunks)
        if timeframe is not base:
            frame = roll_up(frame.lazy(), timeframe, _instant(now_us)).collect()
        bars = [_bar(listing, row) for row in frame.select(_BAR_FIELDS).iter_rows()]
        return [bar for bar in bars if start_us <= bar.open_us < min(end_us, now_us)]

    @staticmethod
    def after_buckets(timeframe: Timeframe, start_us: int, count: int) -> int:
        """Exclusive end of the `count` buckets that open at or after `start_us`."""
        opens = _open_us(timeframe, max(start_us, START_US))
        if opens < max(start_us, START_US):
            opens = _close_us(timeframe, opens)
        if timeframe.seconds:
            return opens + count * timeframe.seconds * 1_000_000
        for _ in range(count):
            opens = _close_us(timeframe, opens)
        return opens

    @staticmethod
    def before_buckets(timeframe: Timeframe, end_us: int, count: int) -> int:
        """Open time of the first of the last `count` buckets that open before `end_us`."""
        opens = _open_us(timeframe, end_us - 1)
        if timeframe.seconds:
            return max(START_US, opens - (count - 1) * timeframe.seconds * 1_000_000)
        for _ in range(count - 1):
            opens = _open_us(timeframe, opens - 1)
        return max(START_US, opens)

    def filled_bars(self, listing: Listing, timeframe: Timeframe, start_us: int, end_us: int, now_us: int) -> list[Bar]:
        """The same with a bar for every bucket: those without trades carry the previous close and no volume."""
        bars = self.bars(listing, timeframe, start_us, end_us, now_us)
        traded = {bar.open_us: bar for bar in bars}
        opens = _open_us(timeframe, max(start_us, START_US))
        if opens < max(start_us, START_US):
            opens = _close_us(timeframe, opens)
        close: float | None = None
        filled: list[Bar] = []
        while opens < min(end_us, now_us):
            closes = _close_us(timeframe, opens)
            bar = traded.get(opens)
            if bar is None:
                if close is None:
                    close = self.last_price(listing, opens)
                bar = Bar(opens, closes, close, close, close, close, 0.0, 0.0, 0, 0.0, 0.0)
            filled.append(bar)
            close, opens = bar.close, closes
        return filled

    def last_price(self, listing: Listing, end_us: int) -> float:
        """Price of the last fill before `end_us`."""
        last = self.last_trades(listing, 1, end_us)
        return listing.price(last[0].price_ticks) if last else listing.reference_price

    def day_stats(self, listing: Listing, now_us: int) -> DayStats:
        """Rolling 24 hours up to now, brought forward every ten simulated seconds."""
        return self._recent_stats(listing, now_us // _STATS_US * _STATS_US)

    def _make_stats(self, listing: Listing, now_us: int) -> DayStats:
        start_us = (now_us - DAY_US) // MINUTE_US * MINUTE_US
        bars = self.bars(listing, Timeframe.M1, start_us, now_us, now_us)
        previous = self.last_price(listing, start_us)
        first_id, last_id = self.id_at(listing, start_us), self.id_at(listing, now_us) - 1
        if not bars:
            return DayStats(Bar(start_us, now_us, *(previous,) * 4, 0.0, 0.0, 0, 0.0, 0.0), previous, -1, -1)
        day = (
            start_us,
            now_us,
            bars[0].open,
            max(b.high for b in bars),
            min(b.low for b in bars),
            bars[-1].close,
            sum(b.volume for b in bars),
            sum(b.quote_volume for b in bars),
            sum(b.trades for b in bars),
            sum(b.buy_volume for b in bars),
            sum(b.buy_quote_volume for b in bars),
        )
        return DayStats(_bar(listing, day), previous, first_id, last_id)

    def id_at(self, listing: Listing, time_us: int) -> int:
        """Id of the first fill at or after `time_us`."""
        hour = self.simulation.hour(listing, time_us // HOUR_US)
        return hour.first_trade_id + int(np.searchsorted(hour.fills.time_us, time_us))

    def _slices(self, listing: Listing, start_us: int, end_us: int) -> Iterator[tuple[Hour, int, int]]:
        start_us = max(start_us, START_US)
        for index in range(start_us // HOUR_US, (end_us - 1) // HOUR_US + 1):
            hour = self.simulation.hour(listing, index)
            low, high = np.searchsorted(hour.fills.time_us, (start_us, end_us))
            if low < high:
                yield hour, int(low), int(high)

    def _hour_holding(self, listing: Listing, wanted: int, now_us: int, *, aggregate: bool) -> int:
        """The hour whose ids include `wanted`: by bisection, as the ids before any hour have a closed form."""
        low, high = START_HOUR, now_us // HOUR_US
        while low < high:
            middle = (low + high + 1) // 2
            if self.simulation.ids_before(listing, middle)[aggregate] <= wanted:
                low = middle
            else:
                high = middle - 1
        return low

    def _make_chunk_bars(self, listing: Listing, number: int, base: Timeframe) -> pl.DataFrame:
        length = _CHUNK_US[base]
        first, end = max(START_HOUR, number * length // HOUR_US), (number + 1) * length // HOUR_US
        fills = self.simulation.fills(listing, first, end - first)
        frame = trade_frame(listing, fills)
        return bars_from_trades(frame, base, _instant((number + 1) * length)).collect()

    def _running_bars(self, listing: Listing, start_us: int, end_us: int, base: Timeframe) -> pl.DataFrame:
        parts = [hour.fills.part(low, high) for hour, low, high in self._slices(listing, start_us, end_us)]
        fills = joined(parts)
        return bars_from_trades(trade_frame(listing, fills), base, _instant(end_us)).collect()


def trade_frame(listing: Listing, fills: Fills) -> pl.LazyFrame:
    """Fills as the platform's own trade columns (without ids)."""
    columns = {  # divided by numpy: polars multiplies by the reciprocal, which is not the same price
        "time_us": fills.time_us,
        "price": fills.price / 10**listing.tick_decimals,
        "size": fills.size / 10**listing.lot_decimals,
        "is_buy": fills.is_buy,
    }
    return pl.LazyFrame(columns).select(
        pl.from_epoch("time_us", "us").cast(INSTANT).alias("ts_event"),
        pl.from_epoch("time_us", "us").cast(INSTANT).alias("ts_received"),
        "price",
        "size",
        taker_side=pl.when("is_buy").then(pl.lit("buy")).otherwise(pl.lit("sell")),
        trade_count=pl.lit(1, pl.Int64),
        instrument=pl.lit(listing.name),
        source=pl.lit("sandbox"),
    )


_BAR_FIELDS = [
    pl.col("open_time").dt.epoch("us"),
    pl.col("close_time").dt.epoch("us"),
    *(pl.col(name) for name in ("open", "high", "low", "close", "volume", "quote_volume", "trade_count")),
    pl.col("taker_buy_volume"),
    pl.col("taker_buy_quote_volume"),
]


def _bar(listing: Listing, row: tuple[int, int, float, float, float, float, float, float, int, float, float]) -> Bar:
    """Sums rounded to the digits that they exactly have, which removes the noise of adding floats."""
    opens, closes, open_, high, low, close, volume, quote, count, buy, buy_quote = row
    lots, value = listing.lot_decimals, listing.lot_decimals + listing.tick_decimals
    return Bar(
        opens, closes, open_, high, low, close,
        round(volume, lots), round(quote, value), count, round(buy, lots), round(buy_quote, value),
    )  # fmt: skip


def _base_of(timeframe: Timeframe) -> Timeframe:
    """The timeframe that is built from trades directly, from which `timeframe` rolls up."""
    if timeframe is Timeframe.S1:
        return Timeframe.S1
    seconds = timeframe.seconds
    return Timeframe.H1 if seconds is None or seconds >= HOUR_US // 1_000_000 else Timeframe.M1


def _instant(time_us: int) -> dt.datetime:
    return dt.datetime(1970, 1, 1, tzinfo=UTC) + dt.timedelta(microseconds=time_us)


def _open_us(timeframe: Timeframe, time_us: int) -> int:
    return _epoch_us(timeframe.open_time(_instant(time_us)))


def _close_us(timeframe: Timeframe, open_us: int) -> int:
    return _epoch_us(timeframe.close_time(_instant(open_us)))


def _epoch_us(instant: dt.datetime) -> int:
    return (instant - dt.datetime(1970, 1, 1, tzinfo=UTC)) // dt.timedelta(microseconds=1)


def open_of(timeframe: Timeframe, time_us: int) -> int:
    """Open time of the bar that holds `time_us`."""
    return _open_us(timeframe, time_us)


def close_of(timeframe: Timeframe, open_us: int) -> int:
    """Exclusive end of the bar that opens at `open_us`."""
    return _close_us(timeframe, open_us)


def _fills(hour: Hour, low: int, high: int) -> list[Trade]:
    part = slice(low, high)
    first = hour.first_trade_id
    return [
        Trade(trade_id, aggregate, time_us, price, lots, is_buy)
        for trade_id, aggregate, time_us, price, lots, is_buy in zip(
            range(first + low, first + high),
            (hour.fills.aggregate[part] + hour.first_aggregate_id).tolist(),
            hour.fills.time_us[part].tolist(),
            hour.fills.price[part].tolist(),
            hour.fills.size[part].tolist(),
            hour.fills.is_buy[part].tolist(),
            strict=True,
        )
    ]


def _aggregated(hour: Hour, low: int, high: int, limit: int | None) -> list[Aggregate]:
    """Aggregates of the fills `[low, high)`, which begin and end at whole aggregates as these share an instant."""
    if low >= high:
        return []
    starts = low + np.flatnonzero(np.diff(hour.fills.aggregate[low:high], prepend=-1))
    ends = np.append(starts[1:], high)[:limit]
    starts = starts[:limit]
    lots = np.add.reduceat(hour.fills.size[:high], starts)[: len(starts)] if len(starts) else starts
    if limit is not None and len(starts) and ends[-1] < high:
        lots[-1] = hour.fills.size[starts[-1] : ends[-1]].sum()
    return [
        Aggregate(aggregate_id, first, last - 1, time_us, price, size, is_buy)
        for aggregate_id, first, last, time_us, price, size, is_buy in zip(
            (hour.fills.aggregate[starts] + hour.first_aggregate_id).tolist(),
            (starts + hour.first_trade_id).tolist(),
            (ends + hour.first_trade_id).tolist(),
            hour.fills.time_us[starts].tolist(),
            hour.fills.price[starts].tolist(),
            lots.tolist(),
            hour.fills.is_buy[starts].tolist(),
            strict=True,
        )
    ]
