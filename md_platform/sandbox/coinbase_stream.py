"""Coinbase Advanced Trade's WebSocket: subscriptions and spans of time in, the venue's exact messages out.

Every message of a connection, whatever its channel, takes the connection's next `sequence_num`.
"""

import datetime as dt
from collections import defaultdict
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import msgspec

from md_platform.domain.intervals import UTC, Timeframe
from md_platform.sandbox.book import step_at
from md_platform.sandbox.coinbase import candle_row, plain, product_of, rfc3339, trade_row
from md_platform.sandbox.history import Bar, History
from md_platform.sandbox.listings import Listing
from md_platform.sandbox.live import SECOND_US, Frame, Tick, boundaries, changed_steps, running_bar, traded_seconds
from md_platform.sandbox.prices import HOUR_US, STEP_US
from md_platform.sandbox.rest import Distortion, Json, undistorted

_BATCH_US = 50_000
"""Trades are gathered for 50 ms."""
_SNAPSHOT_TRADES = 100
_SNAPSHOT_CANDLES = 100
_YEAR_HOURS = 8_736
_CHANNELS = {
    "market_trades": "trades",
    "level2": "book",
    "ticker": "ticker",
    "ticker_batch": "ticker",
    "candles": "bars",
}
_SAID_AS = {"level2": "l2_data"}


