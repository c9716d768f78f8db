"""Stored trades, bars and indicators of a range in, one stream of events in the order of a replay's clock out.

Rows are read by windows, so years are played in the memory of one window of each channel. With the market's clock a
trade comes when it happened and a bar when it closed; as known, both come when they were received. Bars come before
trades of the same moment: those belong to the next bar.
"""

import datetime as dt
import heapq
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import polars as pl

from md_platform.catalog.reading import Selection
from md_platform.domain.events import Bar, IndicatorValues, Trade
from md_platform.domain.intervals import UTC, Interval, Timeframe
from md_platform.domain.schemas import INDICATORS
from md_platform.domain.wire import Published, channel_of
from md_platform.errors import InvalidParameter
from md_platform.gateway.names import channel_of as parsed
from md_platform.serving.bars import BarQuery
from md_platform.serving.market import Market
from md_platform.storage.live_events import bars_of, trades_of

_NS = 1_000_000_000
_TRADES_WINDOW_NS = 3_600 * _NS
_BARS_A_WINDOW = 20_000
_MONTH_S = 31 * 86_400
_RANK = {Bar: 0, IndicatorValues: 1, Trade: 2}


class Played(NamedTuple):
    """An event and when it comes. Ordered as they are played."""

    at_ns: int
    rank: int
    number: int
    channel: str
    event: Published


@dataclass(frozen=True, slots=True)
class Track:
    """One channel of a recording: what reads a window of it, how long one is, and how late its events may come."""

    read: Callable[[Interval], Sequence[Published]]
    window_ns: int
    longest_ns: int


class Recording:
    """What `market` has of `instruments`, on `channels` as trades, bars:1m, indicators:1m. For one thread at a time."""

    def __init__(self, market: Market, instruments: Sequence[str], channels: Sequence[str], *, as_known: bool) -> None:
        self._market = market
        self._as_known = as_known
        self._tracks = [self._track(name, instrument) for name in channels for instrument in dict.fromkeys(instruments)]

    def events(self, start_ns: int, end_ns: int) -> Iterator[Played]:
        """All of `[start_ns, end_ns)` on the replay's clock; StorageError."""
        return heapq.merge(*(self._played(track, n, start_ns, end_ns) for n, track in enumerate(self._tracks)))

    def _played(self, track: Track, number: int, start_ns: int, end_ns: int) -> Iterator[Played]:
        """Rows that come late, as bars do by their length, wait for their turn among those of later windows."""
        waiting: list[Played] = []
        window_ns = start_ns - track.longest_ns
        count = 0
        while window_ns < end_ns:
            until_ns = min(window_ns + track.window_ns, end_ns)
            for event in track.read(Interval(_instant(window_ns), _instant(until_ns))):
                at_ns = self._at_ns(event)
                if start_ns <= at_ns < end_ns:
                    count += 1
                    order = count * len(self._tracks) + number  # unique: events themselves have no order
                    waiting.append(Played(at_ns, _RANK[type(event)], order, channel_of(event)[3:], event))
            waiting.sort(key=lambda each: each[:3])
            come = sum(each.at_ns < until_ns for each in waiting)
            yield from waiting[:come]
            waiting = waiting[come:]
            window_ns = until_ns
        yield from waiting

    def _at_ns(self, event: Published) -> int:
        if isinstance(event, Trade):
            return event.ts_received if self._as_known else event.ts_event
        if isinstance(event, Bar):
            return event.known_at if self._as_known else event.close_time
        return event.known_at if isinstance(event, IndicatorValues) else 0

    def _track(self, name: str, instrument: str) -> Track:
        kind, text = parsed(name)
        if kind == "trades" and not text:
            return Track(lambda span: self._trades(instrument, span), _TRADES_WINDOW_NS, 0)
        if kind not in ("bars", "indicators"):
            raise InvalidParameter(f"a replay has trades, bars:TIMEFRAME and indicators:TIMEFRAME, was {name!r}")
        timeframe = Timeframe.parse(text)
        length_ns = (timeframe.seconds or _MONTH_S) * _NS
        window_ns = min(length_ns * _BARS_A_WINDOW, 366 * 86_400 * _NS)
        if kind == "bars":
            return Track(lambda span: self._bars(instrument, timeframe, span), window_ns, length_ns)
        Selection(INDICATORS, instrument, Interval.day(dt.date(2000, 1, 1)), timeframe)  # raises where it has none
        return Track(lambda span: self._indicators(instrument, timeframe, span), window_ns, length_ns)

    def _trades(self, instrument: str, span: Interval) -> Sequence[Trade]:
        return trades_of(self._market.trades.read(instrument, span).rows, instrument)

    def _bars(self, instrument: str, timeframe: Timeframe, span: Interval) -> Sequence[Bar]:
        return bars_of(self._market.bars.read(BarQuery(instrument, timeframe, span)).rows)

    def _indicators(self, instrument: str, timeframe: Timeframe, span: Interval) -> Sequence[IndicatorValues]:
        selection = Selection(INDICATORS, instrument, span, timeframe)
        history = self._market.history
        found: list[IndicatorValues] = []
        for frame in history.frames(selection, history.chunks(selection)):
            keys = frame.select(pl.col("open_time").dt.epoch("us") * 1_000)["open_time"].to_list()
            values = frame.drop("instrument", "timeframe", "open_time").to_dicts()
            for open_ns, row in zip(keys, values, strict=True):
                closed_ns = _ns(timeframe.close_time(_instant(open_ns)))
                outputs = {name: None if value is None or math.isnan(value) else value for name, value in row.items()}
                found.append(IndicatorValues(instrument, timeframe, open_ns, True, closed_ns, outputs))
        return found


def _instant(ns: int) -> dt.datetime:
    return dt.datetime.fromtimestamp(ns // _NS, UTC) + dt.timedelta(microseconds=ns % _NS // 1_000)


def _ns(instant: dt.datetime) -> int:
    return int(instant.timestamp()) * _NS + instant.microsecond * 1_000
