"""What the venue sent and what happened in, rows of the database in: what of them is lost, twice or wrong out.

The process that is judged is not asked. A trade must be stored where it happened after the first of its instrument
that a socket took: what was sent and never read, or never sent, comes from the venue's history.
"""

import json
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg

from md_platform.sandbox.frame_log import frames_sent
from md_platform_tests.faults.market import Happened
from md_platform_tests.faults.rig import INSTRUMENTS, Rig


@dataclass
class Verdict:
    """What a trial came to. All of `lost`, `twice`, `wrong_rows`, `wrong_books` and `published_twice` must be 0.

    frames, trades_sent   what the venue's sockets took, and trades in it
    happened              trades of the simulation that must be stored
    lost_of_sent          those of the sent that are not
    reports               how often each notice and complaint was made in the trial
    fresh_s, whole_s      from the fault's end until the newest trade and book on Redis were less than 2 s old, and
                          until everything from before it was stored and said, repairs among it
    """

    trial: str
    frames: int = 0
    malformed: int = 0
    trades_sent: int = 0
    happened: int = 0
    lost: int = 0
    lost_of_sent: int = 0
    twice: int = 0
    wrong_rows: int = 0
    books: int = 0
    wrong_books: int = 0
    published_twice: int = 0
    reports: Counter[str] = field(default_factory=Counter)
    unreported: list[str] = field(default_factory=list)
    fresh_s: float = 0.0
    whole_s: float = 0.0
    figures: dict[str, float] = field(default_factory=dict)
    examples: list[str] = field(default_factory=list)
    failure: str = ""

    @property
    def is_good(self) -> bool:
        """Whether nothing is lost, twice, wrong or unreported."""
        bad = self.lost, self.lost_of_sent, self.twice, self.wrong_rows, self.wrong_books, self.published_twice
        return not any(bad) and not self.unreported and not self.failure


def first_sent(log: Path) -> dict[str, int]:
    """Id of the first trade of each instrument in the venue's log."""
    found: dict[str, int] = {}
    for frame in frames_sent(log):
        for instrument, trade_id in trades_of(frame.text) or ():
            found.setdefault(instrument, trade_id)
        if len(found) == len(INSTRUMENTS):
            break
    return found


def trades_of(text: str) -> list[tuple[str, int]] | None:
    """Instrument and id of each live trade of a frame; None where it is malformed. Snapshots are the past."""
    try:
        frame = json.loads(text)
    except ValueError:
        return None
    data = frame.get("data", frame)
    if isinstance(data, dict) and data.get("e") == "aggTrade":
        return [(_BY_SYMBOL[data["s"]], data["a"])]
    if frame.get("channel") == "market_trades":
        events = [event for event in frame["events"] if event["type"] == "update"]
        rows = [row for event in events for row in event["trades"]]
        return [(f"sandbox-coinbase:{row['product_id']}", int(row["trade_id"])) for row in rows]
    if frame.get("channel") == "trade" and frame["type"] == "update":
        return [(f"sandbox-kraken:{row['symbol'].replace('/', '-')}", row["trade_id"]) for row in data]
    return []


_BY_SYMBOL = {each.partition(":")[2].replace("-", ""): each for each in INSTRUMENTS if each.startswith("sandbox:")}


class Judge:
    """Judges one span of time after the other, from the first trades that were sent on."""

    def __init__(self, rig: Rig) -> None:
        self._rig = rig
        self._log_offset = 0
        self._begun_us = 0
        self._books = self._wrong_books = self._published_twice = self._notices = 0
        self._problems: Counter[str] = Counter()
        self._first = first_sent(rig.frame_log)

    def begin(self) -> None:
        """What comes from now on belongs to the next trial."""
        listener = self._rig.listener
        self._begun_us = time.time_ns() // 1_000
        self._log_offset = self._rig.frame_log.stat().st_size
        self._books, self._wrong_books = listener.books, len(listener.wrong_books)
        self._published_twice = listener.published_twice.total()
        self._notices = len(listener.notices)
        self._problems = self._rig.problems.copy()

    def missing(self, until_us: int) -> int:
        """How many trades from before `until_us` are not stored yet; all of them while the database is away."""
        lost = 0
        for instrument, happened in self._happened(until_us):
            try:
                lost += len(happened.keys() - {row[0] for row in self._rows(instrument, happened)})
            except psycopg.OperationalError:
                lost += len(happened)
        return lost

    def verdict(self, trial: str, until_us: int) -> Verdict:
        """Of the trial that `begin` began: everything that happened until `until_us`."""
        found = Verdict(trial)
        sent = self._sent(found)
        for instrument, happened in self._happened(until_us):
            stored = self._rows(instrument, happened)
            ids = Counter(row[0] for row in stored)
            found.happened += len(happened)
            found.lost += len(happened.keys() - ids.keys())
            found.lost_of_sent += len((sent.get(instrument, set()) & happened.keys()) - ids.keys())
            found.twice += sum(count - 1 for count in ids.values())
            found.wrong_rows += sum(happened.get(id_) != Happened(*rest) for id_, *rest in stored)
        listener = self._rig.listener
        found.books = listener.books - self._books
        found.wrong_books = len(listener.wrong_books) - self._wrong_books
        found.examples = [str(book) for book in listener.wrong_books[self._wrong_books :][:3]]
        found.published_twice = listener.published_twice.total() - self._published_twice
        return found

    def _happened(self, until_us: int) -> Iterator[tuple[str, dict[int, Happened]]]:
        for instrument in INSTRUMENTS:
            happened = self._rig.market.trades(instrument, self._begun_us, until_us)
            first = self._first[instrument]
            yield instrument, {id_: trade for id_, trade in happened.items() if id_ >= first}

    def _rows(self, instrument: str, happened: dict[int, Happened]) -> list[tuple[Any, ...]]:
        if not happened:
            return []
        with psycopg.connect(self._rig.database.url, connect_timeout=2) as connection:
            return connection.execute(_ROWS, (instrument, min(happened), max(happened))).fetchall()

    def _sent(self, found: Verdict) -> dict[str, set[int]]:
        sent: dict[str, set[int]] = {}
        for frame in frames_sent(self._rig.frame_log, self._log_offset):
            trades = trades_of(frame.text)
            found.frames += 1
            found.malformed += trades is None
            for instrument, trade_id in trades or ():
                found.trades_sent += 1
                sent.setdefault(instrument, set()).add(trade_id)
        return sent

    def reports(self) -> Counter[str]:
        """Notices as they are stored, and on md:events as `heard`; complaints of /readyz."""
        begun = self._begun_us / 1e6
        with psycopg.connect(self._rig.database.url) as connection:
            reports = Counter(dict(connection.execute(_NOTICES, (begun,)).fetchall()))
            reports.update(dict(connection.execute(_QUARANTINED, (begun,)).fetchall()))
        heard = Counter(f"md:events {each.kind}" for each in self._rig.listener.notices[self._notices :])
        problems = Counter({f"/readyz {what}": count for what, count in (self._rig.problems - self._problems).items()})
        return reports + heard + problems


_ROWS = """
SELECT trade_id, (extract(epoch FROM ts_event) * 1000000)::bigint, price, size
FROM md.trades JOIN md.instruments USING (instrument_id) WHERE id = %s AND trade_id BETWEEN %s AND %s
"""

_NOTICES = "SELECT kind, count(*)::int FROM md.venue_events WHERE at >= to_timestamp(%s) GROUP BY 1"

_QUARANTINED = """
SELECT 'quarantined', count(*)::int FROM md.quarantined_messages WHERE received_at >= to_timestamp(%s) HAVING count(*) > 0
"""
