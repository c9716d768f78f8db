"""Binance's live parser against real captures: trades, candles and books as others counted them."""

from collections import Counter
from typing import Any

import pytest

from md_platform.domain.instruments import Instrument
from md_platform.venues import binance_feed, binance_futures_feed
from md_platform.venues.feeds import Feed
from md_platform_tests.venues.replay import (
    SHARED,
    Replayed,
    capture,
    facts,
    final_books,
    hftbacktest,
    replay,
    rows,
)

pytestmark = pytest.mark.skipif(not SHARED.exists(), reason="captures are not here (../shared/data)")

CAPTURES = {
    "BINANCE_20210404T200310": binance_feed.SPOT,
    "BINANCE_20210814T144634": binance_feed.SPOT,
    "BINANCE_20211012T002831": binance_feed.SPOT,
    "BINANCE_US_20210814T144513": binance_feed.SPOT,
    "BINANCE_FUTURES_20210722T222540": binance_futures_feed.USDM,
    "BINANCE_DELIVERY_20210722T011322": binance_futures_feed.COINM,
}
DEPTH_RECORDINGS = {
    "spot/btcusdt_20240808": binance_feed.SPOT,
    "usdm/ethusdt_20240808": binance_futures_feed.USDM,
    "cm/ethusd_perp_20240808": binance_futures_feed.COINM,
}


def instrument(symbol: str) -> Instrument:
    return Instrument("binance", symbol, "X", symbol)


def links(feed: Feed, out: Replayed) -> int:
    """How many updates follow the one before, by the feed's own rule."""
    assert feed.book.follows is not None
    last: dict[str, int] = {}
    count = 0
    for update in out.updates:
        if not update.is_snapshot and update.sequence is not None:
            if update.instrument in last:
                count += feed.book.follows(last[update.instrument], update)
            last[update.instrument] = update.sequence
    return count


def replayed(name: str, feed: Feed) -> Replayed:
    symbols = set(final_books(name))
    return replay(feed, capture(name), [instrument(symbol) for symbol in sorted(symbols)])


@pytest.mark.parametrize(("name", "feed"), CAPTURES.items())
def test_a_capture_gives_the_trades_candles_and_books_that_others_counted(name: str, feed: Feed) -> None:
    out = replayed(name, feed)

    known = facts(name)
    assert out.kinds == {}
    assert Counter(trade.instrument.removeprefix("binance:").removesuffix("-X") for trade in out.trades) == Counter(
        known["live_trades_by_symbol"]
    )
    expected = rows(f"{name}.trades")
    assert [(str(t.trade_id), t.price, t.size, t.taker_side, t.ts_event // 1_000_000) for t in out.trades] == [
        (r["trade_id"], float(r["price"]), float(r["amount"]), r["taker_side"], int(r["exchange_ts_ms"]))
        for r in expected
    ]
    assert len(out.bars) == known["candle_updates"]
    assert out.outcomes["gap"] == 0
    assert links(feed, out) == known["sequence"]["depth_ok"]
    assert_books(out, final_books(name))


@pytest.mark.parametrize(("name", "feed"), DEPTH_RECORDINGS.items())
def test_minutes_of_deep_books_end_as_others_left_them(name: str, feed: Feed) -> None:
    books = final_books(f"hftbacktest/{name}")
    out = replay(feed, hftbacktest(name), [instrument(symbol) for symbol in books])

    assert out.kinds == {}
    assert out.outcomes["gap"] == 0
    assert len(out.updates) == sum(book["events_total"] for book in books.values()) + 1
    assert_books(out, books)


def assert_books(out: Replayed, books: dict[str, Any]) -> None:
    for symbol, book in books.items():
        mine = out.books[instrument(symbol).id]
        assert mine.is_right
        assert [list(level) for level in mine.bids(10)] == book["bids"]
        assert [list(level) for level in mine.asks(10)] == book["asks"]
        assert (len(mine.bids()), len(mine.asks())) == (book["n_bids"], book["n_asks"])
