"""What a played capture left in the database and Redis in; where that is not what others worked out, out."""

import csv
import gzip
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import isclose
from typing import Any

import psycopg
import redis
from psycopg.rows import dict_row

from md_platform.domain.events import Book, SequenceGap, Trade
from md_platform.domain.wire import decode
from md_platform_tests.venues.agreement import LIVE_KINDS
from md_platform_tests.venues.recordings import Recording
from md_platform_tests.venues.replay import FACTS, SHARED, Replayed, links, replay_each, rows

Row = dict[str, Any]

_TRADES = """
SELECT id, CASE WHEN trade_key = '' THEN trade_id::text ELSE trade_key END AS trade_id, price, size,
       CASE taker_side WHEN 1 THEN 'buy' WHEN -1 THEN 'sell' ELSE '' END AS side, sent_late,
       (extract(epoch FROM ts_event) * 1000000)::bigint AS event_us,
       (extract(epoch FROM ts_received) * 1000000)::bigint AS received_us
FROM md.trades JOIN md.instruments USING (instrument_id)
"""
_BARS = """
SELECT (extract(epoch FROM open_time) * 1000)::bigint AS open_time_ms, open, high, low, close, volume, quote_volume,
       trade_count AS trades, taker_buy_volume
FROM md.bars JOIN md.sources USING (source_id)
WHERE timeframe = %s AND sources.name = 'trades' AND is_closed ORDER BY open_time, revision
"""
_FRAMES_NUMBERED = {"global_seq_ok": b"[", "sequence_num_ok": b"{"}
"""How frames begin that carry the venue's number: links of the facts, count of a frame after another."""


@dataclass
class Shown:
    """What came of one capture. `differing` says what does not agree; empty: everything does."""

    recording: Recording
    cpu_s: float
    frames: int = 0
    trades: int = 0
    duplicates: int = 0
    links: int = 0
    checksums: int = 0
    books: int = 0
    candles: int = 0
    rejected: int = 0
    told: int = 0
    skew_ms: float | None = None
    differing: list[str] = field(default_factory=list)

    def expect(self, what: str, found: object, expected: object) -> None:
        """Note `found` where it is not `expected`."""
        if found != expected:
            self.differing.append(f"{what}: {str(found)[:150]}, expected {str(expected)[:150]}")


def held(recording: Recording, connection: psycopg.Connection, client: "redis.Redis", cpu_s: float) -> Shown:
    """The stores behind `connection` and `client` against the facts of `recording`."""
    result = Shown(recording, cpu_s)
    feeds = [(feed, list(instruments.values())) for feed, instruments in recording.carried]
    said = replay_each(feeds, recording.records(), snapshot_of=lambda r: recording.books_asked.get(r.url))
    with connection.cursor(row_factory=dict_row) as cursor:
        stored = cursor.execute(_TRADES).fetchall()
        rejects = cursor.execute("SELECT reason FROM md.quarantined_messages").fetchall()
        notices = cursor.execute("SELECT kind, cause FROM md.venue_events").fetchall()
        bars = {timeframe: cursor.execute(_BARS, [timeframe]).fetchall() for timeframe in ("1s", "1m")}
    result.rejected, result.told = len(rejects), len(notices)
    result.expect("quarantined", Counter(row["reason"] for row in rejects), Counter())
    result.expect("told", Counter(f"{row['kind']} {row['cause']}" for row in notices), Counter())
    _hold_trades(result, stored, said)
    _hold_numbers(result, said)
    _hold_books(result, said, client)
    if _is_hftbacktest(recording):
        _hold_candles(result, bars)
    return result


def _is_hftbacktest(recording: Recording) -> bool:
    return recording.name.startswith(("spot/", "usdm/", "cm/"))


