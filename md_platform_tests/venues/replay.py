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


def capture(name: str) -> Iterator[Record]:
    """Records of the capture `name`."""
    return read_capture(CAPTURES / f"{name}.jsonl.zst")


def hftbacktest(name: str) -> Iterator[Record]:
    """The same from hftbacktest's form: receive time in ns, then a frame or (once) a REST depth answer."""
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

    `snapshot_of` tells whose book a REST answer is, None where it is no book; without it, that is read as at Binance.
    """
    out = Replayed()
    sessions: dict[str, Session] = {}
    by_native = {each.native.upper(): each for each in instruments}
    for record in records:
        if record.t == "connect":
            sessions[record.conn] = (session or feed.session)(subscribed(feed, instruments))
            sessions[record.conn].opening()
        elif record.t == "recv":
            for event in sessions[record.conn].receive([record.payload], record.received_ns):
                _take(out, feed, event)
        elif record.t == "http" and feed.parse_snapshot and snapshot_of:
            if whose := snapshot_of(record):
                _take(out, feed, feed.parse_snapshot(record.payload, whose, record.received_ns))
        elif record.t == "http" and feed.parse_snapshot and "depth" in urlsplit(record.url).path:
            symbol = parse_qs(urlsplit(record.url).query).get("symbol", [instruments[0].native])[0]
            _take(out, feed, feed.parse_snapshot(record.payload, by_native[symbol.upper()], record.received_ns))
    return out


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
