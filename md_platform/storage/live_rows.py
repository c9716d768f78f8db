"""Events in, the columns of the live store's tables out: which table holds what, and how each value is kept.

Times are split into microseconds and the nanoseconds within; a trade's id is a number where it fits one, else text.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from md_platform.domain.events import Bar, Book, FeedNotice, Quarantined, Quote, Trade
from md_platform.storage.copy_rows import Bytes, Field, FloatArrays, Numbers, OptionalNumbers

Stored = Trade | Quote | Book | Bar | FeedNotice | Quarantined
"""What the live store keeps."""

Ints = npt.NDArray[np.int64]

_POSTGRES_EPOCH_US = 946_684_800_000_000
_SIDES = {"buy": 1, "sell": -1, None: 0}
_INT64 = range(-(2**63), 2**63)
_TEXT_OID = 25


@dataclass(frozen=True, slots=True)
class Numbering:
    """The numbers of instruments, of the source of each instrument's events, and of bars' sources."""

    instruments: Mapping[str, int]
    origins: Mapping[str, int]
    bar_sources: Mapping[tuple[str, str], int]


@dataclass(frozen=True, slots=True)
class LiveTable:
    """One table. `moments` are the ns that decide the partition."""

    name: str
    columns: tuple[str, ...]
    fields: Callable[[Sequence[Any], Numbering], list[Field]]
    moments: Callable[[Sequence[Any]], Ints]
    of_instruments: bool = True


def _instant(ns: Sequence[int] | Ints) -> tuple[Numbers, Numbers]:
    """Fields of a timestamptz and of the nanoseconds within its µs."""
    values = np.asarray(ns, dtype=np.int64)
    us = values // 1_000
    return Numbers(us - _POSTGRES_EPOCH_US, ">i8"), Numbers(values - us * 1_000, ">i2")


def _optional_instant(ns: Sequence[int | None]) -> tuple[Field, Field]:
    us = [None if value is None else value // 1_000 - _POSTGRES_EPOCH_US for value in ns]
    return OptionalNumbers(us, ">i8"), OptionalNumbers(
        [None if value is None else value % 1_000 for value in ns], ">i2"
    )


def _text(values: Sequence[str]) -> Bytes:
    """Text as PostgreSQL can hold it: without NUL and lone surrogates."""
    return Bytes([value.replace("\0", "\ufffd").encode("utf-8", "replace") for value in values])


def _text_arrays(values: Sequence[Sequence[str]]) -> Bytes:
    return Bytes([_text_array(value) for value in values])


def _text_array(items: Sequence[str]) -> bytes:
    def int4(value: int) -> bytes:
        return value.to_bytes(4, "big", signed=True)

    if not items:
        return int4(0) + int4(0) + int4(_TEXT_OID)
    cells = [item.encode("utf-8", "replace") for item in items]
    head = (int4(1), int4(0), int4(_TEXT_OID), int4(len(cells)), int4(1))
    return b"".join((*head, *(int4(len(cell)) + cell for cell in cells)))


def _looked_up(numbers: Mapping[Any, int], names: Sequence[Any], kind: str) -> Numbers:
    return Numbers(np.fromiter(map(numbers.__getitem__, names), dtype=np.int64, count=len(names)), kind)


def _ids(ids: Sequence[int | str]) -> tuple[Numbers, Bytes | Numbers]:
    """Fields of trade_id and trade_key."""
    if set(map(type, ids)) == {int}:
        try:
            return Numbers(np.array(ids, dtype=np.int64), ">i8"), Bytes([b""] * len(ids))
        except OverflowError:
            pass
    fits = [type(id_) is int and id_ in _INT64 for id_ in ids]
    numbers = np.array([id_ if fit else 0 for id_, fit in zip(ids, fits, strict=True)], dtype=np.int64)
    return Numbers(numbers, ">i8"), _text(["" if fit else str(id_) for id_, fit in zip(ids, fits, strict=True)])


def _columns(events: Sequence[msgspec.Struct]) -> list[list[Any]]:
    """The values of each field, in the order of the fields."""
    return [list(map(attrgetter(name), events)) for name in events[0].__struct_fields__]


def _trades(trades: Sequence[Trade], numbering: Numbering) -> list[Field]:
    instrument, event, received, ids, price, size, side, count, late, quality = _columns(trades)
    at, at_ns = _instant(event)
    here, here_ns = _instant(received)
    number, key = _ids(ids)
    return [
        _looked_up(numbering.instruments, instrument, ">i4"),
        _looked_up(numbering.origins, instrument, ">i2"),
        _looked_up(_SIDES, side, ">i2"),
        at,
        here,
        at_ns,
        here_ns,
        Numbers(np.array(count, dtype=np.int32), ">i4"),
        number,
        Numbers(np.array(price, dtype=np.float64), ">f8"),
        Numbers(np.array(size, dtype=np.float64), ">f8"),
        Numbers(np.array(quality, dtype=np.float64), ">f8"),
        Numbers(np.array(late, dtype=np.bool_), "i1"),
        key,
    ]


def _quotes(quotes: Sequence[Quote], numbering: Numbering) -> list[Field]:
    instrument, event, received, bid, bid_size, ask, ask_size, sequence, quality = _columns(quotes)
    at, at_ns = _instant(event)
    here, here_ns = _instant(received)
    return [
        _looked_up(numbering.instruments, instrument, ">i4"),
        _looked_up(numbering.origins, instrument, ">i2"),
        at,
        here,
        at_ns,
        here_ns,
        *(Numbers(np.array(values, dtype=np.float64), ">f8") for values in (bid, bid_size, ask, ask_size)),
        Numbers(np.array(sequence, dtype=np.int64), ">i8"),
        Numbers(np.array(quality, dtype=np.float64), ">f8"),
    ]


def _books(books: Sequence[Book], numbering: Numbering) -> list[Field]:
    instrument = [book.instrument for book in books]
    at, at_ns = _instant([book.ts_event for book in books])
    here, here_ns = _instant([book.ts_received for book in books])
    bids, asks = [book.bids for book in books], [book.asks for book in books]
    return [
        _looked_up(numbering.instruments, instrument, ">i4"),
        _looked_up(numbering.origins, instrument, ">i2"),
        at,
        here,
        at_ns,
        here_ns,
        Numbers(np.array([book.sequence for book in books], dtype=np.int64), ">i8"),
        *(FloatArrays(side, part) for side in (bids, asks) for part in (0, 1)),
    ]


def _bars(bars: Sequence[Bar], numbering: Numbering) -> list[Field]:
    instrument, timeframe, opened, closed, *values, is_closed, source, revision, known_at = _columns(bars)
    known, known_ns = _instant(known_at)
    prices, optional = values[:5], values[5:]
    return [
        _looked_up(numbering.instruments, instrument, ">i4"),
        _looked_up(numbering.bar_sources, list(zip(instrument, source, strict=True)), ">i2"),
        _text(timeframe),
        _instant(opened)[0],
        _instant(closed)[0],
        *(Numbers(np.array(column, dtype=np.float64), ">f8") for column in prices),
        OptionalNumbers(optional[0], ">f8"),
        OptionalNumbers(optional[1], ">i8"),
        OptionalNumbers(optional[2], ">f8"),
        OptionalNumbers(optional[3], ">f8"),
        Numbers(np.array(is_closed, dtype=np.bool_), "i1"),
        Numbers(np.array(revision, dtype=np.int64), ">i8"),
        known,
        known_ns,
    ]


def _notices(notices: Sequence[FeedNotice], _: Numbering) -> list[Field]:
    at, at_ns = _instant([notice.at for notice in notices])
    return [
        at,
        at_ns,
        *(_text([getattr(n, name) for n in notices]) for name in ("kind", "venue", "feed", "connection", "cause")),
        *_optional_instant([notice.start for notice in notices]),
        *_optional_instant([notice.end for notice in notices]),
        _text_arrays([notice.channels for notice in notices]),
        _text_arrays([notice.instruments for notice in notices]),
        OptionalNumbers([notice.first_missing for notice in notices], ">i8"),
        OptionalNumbers([notice.last_missing for notice in notices], ">i8"),
    ]


def _rejects(rejects: Sequence[Quarantined], _: Numbering) -> list[Field]:
    here, here_ns = _instant([reject.ts_received for reject in rejects])
    return [
        here,
        here_ns,
        *(_text([getattr(reject, name) for reject in rejects]) for name in ("venue", "feed", "reason")),
        Bytes([reject.message for reject in rejects]),
    ]


def _times(name: str) -> Callable[[Sequence[Any]], Ints]:
    return lambda events: np.array([getattr(event, name) for event in events], dtype=np.int64)


_BAR_COLUMNS = (
    *("instrument_id", "source_id", "timeframe", "open_time", "close_time", "open", "high", "low", "close", "volume"),
    *("quote_volume", "trade_count", "taker_buy_volume", "taker_buy_quote_volume", "is_closed", "revision"),
    *("known_at", "known_at_ns"),
)
_RECEIVED = ("ts_event", "ts_received", "ts_event_ns", "ts_received_ns")

TRADES = LiveTable(
    "trades",
    (
        *("instrument_id", "source_id", "taker_side", *_RECEIVED, "trade_count", "trade_id", "price", "size"),
        *("quality", "sent_late", "trade_key"),
    ),
    _trades,
    _times("ts_event"),
)
QUOTES = LiveTable(
    "quotes",
    ("instrument_id", "source_id", *_RECEIVED, "bid", "bid_size", "ask", "ask_size", "sequence", "quality"),
    _quotes,
    _times("ts_event"),
)
BOOKS = LiveTable(
    "books",
    (
        *("instrument_id", "source_id", *_RECEIVED, "sequence"),
        *("bid_prices", "bid_sizes", "ask_prices", "ask_sizes"),
    ),
    _books,
    _times("ts_event"),
)
NOTICES = LiveTable(
    "venue_events",
    (
        *("at", "at_ns", "kind", "venue", "feed", "connection", "cause"),
        *("affected_from", "affected_from_ns", "affected_to", "affected_to_ns"),
        *("channels", "instruments", "first_missing", "last_missing"),
    ),
    _notices,
    _times("at"),
    of_instruments=False,
)
REJECTS = LiveTable(
    "quarantined_messages",
    ("received_at", "received_at_ns", "venue", "feed", "reason", "message"),
    _rejects,
    _times("ts_received"),
    of_instruments=False,
)
_BARS_1S, _BARS_1M, _BARS_INTRADAY, _BARS_DAILY = (
    LiveTable(name, _BAR_COLUMNS, _bars, _times("open_time"))
    for name in ("bars_1s", "bars_1m", "bars_intraday", "bars_daily")
)
BARS: dict[str, LiveTable] = {
    "1s": _BARS_1S,
    "1m": _BARS_1M,
    **dict.fromkeys(("5m", "15m", "30m", "1h", "4h"), _BARS_INTRADAY),
    **dict.fromkeys(("1d", "1w", "1M"), _BARS_DAILY),
}
"""The table of each timeframe: one for each time that bars are kept."""

TABLES: dict[type, LiveTable] = {Trade: TRADES, Quote: QUOTES, Book: BOOKS, FeedNotice: NOTICES, Quarantined: REJECTS}