def known_of(recording: Recording) -> Row:
    """Counts of the facts, hftbacktest's in the words of the others."""
    if not _is_hftbacktest(recording):
        of_all = json.loads((FACTS / "facts.json").read_text())
        return dict(of_all.get(recording.name, {"checksum": {"ok": 30}}))  # Kraken v2: as the data's MANIFEST says
    known = json.loads((FACTS / "hftbacktest.json").read_text())[f"{recording.name}.gz"]
    assert known["trade_id_gaps"] == known["depth_gaps"] == 0
    counts = known["messages"]
    depth = next(count for kind, count in counts.items() if kind.startswith("depth@"))
    first, last = (
        ["trade", t["s"], str(t["t"]), t["p"], t["q"], "", "sell" if t["m"] else "buy", t["T"]]
        for t in (known["first_trade"], known["last_trade"])
    )
    return {
        "live_trades_by_symbol": {known["first_trade"]["s"]: counts["trade"]},
        "first_live_trade": first,
        "last_live_trade": last,
        "sequence": {"depth_ok": depth - 1, "aggId_ok": counts["trade"] - 1},
    }


def _hold_trades(result: Shown, stored: Sequence[Row], said: Replayed) -> None:
    recording, known = result.recording, known_of(result.recording)
    symbols: dict[str, str] = {}
    for _, instruments in reversed(recording.carried):  # facts mean the first feed's where two have the symbol
        symbols |= {instrument.id: symbol for symbol, instrument in instruments.items()}
    live = [row for row in stored if not row["sent_late"]]
    result.trades = len(stored)
    result.duplicates = len(said.trades) - len(stored)
    result.expect("duplicates", result.duplicates, known.get("live_duplicate_trade_ids", 0))
    by_symbol = Counter(symbols[row["id"]] for row in live)
    result.expect(
        "trades by symbol",
        dict(sorted(by_symbol.items())),
        dict(sorted(known.get("live_trades_by_symbol", {}).items())),
    )
    if live:
        result.skew_ms = min(row["received_us"] - row["event_us"] for row in live) / 1e3
    for name, pick in (("first_live_trade", min), ("last_live_trade", max)):
        if name in known:
            at = pick(row["received_us"] for row in live)
            found = [_told(row, symbols) for row in live if row["received_us"] == at]
            if not any(_is_same(each, _fact(*known[name][1:5], *known[name][6:8], late=False)) for each in found):
                result.expect(name, found, known[name])
    if (FACTS / f"{recording.name}.trades.csv.gz").exists():
        _hold_each(result, [_told(row, symbols) for row in stored])


_Told = tuple[str, str, float, float, str, bool, float]
"""Symbol, id, price, size, taker's side, whether sent late, ms: of a trade."""


def _told(row: Row, symbols: dict[str, str]) -> _Told:
    symbol = symbols[row["id"]]
    return symbol, row["trade_id"], row["price"], row["size"], row["side"], row["sent_late"], row["event_us"] / 1e3


def _fact(symbol: str, id_: str, price: str, size: str, side: str, at_ms: str, *, late: bool) -> _Told:
    return symbol, id_, float(price), abs(float(size)), side, late, float(at_ms)


def _is_same(mine: _Told, fact: _Told) -> bool:
    """Where the facts know no id or side, any is; their whole ms are some cut and some rounded."""
    same = (mine[0], mine[2], mine[3], mine[5]) == (fact[0], fact[2], fact[3], fact[5])
    return same and fact[1] in ("", mine[1]) and fact[4] in ("", mine[4]) and abs(mine[6] - fact[6]) < 1


def _hold_each(result: Shown, mine: list[_Told]) -> None:
    facts = [
        _fact(r["symbol"], r["trade_id"], r["price"], r["amount"], r["taker_side"], r["exchange_ts_ms"],
              late=r["kind"] not in LIVE_KINDS)
        for r in rows(f"{result.recording.name}.trades")
    ]  # fmt: skip
    result.expect("trades", len(mine), len(facts))
    has_ids = any(fact[1] for fact in facts)
    ordered = sorted(mine, key=lambda t: (t[0], t[1] if has_ids else "", *t[2:4], t[6]))
    expected = sorted(facts, key=lambda t: (*t[:4], t[6]))
    others = [(m, f) for m, f in zip(ordered, expected, strict=False) if not _is_same(m, f)]
    if others:
        result.expect(f"{len(others)} trades, of which the first", *others[0])


