"""What is known of one instrument: its trades so far and the bars they make, continued from before this process."""

from collections.abc import Sequence
from dataclasses import dataclass

from md_platform.domain.events import Bar, Trade
from md_platform.domain.instruments import Instrument
from md_platform.domain.live_bars import LiveBars
from md_platform.venues.feeds import Feed
from streaming.indicators import InstrumentIndicators
from streaming.trades import TradeIds, TradeTape

LATE_NS = 1_000_000_000
"""A trade this much older than the newest counts as late."""


@dataclass(frozen=True, slots=True)
class Tail:
    """What is known of an instrument from before this process: its last trades, in any order, and closed 1m bars.

    The trades are complete from `complete_since_ns` on; `bars` are all of `[bars_since_ns, complete_since_ns)`.
    """

    complete_since_ns: int
    trades: Sequence[Trade] = ()
    bars: Sequence[Bar] = ()
    bars_since_ns: int = 0


@dataclass(slots=True)
class Tracked:
    """One instrument: its trades so far and the bars they make.

    `needs_proof` is whether history has yet to show that it gives trades the ids that the feed gives them: of our own
    feeds tests have shown it, of ccxt's nobody has. A trade under two names would be two.
    """

    instrument: Instrument
    feed: str
    tape: TradeTape
    bars: LiveBars
    indicators: InstrumentIndicators | None = None
    needs_proof: bool = False


def continued(instrument: Instrument, feed: Feed, tail: Tail, indicators: InstrumentIndicators | None) -> Tracked:
    """`instrument` as `tail` leaves it: what that holds counts as published."""
    tape = TradeTape(TradeIds(consecutive=feed.numbers_trades))
    bars = LiveBars(instrument.id, complete_since_ns=tail.complete_since_ns)
    for trade in tail.trades:
        if tape.ids.is_new(trade):
            tape.quality(trade, LATE_NS)
    if tail.trades or tail.bars:
        recent = [trade for trade in tail.trades if trade.ts_event >= tail.complete_since_ns]
        bars.resume(tail.bars, recent, tail.bars_since_ns, tail.complete_since_ns)
        bars.closed()
    return Tracked(instrument, feed.name, tape, bars, indicators, needs_proof=feed.ccxt is not None)
