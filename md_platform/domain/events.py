"""What a live feed says, as values: market events (trade, quote, book, bar) and what happened to the feed itself.

Each is a msgspec struct that encodes as an array led by its tag, in the order of its fields: that array is what Redis,
the spool and the gateway carry. Times are int64 nanoseconds since the epoch, UTC: `ts_event` is the venue's clock,
`ts_received` ours. Prices are in the quote currency, sizes in the base currency.
"""

from typing import Literal

import msgspec

Channel = Literal["trades", "quotes", "book", "bars"]
Side = Literal["buy", "sell"]
Level = tuple[str, str]
"""Price and size as the venue wrote them: checksums are computed from these digits. Size 0 removes the level."""


class Trade(msgspec.Struct, array_like=True, gc=False, tag="trade"):
    """One trade. `taker_side` is the aggressor's side, not the resting order's; None where the venue does not say.

    `trade_id` is the venue's own where it has one, else made of the trade's original text: unique per instrument.
    `trade_count` is its fills: more than 1 where a venue aggregates. `sent_late` marks trades from before the
    subscription, which some venues send on subscribing.
    """

    instrument: str
    ts_event: int
    ts_received: int
    trade_id: int | str
    price: float
    size: float
    taker_side: Side | None = None
    trade_count: int = 1
    sent_late: bool = False
    quality: float = 1.0


class Quote(msgspec.Struct, array_like=True, gc=False, tag="quote"):
    """Best bid and ask. `ts_event` is `ts_received` where the venue sends no time; `sequence` 0 where it sends none."""

    instrument: str
    ts_event: int
    ts_received: int
    bid: float
    bid_size: float
    ask: float
    ask_size: float
    sequence: int = 0
    quality: float = 1.0


class BookUpdate(msgspec.Struct, array_like=True, tag="book_update"):
    """A whole book (`is_snapshot`) or changed levels, as the venue sent them. Internal: consumers get `Book`.

    `first_sequence` and `sequence` are the first and last update that this one holds; `previous_sequence` is the last
    one before, where the venue names it. `checksum` is the venue's over the book after this update.
    """

    instrument: str
    ts_event: int
    ts_received: int
    bids: list[Level]
    asks: list[Level]
    is_snapshot: bool = False
    sequence: int | None = None
    first_sequence: int | None = None
    previous_sequence: int | None = None
    checksum: int | str | None = None


class Book(msgspec.Struct, array_like=True, tag="book"):
    """The best levels of a book that is known to be right: (price, size) from the best on."""

    instrument: str
    ts_event: int
    ts_received: int
    bids: list[tuple[float, float]]
    asks: list[tuple[float, float]]
    sequence: int = 0


class Bar(msgspec.Struct, array_like=True, gc=False, tag="bar"):
    """A bar as schemas.BAR_COLUMNS has it, times in ns. Sums are None where a part is unknown.

    `source` is the venue's own candle (`venue`) or our aggregation of its trades (`trades`).
    """

    instrument: str
    timeframe: str
    open_time: int
    close_time: int
    open: float
    high: float
    low: float
    close: float
    volume: float
    quote_volume: float | None
    trade_count: int | None
    taker_buy_volume: float | None
    taker_buy_quote_volume: float | None
    is_closed: bool
    source: str
    revision: int
    known_at: int

    @property
    def vwap(self) -> float | None:
        """quote_volume / volume; None where either is unknown or nothing traded."""
        return self.quote_volume / self.volume if self.quote_volume is not None and self.volume > 0 else None


class IndicatorValues(msgspec.Struct, array_like=True, tag="indicators"):
    """Values of the standard set on one bar, by column; None while an indicator warms up."""

    instrument: str
    timeframe: str
    open_time: int
    is_closed: bool
    known_at: int
    values: dict[str, float | None]


class DayStatistics(msgspec.Struct, array_like=True, gc=False, tag="day"):
    """The 24 hours before `at`, a whole minute, by closed 1m bars. `change` is `close / open - 1`.

    `is_whole` False: bars of it may be missing. `quote_volume` is None where a part of it is unknown.
    """

    instrument: str
    at: int
    open: float
    high: float
    low: float
    close: float
    volume: float
    quote_volume: float | None
    change: float
    is_whole: bool


NoticeKind = Literal[
    "connected", "disconnected", "gap", "repaired", "stalled", "lagging", "caught_up", "halted", "resumed",
    "book_resync", "shed", "held", "released", "refused"
]  # fmt: skip


class FeedNotice(msgspec.Struct, array_like=True, tag="notice"):
    """Something happened to a feed that its consumers must know: stored in `venue_events`, sent on `md:events`.

    `start` and `end` bound what is affected (end None: it goes on); `instruments` empty means all of the connection.
    `first_missing` to `last_missing` are the venue's numbers that never came, where it numbers what it sends.
    """

    kind: NoticeKind
    venue: str
    feed: str
    connection: str
    at: int
    cause: str = ""
    start: int | None = None
    end: int | None = None
    channels: list[str] = []
    instruments: list[str] = []
    first_missing: int | None = None
    last_missing: int | None = None


class Alert(msgspec.Struct, array_like=True, gc=False, tag="alert"):
    """A rule of `owner` fired, because of something at `at`; `id` is never given twice."""

    id: int
    rule: str
    owner: str
    name: str
    instrument: str | None
    severity: Literal["low", "medium", "high", "critical"]
    message: str
    value: float | None
    at: int


class Quarantined(msgspec.Struct, array_like=True, tag="quarantined"):
    """A message, or a part of one, that was not accepted: kept as it was received, with the reason."""

    venue: str
    feed: str
    ts_received: int
    reason: str
    message: bytes


MarketEvent = Trade | Quote | BookUpdate | Bar


class Subscribed(msgspec.Struct, tag="subscribed"):
    """The venue confirmed `channel` for `symbols` (native); empty where its confirmation names none."""

    channel: Channel | None
    symbols: list[str]


class Refused(msgspec.Struct, tag="refused"):
    """The venue refused something that was asked of it, in its own words."""

    reason: str
    channel: Channel | None = None
    symbols: list[str] = []


class Heartbeat(msgspec.Struct, tag="heartbeat"):
    """The venue says that the connection lives; no market data."""


class Reply(msgspec.Struct, tag="reply"):
    """What the venue wants to be sent at once, such as the answer to its ping."""

    frame: bytes | str


class SequenceGap(msgspec.Struct, tag="sequence_gap"):
    """The connection's numbering of frames jumped: `expected` to `got` - 1 never came, whatever they were of."""

    expected: int
    got: int


class TradingStatus(msgspec.Struct, tag="trading_status"):
    """The venue halted or resumed trading of `instrument` (None: of everything)."""

    is_halted: bool
    instrument: str | None = None
    reason: str = ""


class ReconnectAsked(msgspec.Struct, tag="reconnect_asked"):
    """The venue asks for a new connection: what this one carries from here on cannot be relied on."""

    reason: str = ""


class Unknown(msgspec.Struct, tag="unknown"):
    """A frame that is well formed and that no rule of the venue's file explains: counted and kept, never dropped."""

    frame: bytes


class Malformed(msgspec.Struct, tag="malformed"):
    """A frame, or a part of one, that breaks the protocol, and how."""

    frame: bytes
    reason: str


FeedEvent = (
    Subscribed | Refused | Heartbeat | Reply | SequenceGap | TradingStatus | ReconnectAsked | Unknown | Malformed
)
Event = MarketEvent | FeedEvent
