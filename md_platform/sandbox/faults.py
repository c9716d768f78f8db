"""Faults as data: what shall go wrong, where, when; and what that does to rows, frames and answers.

A fault's window `[start, start + duration)` is simulated time. For bars and trades it is the time of the data, whoever
asks and whenever; for HTTP answers and connections it is the time of the request.
"""

import re
from collections.abc import Callable, Sequence
from itertools import count as counted
from typing import Any, Literal, NamedTuple

import msgspec

from md_platform.domain.intervals import parse_time
from md_platform.errors import InvalidFile
from md_platform.sandbox.history import Aggregate, Bar, Trade
from md_platform.sandbox.listings import Listing
from md_platform.sandbox.rest import Row
from md_platform.sandbox.simulation import Halt

Kind = Literal[
    "disconnect",  # both: connections are cut, an answer's in the middle of it
    "stall",  # live: nothing more is sent, the connection stays open
    "gap",  # both: messages or rows are missing
    "duplicate",  # both: messages or rows come twice
    "out_of_order",  # both: a message or row changes places with the next
    "malformed",  # both: a frame or body breaks off in the middle
    "late_trade",  # both: trades appear `delay_s` after they happened, behind newer ones
    "bad_ohlc",  # both: bars whose high is below their low
    "halt",  # both: trading stops, quotes and book stand still
    "http_429",  # history: too many requests, Retry-After `retry_after_s`
    "http_418",  # history: banned
    "http_5xx",  # history: `status`, 503 unless said otherwise
    "slow",  # both: the answer, or each frame, takes `delay_s`, of wall-clock time; frames behind it wait
    "bad_checksum",  # live: a book's checksum is not that of its levels
]
Surface = Literal["live", "history", "both"]


