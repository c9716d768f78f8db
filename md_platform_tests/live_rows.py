"""Events for tests of the live side: a few telling values in, events of `md_platform.domain.events` out."""

from typing import Any

from md_platform.domain.events import Bar, Book, FeedNotice, Quarantined, Quote, Trade
from md_platform.domain.intervals import Timeframe

BTC, ETH = "binance:BTC-USDT", "binance:ETH-USDT"
T0 = 1_784_505_600_123_456_789
"""2026-07-20 00:00:00.123456789 UTC."""
MIDNIGHT = T0 - T0 % 1_000_000_000
SECOND, MINUTE, DAY = 1_000_000_000, 60_000_000_000, 86_400_000_000_000


def trade(number: int, trade_id: int | str | None = None, **given: Any) -> Trade:
    return Trade(
        **{
            "instrument": BTC,
            "ts_event": T0 + number * 1_000_001,
            "ts_received": T0 + number * 1_000_001 + 5_000_037,
            "trade_id": 7_000_000_000 + number if trade_id is None else trade_id,
            "price": 100.1 + number,
            "size": 0.1,
            "taker_side": ("buy", "sell", None)[number % 3],
        }
        | given
    )


def quote(number: int, **given: Any) -> Quote:
    at = T0 + number * 1_000
    return Quote(**{"instrument": BTC, "ts_event": at, "ts_received": at + 999, "bid": 1.1, "bid_size": 2.2, "ask": 1.3,
                    "ask_size": 0.0, "sequence": number} | given)  # fmt: skip


def book(number: int, levels: int = 3, **given: Any) -> Book:
    bids = [(100.1 - n, 1.5 * n) for n in range(levels)]
    asks = [(100.3 + n, 0.1 * n) for n in range(levels)]
    return Book(**{"instrument": BTC, "ts_event": T0 + number, "ts_received": T0 + number + 1, "bids": bids,
                   "asks": asks, "sequence": number} | given)  # fmt: skip


def bar(number: int, timeframe: str = "1m", **given: Any) -> Bar:
    length = (Timeframe(timeframe).seconds or 30 * 86_400) * SECOND
    opened = MIDNIGHT + number * length
    return Bar(
        **{
            "instrument": BTC,
            "timeframe": timeframe,
            "open_time": opened,
            "close_time": opened + length,
            "open": 10.1,
            "high": 12.5,
            "low": 9.9,
            "close": 11.7,
            "volume": 4.4,
            "quote_volume": 47.3,
            "trade_count": 12,
            "taker_buy_volume": 1.1,
            "taker_buy_quote_volume": 11.9,
            "is_closed": True,
            "source": "trades",
            "revision": 0,
            "known_at": opened + length + 123_456_789,
        }
        | given
    )


def notice(number: int, **given: Any) -> FeedNotice:
    return FeedNotice(
        **{"kind": "gap", "venue": "binance", "feed": "spot", "connection": "1", "at": T0 + number} | given
    )


def reject(number: int, **given: Any) -> Quarantined:
    return Quarantined(**{"venue": "binance", "feed": "spot", "ts_received": T0 + number, "reason": "price_positive: 0.0",
                          "message": b'{"p":"0"}\x00\xff'} | given)  # fmt: skip