def _hold_numbers(result: Shown, said: Replayed) -> None:
    known, recording = known_of(result.recording), result.recording
    feed = recording.carried[0][0]
    result.frames = sum(record.t == "recv" for record in recording.records())
    result.checksums = sum(update.checksum is not None for update in said.updates) - said.outcomes["checksum"]
    result.expect("checksums", result.checksums, known.get("checksum", {}).get("ok", 0))
    result.expect("gaps of sequences", sum(isinstance(each, SequenceGap) for each in said.others), 0)
    result.expect("gaps of books", said.outcomes["gap"], 0)
    for name, expected in known.get("sequence", {}).items():
        if name in ("aggId_ok", "match_trade_id_ok"):
            found = _trade_links(said.trades)
        elif name in _FRAMES_NUMBERED:
            begins = _FRAMES_NUMBERED[name]
            found = sum(r.t == "recv" and r.payload.startswith(begins) for r in recording.records()) - 1
        else:  # books asked over REST stand between those that the stream numbers
            found = links(feed, (u for u in said.updates if not (u.is_snapshot and feed.parse_snapshot)))
        result.links += found
        result.expect(name, found, expected)


def _trade_links(trades: Sequence[Trade]) -> int:
    """How many trade ids follow the one before, of the same instrument."""
    last: dict[str, int | str] = {}
    count = 0
    for trade in trades:
        count += isinstance(trade.trade_id, int) and last.get(trade.instrument) == trade.trade_id - 1
        last[trade.instrument] = trade.trade_id
    return count


def _hold_books(result: Shown, said: Replayed, client: "redis.Redis") -> None:
    """Books on Redis: those of the facts where these have them, else what the session's frames leave."""
    recording = result.recording
    of_all = json.loads((FACTS / "final_books.json").read_text())
    known = of_all.get(f"hftbacktest/{recording.name}" if _is_hftbacktest(recording) else recording.name, {})
    for feed, instruments in recording.carried:
        for symbol, instrument in instruments.items():
            left = said.books.get(instrument.id)
            if left is None or not left.is_right:
                continue
            expected = known.get(symbol) if feed is recording.carried[0][0] or symbol not in known else None
            sides = [
                [(float(price), float(size)) for price, size in levels]
                for levels in ((expected["bids"], expected["asks"]) if expected else (left.bids(10), left.asks(10)))
            ]
            message = client.get(f"md:latest-book:{instrument.id}")
            book = decode(bytes(message))[-1] if isinstance(message, bytes) else None
            result.expect(f"book of {symbol}", [book.bids, book.asks] if isinstance(book, Book) else None, sides)
            result.books += 1


def _hold_candles(result: Shown, bars: dict[str, list[Row]]) -> None:
    for timeframe, found in bars.items():
        name = f"{result.recording.name.replace('/', '_')}.candles_{timeframe}.csv.gz"
        with gzip.open(SHARED / "expected" / "hftbacktest_candles" / name, "rt") as file:
            expected = {int(row["open_time_ms"]): row for row in csv.DictReader(file)}
        latest = {row["open_time_ms"]: row for row in found}
        result.candles += len(latest)
        result.expect(f"times of {timeframe} candles", sorted(latest), sorted(expected))
        for at, row in latest.items():
            known = expected.get(at, row)
            exact = all(float(row[name]) == float(known[name]) for name in ("open", "high", "low", "close", "trades"))
            sums = ("volume", "quote_volume", "taker_buy_volume")
            if not exact or not all(isclose(row[n], float(known[n]), rel_tol=1e-9, abs_tol=1e-12) for n in sums):
                result.expect(f"{timeframe} candle", row, known)