class CoinbaseStreams:
    """Every channel's events, rendered once however many connections carry them."""

    def __init__(self, history: History, distort: Distortion = undistorted) -> None:
        self._history = history
        self._distort = distort
        listed = [listing for listing in history.simulation.listings.values() if listing.venue == "coinbase"]
        self.products = {product_of(listing): listing for listing in listed}
        self.ticks = lru_cache(512)(self._make_ticks)
        self._year = lru_cache(64)(self._make_year)

    def snapshot(self, channel: str, product: str, now_us: int) -> str | None:
        """The event that a subscription begins with; None where the channel has none."""
        listing = self.products[product]
        match channel:
            case "market_trades":
                trades = self._history.last_trades(listing, _SNAPSHOT_TRADES, now_us)
                rows = [trade_row(listing, trade) for trade in reversed(trades)]
                return _encoded({"type": "snapshot", "trades": rows})
            case "candles":
                start_us = self._history.before_buckets(Timeframe.M5, now_us, _SNAPSHOT_CANDLES)
                bars = self._history.bars(listing, Timeframe.M5, start_us, now_us, now_us)
                return _encoded({"type": "snapshot", "candles": [self._candle(listing, bar, now_us) for bar in bars]})
            case "level2":
                book = self._history.books.at(listing, step_at(now_us))
                return _level2("snapshot", listing, *book, now_us)
            case "ticker" | "ticker_batch":
                return _encoded({"type": "snapshot", "tickers": [self._ticker(listing, now_us)]})
            case _:
                return None

    def _make_ticks(self, channel: str, product: str, since_us: int, now_us: int) -> list[Tick]:
        """The channel's events for one product in `(since_us, now_us]`."""
        return list(getattr(self, f"_{channel}_ticks")(self.products[product], since_us, now_us))

    def _market_trades_ticks(self, listing: Listing, since_us: int, now_us: int) -> Iterator[Tick]:
        for end_us, rows in self._batches(listing, since_us, now_us):
            yield Tick(end_us, _encoded({"type": "update", "trades": rows}))

    def _ticker_ticks(self, listing: Listing, since_us: int, now_us: int) -> Iterator[Tick]:
        for end_us, _ in self._batches(listing, since_us, now_us):
            yield Tick(end_us, _encoded({"type": "update", "tickers": [self._ticker(listing, end_us)]}))

    def _ticker_batch_ticks(self, listing: Listing, since_us: int, now_us: int) -> Iterator[Tick]:
        for end_us in boundaries(since_us, now_us, 5 * SECOND_US):
            yield Tick(end_us, _encoded({"type": "update", "tickers": [self._ticker(listing, end_us)]}))

    def _level2_ticks(self, listing: Listing, since_us: int, now_us: int) -> Iterator[Tick]:
        for before, step in changed_steps(self._history, listing, since_us, now_us):
            changes = self._history.books.changes(listing, before, step)
            yield Tick(step * STEP_US, _level2("update", listing, *changes, step * STEP_US))

    def _candles_ticks(self, listing: Listing, since_us: int, now_us: int) -> Iterator[Tick]:
        for end_us in traded_seconds(self._history, listing, since_us, now_us):
            bar = running_bar(self._history, listing, Timeframe.M5, end_us)
            if bar is not None:
                yield Tick(end_us, _encoded({"type": "update", "candles": [self._candle(listing, bar, end_us)]}))

    def _batches(self, listing: Listing, since_us: int, now_us: int) -> list[tuple[int, list[Json]]]:
        """Trades by the end of their 50 ms, where that lies in `(since_us, now_us]`; newest first in each."""
        ends = boundaries(since_us, now_us, _BATCH_US)
        if not ends:
            return []
        batches: dict[int, list[Json]] = defaultdict(list)
        for trade in self._history.trades(listing, ends[0] - _BATCH_US, ends[-1]):
            batches[trade.time_us // _BATCH_US * _BATCH_US + _BATCH_US].insert(0, trade_row(listing, trade))
        return list(batches.items())

    def _candle(self, listing: Listing, bar: Bar, now_us: int) -> Json:
        row = candle_row(self._distort(listing, "bars", [bar], now_us)[0])
        order = ("start", "high", "low", "open", "close", "volume")
        return {**{name: row[name] for name in order}, "product_id": product_of(listing)}

    def _ticker(self, listing: Listing, now_us: int) -> Json:
        bar = self._history.day_stats(listing, now_us).bar
        price = self._history.last_price(listing, now_us)
        low, high = self._year(listing, now_us // HOUR_US)
        (bid, bid_lots), (ask, ask_lots) = (
            next(iter(side.items())) for side in self._history.books.at(listing, step_at(now_us))
        )
        return {
            "type": "ticker",
            "product_id": product_of(listing),
            "price": plain(price),
            "volume_24_h": plain(bar.volume),
            "low_24_h": plain(min(bar.low, price)),
            "high_24_h": plain(max(bar.high, price)),
            "low_52_w": plain(min(low, bar.low, price), listing.tick_decimals),
            "high_52_w": plain(max(high, bar.high, price), listing.tick_decimals),
            "price_percent_chg_24_h": plain((price / bar.open - 1) * 100, 14),
            "best_bid": plain(listing.price(bid)),
            "best_ask": plain(listing.price(ask)),
            "best_bid_quantity": plain(listing.size(bid_lots)),
            "best_ask_quantity": plain(listing.size(ask_lots)),
        }

    def _make_year(self, listing: Listing, hour: int) -> tuple[float, float]:
        """Low and high of 52 weeks, read at full hours: the extremes between them would take a year of trades."""
        prices = self._history.simulation.paths.hourly(listing, hour - _YEAR_HOURS, _YEAR_HOURS)
        return float(prices.min()), float(prices.max())


class CoinbaseSession:
    """One connection."""

    def __init__(self, streams: CoinbaseStreams) -> None:
        self._streams = streams
        self._since: dict[tuple[str, str], int] = {}
        self._heartbeats_since: int | None = None
        self._sequence = 0

    def open(self, now_us: int) -> list[Frame]:  # noqa: ARG002
        """The venue waits for a subscription."""
        return []

    def receive(self, text: str, now_us: int) -> list[Frame]:
        """Snapshots and the list of subscriptions, or an error."""
        try:
            request: Any = msgspec.json.decode(text)
        except msgspec.DecodeError:
            return [_error("failed to parse message", now_us)]
        if not isinstance(request, dict) or request.get("type") not in ("subscribe", "unsubscribe"):
            return [_error("type must be subscribe or unsubscribe", now_us)]
        channel, products = request.get("channel"), request.get("product_ids") or []
        if channel == "heartbeats":
            self._heartbeats_since = now_us if request["type"] == "subscribe" else None
            return [self._subscriptions(now_us)]
        if channel not in _CHANNELS:
            return [_error(f"channel {channel} is not a valid channel", now_us)]
        unknown = [product for product in products if product not in self._streams.products]
        if unknown:
            return [_error(f"{unknown[0]} is not a valid product", now_us)]
        frames = []
        for product in products or self._streams.products:
            if request["type"] == "unsubscribe":
                self._since.pop((channel, product), None)
            elif (channel, product) not in self._since:
                self._since[channel, product] = now_us
                event = self._streams.snapshot(channel, product, now_us)
                if event is not None:
                    frames.append(self._frame(channel, product, now_us, event))
        return [*frames, self._subscriptions(now_us)]

    def due(self, since_us: int, now_us: int) -> list[Frame]:
        """The subscribed channels' messages and heartbeats in `(since_us, now_us]`."""
        found = [
            (tick.time_us, channel, product, tick.json)
            for (channel, product), from_us in self._since.items()
            for tick in self._streams.ticks(channel, product, max(since_us, from_us), now_us)
        ]
        if self._heartbeats_since is not None:
            beats = boundaries(max(since_us, self._heartbeats_since), now_us, SECOND_US)
            found.extend((time_us, "heartbeats", "", _heartbeat(time_us)) for time_us in beats)
        found.sort(key=lambda item: item[0])
        return [self._frame(channel, product, time_us, event) for time_us, channel, product, event in found]

    def _frame(self, channel: str, product: str, time_us: int, event: str) -> Frame:
        said = _SAID_AS.get(channel, channel)
        text = (
            f'{{"channel":"{said}","timestamp":"{_nanoseconds(time_us)}",'
            f'"sequence_num":{self._sequence},"events":[{event}]}}'
        )
        self._sequence += 1
        return Frame(
            text, _CHANNELS.get(channel, "heartbeat" if channel == "heartbeats" else "reply"), product, time_us
        )

    def _subscriptions(self, now_us: int) -> Frame:
        current: dict[str, list[str]] = defaultdict(list)
        for channel, product in self._since:
            current[channel].append(product)
        if self._heartbeats_since is not None:
            current["heartbeats"] = ["heartbeats"]
        return self._frame("subscriptions", "", now_us, _encoded({"subscriptions": dict(sorted(current.items()))}))


def _level2(kind: str, listing: Listing, bids: dict[int, int], asks: dict[int, int], time_us: int) -> str:
    when = rfc3339(time_us)
    updates = [
        {
            "side": side,
            "event_time": when,
            "price_level": plain(listing.price(price)),
            "new_quantity": plain(listing.size(lots)),
        }
        for side, levels in (("bid", bids), ("offer", asks))
        for price, lots in levels.items()
    ]
    return _encoded({"type": kind, "product_id": product_of(listing), "updates": updates})


def _heartbeat(time_us: int) -> str:
    counter = time_us // SECOND_US % 100_000
    instant = dt.datetime.fromtimestamp(time_us // SECOND_US, UTC)
    nanoseconds = 854_840_045 + counter % 1_000
    current = f"{instant:%Y-%m-%d %H:%M:%S}.{nanoseconds:09d} +0000 UTC m=+{counter}.{260_485_341 + counter:09d}"
    return _encoded({"current_time": current, "heartbeat_counter": counter})


def _nanoseconds(time_us: int) -> str:
    """The gateway's clock: some milliseconds after the event, with up to nine digits."""
    later = time_us + 20_000 + time_us % 7_919
    instant = dt.datetime.fromtimestamp(later // SECOND_US, UTC)
    fraction = f"{later % SECOND_US * 1_000 + time_us % 997:09d}".rstrip("0")
    return f"{instant:%Y-%m-%dT%H:%M:%S}.{fraction or '0'}Z"


def _encoded(event: Json) -> str:
    return msgspec.json.encode(event).decode()


def _error(message: str, now_us: int) -> Frame:
    return Frame(_encoded({"type": "error", "message": message}), "reply", "", now_us)