class Fault(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One thing that goes wrong.

    `protocol` is binance, coinbase or kraken; `instrument` BASE-QUOTE; `channel` trades, bars, book, ticker or, for
    answers, the endpoint's last word (klines); "*" matches all. An answer as a whole has no instrument. Without `start`
    the fault begins `after_s` simulated seconds after it was requested. Without `duration_s` it lasts until deleted;
    disconnect cuts what is open when it begins, and what is opened later only within its `duration_s`; without a close
    frame unless `close_code` is given. `count` bounds how often frames, answers and connections are hit, `every` hits
    each n-th of them, and each n-th row by its id or number.
    """

    kind: Kind
    surface: Surface = "both"
    protocol: str = "*"
    instrument: str = "*"
    channel: str = "*"
    start: str | None = None
    after_s: float = 0.0
    duration_s: float | None = None
    count: int | None = None
    every: int = 1
    delay_s: float = 2.0
    retry_after_s: int = 1
    status: int = 503
    close_code: int | None = None


_FOREVER_US = 1 << 62


class Marks(NamedTuple):
    """What a frame, row or answer is about."""

    surface: Surface
    protocol: str
    instrument: str
    channel: str


class ArmedFault:
    """A fault with its window resolved and its hits counted."""

    def __init__(self, number: int, fault: Fault, now_us: int) -> None:
        self.number = number
        self.fault = fault
        self.start_us = (
            int(parse_time(fault.start, name="start").timestamp() * 1_000_000)
            if fault.start
            else now_us + int(fault.after_s * 1_000_000)
        )
        without_end = 0 if fault.kind == "disconnect" else _FOREVER_US
        lasts = without_end if fault.duration_s is None else int(fault.duration_s * 1_000_000)
        self.end_us = self.start_us + lasts
        self.hits = 0
        self._seen = 0

    def concerns(self, marks: Marks, time_us: int) -> bool:
        """Whether something with these marks at `time_us` is meant."""
        fault = self.fault
        return (
            fault.surface in ("both", marks.surface)
            and fault.protocol in ("*", marks.protocol)
            and fault.instrument in ("*", marks.instrument)
            and fault.channel in ("*", marks.channel)
            and self.start_us <= time_us < self.end_us
        )

    def strikes(self) -> bool:
        """Whether this occasion is one of those hit; counts it."""
        if self.fault.count is not None and self.hits >= self.fault.count:
            return False
        self._seen += 1
        if (self._seen - 1) % self.fault.every:
            return False
        self.hits += 1
        return True

    def described(self) -> dict[str, Any]:
        """The fault as the control endpoint shows it."""
        return {
            "id": self.number,
            "fault": msgspec.to_builtins(self.fault),
            "start_us": self.start_us,
            "end_us": self.end_us,
            "hits": self.hits,
        }


class Faults:
    """The faults in force. `on_change` is told when halts may have changed."""

    def __init__(self) -> None:
        self._numbers = counted(1)
        self.armed: list[ArmedFault] = []
        self._past_halts: list[Halt] = []
        self.on_change: Callable[[], None] = lambda: None

    def add(self, faults: Sequence[Fault], now_us: int) -> list[ArmedFault]:
        """Arm `faults`."""
        added = [ArmedFault(next(self._numbers), fault, now_us) for fault in faults]
        self.armed.extend(added)
        self.on_change()
        return added

    def clear(self, now_us: int) -> None:
        """Disarm everything; halts that have begun end now, as what they did to the past stays done."""
        for halt in self._armed_halts():
            if halt.start_us < now_us:
                self._past_halts.append(msgspec.structs.replace(halt, end_us=min(halt.end_us, now_us)))
        self.armed = []
        self.on_change()

    def halts(self) -> tuple[Halt, ...]:
        """The halts among them and those cleared after they began, for the simulation."""
        return (*self._past_halts, *self._armed_halts())

    def _armed_halts(self) -> list[Halt]:
        return [
            Halt(f"{armed.fault.protocol}:{armed.fault.instrument}", armed.start_us, armed.end_us)
            for armed in self.armed
            if armed.fault.kind == "halt"
        ]

    def striking(self, kinds: tuple[Kind, ...], marks: Marks, time_us: int) -> ArmedFault | None:
        """The first fault of `kinds` that hits this frame or answer."""
        for armed in self.armed:
            if armed.fault.kind in kinds and armed.concerns(marks, time_us) and armed.strikes():
                return armed
        return None

    def any(self, kinds: tuple[Kind, ...], marks: Marks, time_us: int) -> bool:
        """Whether a fault of `kinds` is in force there, without counting it."""
        return any(armed.fault.kind in kinds and armed.concerns(marks, time_us) for armed in self.armed)

    def rows(self, surface: Surface, listing: Listing, channel: str, rows: list[Row], now_us: int) -> list[Row]:
        """The rows with the faults of their times applied; live, only what is wrong within a row."""
        marks = Marks(surface, listing.venue, listing.pair, channel)
        kinds = _ON_ROWS if surface == "history" else {"bad_ohlc": _inverted}
        for armed in self.armed:
            if armed.fault.kind in kinds:
                hit = [
                    armed.concerns(marks, _time_within(row, armed.start_us))
                    and _number_of(row) % armed.fault.every == 0
                    for row in rows
                ]
                if any(hit):
                    rows = kinds[armed.fault.kind](rows, hit, armed.fault, now_us)
        return rows


def load_faults(text: bytes) -> list[Fault]:
    """Faults from JSON, one or a list; InvalidFile otherwise."""
    try:
        parsed: Fault | list[Fault] = msgspec.json.decode(text, type=Fault | list[Fault])
    except msgspec.MsgspecError as problem:
        raise InvalidFile(f"faults must be a JSON object or list of them, {problem}") from None
    return parsed if isinstance(parsed, list) else [parsed]


_CHECKSUM = re.compile(r'("checksum":|"c":")(\d+)')


def with_wrong_checksum(text: str) -> str:
    """A frame of a book with another checksum; as it was where it carries none."""
    return _CHECKSUM.sub(lambda found: f"{found[1]}{int(found[2]) ^ 1}", text)


def _time_of(row: Row) -> int:
    return row.open_us if isinstance(row, Bar) else row.time_us


def _time_within(row: Row, start_us: int) -> int:
    """A time that the row has in common with what begins at `start_us`: bars last, trades do not."""
    return min(max(row.open_us, start_us), row.close_us - 1) if isinstance(row, Bar) else row.time_us


def _number_of(row: Row) -> int:
    return row.open_us // (row.close_us - row.open_us) if isinstance(row, Bar) else row.id


def _without(rows: list[Row], hit: list[bool], _fault: Fault, _now_us: int) -> list[Row]:
    return [row for row, is_hit in zip(rows, hit, strict=True) if not is_hit]


def _twice(rows: list[Row], hit: list[bool], _fault: Fault, _now_us: int) -> list[Row]:
    return [copy for row, is_hit in zip(rows, hit, strict=True) for copy in ([row, row] if is_hit else [row])]


def _swapped(rows: list[Row], hit: list[bool], _fault: Fault, _now_us: int) -> list[Row]:
    shown, place = list(rows), 0
    while place < len(rows) - 1:
        if hit[place]:
            shown[place], shown[place + 1] = shown[place + 1], shown[place]
            place += 1
        place += 1
    return shown


def _inverted(rows: list[Row], hit: list[bool], _fault: Fault, _now_us: int) -> list[Row]:
    def inverted(row: Row) -> Row:
        if not isinstance(row, Bar):
            return row
        return row._replace(high=row.low * 0.99, low=row.high * 1.01)

    return [inverted(row) if is_hit else row for row, is_hit in zip(rows, hit, strict=True)]


def _delayed(rows: list[Row], hit: list[bool], fault: Fault, now_us: int) -> list[Row]:
    delay_us = int(fault.delay_s * 1_000_000)

    def shown_at(row: Row, *, is_hit: bool) -> int:
        late = is_hit and isinstance(row, Trade | Aggregate)
        return _time_of(row) + (delay_us if late else 0)

    times = [(shown_at(row, is_hit=is_hit), row) for row, is_hit in zip(rows, hit, strict=True)]
    return [row for time_us, row in sorted(times, key=lambda pair: pair[0]) if time_us <= now_us]


_ON_ROWS: dict[str, Callable[..., Any]] = {
    "gap": _without,
    "duplicate": _twice,
    "out_of_order": _swapped,
    "late_trade": _delayed,
    "bad_ohlc": _inverted,
}
