"""Captures replayed through a feed's session and books, and the facts about them that others worked out."""

import csv
import gzip
import io
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from md_platform.domain.books import OrderBook
from md_platform.domain.events import Bar, BookUpdate, Event, Quote, Trade
from md_platform.domain.instruments import Instrument
from md_platform.storage.captures import Record, read_capture
from md_platform.venues.feeds import Feed, Session, Subscription

SHARED = Path(__file__).parents[3] / "shared" / "data"
CAPTURES = SHARED / "ws" / "captures"
FACTS = SHARED / "expected" / "ws_facts"


def facts(name: str) -> dict[str, Any]:
    """What is known of the capture `name`."""
    return dict(json.loads((FACTS / "facts.json").read_text())[name])


def final_books(name: str) -> dict[str, Any]:
    """The best ten levels of each native symbol after the capture `name`."""
    return dict(json.loads((FACTS / "final_books.json").read_text())[name])


def rows(name: str) -> list[dict[str, str]]:
    """Rows of a gzipped CSV of the facts, such as `KRAKEN_20210417T164852.trades`."""
    with gzip.open(FACTS / f"{name}.csv.gz", "rt") as file:
        return list(csv.DictReader(file))


def cells(name: str) -> list[list[str]]:
    """The same of files that have no header, such as candles."""
    with gzip.open(FACTS / f"{name}.csv.gz", "rt") as file:
        return list(csv.reader(file))


def expected_trades(name: str) -> list[tuple[object, ...]]:
    """Trades of the capture `name`, as `told` tells them."""
    return [
        (r["trade_id"], float(r["price"]), float(r["amount"]), r["taker_side"], int(r["exchange_ts_ms"]))
        for r in rows(f"{name}.trades")
    ]


def told(trades: Iterable[Trade]) -> list[tuple[object, ...]]:
    """What of `trades` is compared with the facts: id, price, size, taker's side, ms."""
    return [(str(t.trade_id), t.price, t.size, t.taker_side, t.ts_event // 1_000_000) for t in trades]


def expected_candles(name: str) -> list[tuple[object, ...]]:
    """Updates of candles in the capture `name`: start in ms, open, high, low, close, volume, whether closed."""
    return [(int(c[2]), *map(float, c[4:9]), c[11] == "True") for c in cells(f"{name}.candles")]


def drawn(bars: Iterable[Bar]) -> list[tuple[object, ...]]:
    """The same of `bars`."""
    return [(b.open_time // 1_000_000, b.open, b.high, b.low, b.close, b.volume, b.is_closed) for b in bars]


def links(feed: Feed, updates: Iterable[BookUpdate]) -> int:
    """How many updates follow the one before of their instrument, by the feed's own rule."""
    assert feed.book.follows is not None
    last: dict[str, int] = {}
    count = 0
    for update in updates:
        if update.sequence is not None:
            if update.instrument in last and not update.is_snapshot:
                count += feed.book.follows(last[update.instrument], update)
            last[update.instrument] = update.sequence
    return count


def capture(name: str) -> Iterator[Record]:
    """Records of the capture `name`."""
    return read_capture(CAPTURES / f"{name}.jsonl.zst")


def hftbacktest(name: str) -> Iterator[Record]:
    """The same from hftbacktest's form: receive time in ns, then a frame or (once) a REST depth answer.

    It connects in 1970: its first minute, of which it has a part, counts as whole, as others counted it.
    """
    with gzip.open(SHARED / "ws" / "hftbacktest" / f"{name}.gz", "rb") as file:
        yield Record("connect", "1", 0.0)
        for line in io.BufferedReader(file):
            at, _, data = line.partition(b" ")
            kind = "http" if data.startswith(b'{"lastUpdateId"') else "recv"
            yield Record(kind, "1", int(at) / 1e9, url="/depth", data=data.decode().rstrip())


@dataclass
class Replayed:
    """What came out: events by kind, books by instrument id, and how each book update was taken."""

    trades: list[Trade] = field(default_factory=list)
    quotes: list[Quote] = field(default_factory=list)
    bars: list[Bar] = field(default_factory=list)
    updates: list[BookUpdate] = field(default_factory=list)
    others: list[Event] = field(default_factory=list)
    books: dict[str, OrderBook] = field(default_factory=dict)
    outcomes: Counter[str] = field(default_factory=Counter)

    @property
    def kinds(self) -> Counter[str]:
        """How many of each kind that is no market event."""
        return Counter(type(event).__name__ for event in self.others)

    def live(self) -> list[Trade]:
        """Trades that happened while subscribed."""
        return [trade for trade in self.trades if not trade.sent_late]


def subscribed(feed: Feed, instruments: Iterable[Instrument]) -> list[Subscription]:
    """Every channel of the feed for each of `instruments`."""
    return [Subscription(channel, each) for each in instruments for channel in sorted(feed.channels)]


def replay(
    feed: Feed,
    records: Iterable[Record],
    instruments: Sequence[Instrument],
    session: Callable[[Sequence[Subscription]], Session] | None = None,
    snapshot_of: Callable[[Record], Instrument | None] | None = None,
) -> Replayed:
    """Feed `records` to a session per connection and to books, as the live process does.

    `snapshot_of` tells whose book a REST answer is, None where it is no book; without it, its address tells.
    """
    return replay_each([(feed, instruments)], records, session, snapshot_of)


def replay_each(
    feeds: Sequence[tuple[Feed, Sequence[Instrument]]],
    records: Iterable[Record],
    session: Callable[[Sequence[Subscription]], Session] | None = None,
    snapshot_of: Callable[[Record], Instrument | None] | None = None,
) -> Replayed:
    """The same where a capture holds several feeds: each connection is of the feed that has its address."""
    out = Replayed()
    sessions: dict[str, tuple[Feed, Session]] = {}
    for record in records:
        if record.t == "connect":
            feed, instruments = next((each for each in feeds if record.addr in each[0].urls), feeds[0])
            sessions[record.conn] = feed, (session or feed.session)(subscribed(feed, instruments))
            sessions[record.conn][1].opening()
        elif record.t == "recv":
            feed, conversation = sessions[record.conn]
            for event in conversation.receive([record.payload], record.received_ns):
                _take(out, feed, event)
        elif record.t == "http" and (parse := feeds[0][0].parse_snapshot):
            whose = snapshot_of(record) if snapshot_of else _whose_book(record, feeds[0][1])
            if whose:
                _take(out, feeds[0][0], parse(record.payload, whose, record.received_ns))
    return out


def _whose_book(record: Record, instruments: Sequence[Instrument]) -> Instrument | None:
    url = urlsplit(record.url)
    if not ("depth" in url.path or "orderbook" in url.path):
        return None
    symbol = parse_qs(url.query).get("symbol", [instruments[0].native])[0]
    return next(each for each in instruments if each.native.upper() == symbol.upper())


def _take(out: Replayed, feed: Feed, event: Event) -> None:
    match event:
        case Trade():
            out.trades.append(event)
        case Quote():
            out.quotes.append(event)
        case Bar():
            out.bars.append(event)
        case BookUpdate():
            out.updates.append(event)
            book = out.books.setdefault(event.instrument, OrderBook(feed.book))
            out.outcomes[book.apply(event)] += 1
        case _:
            out.others.append(event)
