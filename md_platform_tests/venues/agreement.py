"""What a replayed capture gave against what others worked out from it: trades one by one, books level by level."""

from collections.abc import Callable, Mapping

from md_platform.domain.events import BookUpdate, Event, Malformed, Refused, Subscribed, Trade, Unknown
from md_platform.domain.instruments import Instrument
from md_platform.venues.feeds import Feed, Subscription
from md_platform_tests.venues.replay import Replayed, final_books, rows

LIVE_KINDS = {"live", "agg", "trade", "match", "te", "tu", "update"}
"""Kinds of the facts' trades that happened while subscribed."""
_MS = 1_000_000


def assert_trades(
    trades: list[Trade], name: str, instruments: Mapping[str, Instrument], *, late: bool = False, ids: bool = True
) -> int:
    """`trades` are those of the facts, in order where they are live; the sides wherever the facts know them.

    Facts give whole ms, some cut and some rounded. How many there were.
    """
    expected = [row for row in rows(f"{name}.trades") if (row["kind"] not in LIVE_KINDS) is late]
    if late:  # venues send history newest first, we pass it on oldest first
        order = {instrument.id: n for n, instrument in enumerate(instruments.values())}
        expected.sort(key=lambda row: (order[instruments[row["symbol"]].id], int(row["trade_id"])))
        trades = sorted(trades, key=lambda trade: (order[trade.instrument], trade.trade_id))
    assert len(trades) == len(expected)
    for trade, row in zip(trades, expected, strict=True):
        assert trade.instrument == instruments[row["symbol"]].id
        assert not ids or str(trade.trade_id) == row["trade_id"]
        assert (trade.price, trade.size) == (float(row["price"]), abs(float(row["amount"])))
        assert row["taker_side"] in ("", trade.taker_side)
        assert abs(trade.ts_event - int(row["exchange_ts_ms"]) * _MS) < _MS
        assert trade.sent_late is late
    return len(trades)


def assert_books(out: Replayed, name: str, instruments: Mapping[str, Instrument]) -> int:
    """Every book ends as the facts say. How many books."""
    books = final_books(name)
    for symbol, book in books.items():
        mine = out.books[instruments[symbol].id]
        assert mine.is_right
        assert [list(level) for level in mine.bids(10)] == book["bids"]
        assert [list(level) for level in mine.asks(10)] == book["asks"]
        assert (len(mine.bids()), len(mine.asks())) == (book["n_bids"], book["n_asks"])
    return len(books)


def assert_explained(out: Replayed) -> None:
    """No frame was unknown, malformed or a refusal."""
    assert [event for event in out.others if isinstance(event, Unknown | Malformed | Refused)] == []


def confirmed(out: Replayed) -> set[tuple[str | None, str]]:
    """Channels and native symbols that the venue confirmed, none of them twice."""
    pairs = [(e.channel, symbol) for e in out.others if isinstance(e, Subscribed) for symbol in e.symbols]
    assert len(pairs) == len(set(pairs))
    return set(pairs)


def conversation(feed: Feed, instrument: Instrument) -> Callable[..., list[Event]]:
    """A session for all channels of `instrument`, as a function from frames to events."""
    session = feed.session([Subscription(channel, instrument) for channel in sorted(feed.channels)])
    session.opening()
    return lambda *frames: session.receive([f if isinstance(f, bytes) else f.encode() for f in frames], RECEIVED)


RECEIVED = 1_700_000_000_000_000_000


def sequence_links(updates: list[BookUpdate]) -> int:
    """How many updates carry a number above the one before, of the same instrument."""
    last: dict[str, int] = {}
    count = 0
    for update in updates:
        if update.sequence is not None:
            count += update.sequence > last.get(update.instrument, -1)
            last[update.instrument] = update.sequence
    return count
