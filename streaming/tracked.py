"""What is known of one instrument: its trades so far and the bars they make, continued from before this process."""

from collections.abc import Sequence
from dataclasses import dataclass

from md_platform.domain.events import Trade
from md_platform.domain.instruments import Instrument
from md_platform.domain.live_bars import LATENESS_NS, LiveBars
from md_platform.domain.live_cascade import DAY_NS
from md_platform.domain.live_periods import MINUTE_NS
from md_platform.domain.wire import Published
from md_platform.venues.feeds import Feed
from streaming.day import LiveDay
from streaming.indicators import InstrumentIndicators
from streaming.past import Past
from streaming.trades import LATE_NS, TradeIds, TradeTape


@dataclass(frozen=True, slots=True)
class Tail:
    """What is known of an instrument from before this process: its last trades, in any order, and bars of before them.

    The trades are complete from `complete_since_ns` on. `past` ends with the minute that this is in.
    """

    complete_since_ns: int
    trades: Sequence[Trade] = ()
    past: Past | None = None

    @property
    def past_until_ns(self) -> int:
        """Where its past is to end."""
        return self.complete_since_ns - self.complete_since_ns % MINUTE_NS


@dataclass(slots=True)
class Tracked:
    """One instrument: its trades so far and the bars they make.

    `unknown` are the stretches of the day before `known_since_ns` that history has yet to bring.
    `needs_proof` is whether history has yet to show that it gives trades the ids that the feed gives them: of our own
    feeds tests have shown it, of ccxt's nobody has. A trade under two names would be two.
    """

    instrument: Instrument
    feed: str
    tape: TradeTape
    bars: LiveBars
    day: LiveDay
    known_since_ns: int
    unknown: Sequence[tuple[int, int]]
    indicators: InstrumentIndicators | None = None
    needs_proof: bool = False


def continued(
    instrument: Instrument, feed: Feed, tail: Tail, indicators: InstrumentIndicators | None
) -> tuple[Tracked, list[Published]]:
    """`instrument` as `tail` leaves it, and of what that makes, what the process before this may not have published.

    That is what closed within the last second of its trades, as it closed bars between two reads of its sockets.
    """
    tape = TradeTape(TradeIds(consecutive=feed.numbers_trades))
    tape.judge(tape.ids.new_of(list(tail.trades)))
    until_ns = tail.past_until_ns
    midnight_ns = until_ns - until_ns % DAY_NS
    past = tail.past or Past(until_ns, unknown=[(until_ns - DAY_NS, until_ns)])
    unknown = [(max(start, midnight_ns), end) for start, end in past.unknown if end > midnight_ns]
    bars = LiveBars(instrument.id, complete_since_ns=tail.complete_since_ns)
    today = [bar for bar in past.minutes if bar.open_time >= midnight_ns]
    recent = [trade for trade in tail.trades if trade.ts_event >= tail.complete_since_ns]
    closed = bars.resume([*past.days, *today], recent, midnight_ns, until_ns, unknown) + bars.closed()
    day = LiveDay(instrument.id, [*past.minutes, *closed], past.unknown, midnight_ns)
    tracked = Tracked(instrument, feed.name, tape, bars, day, until_ns, unknown, indicators, feed.ccxt is not None)
    values = indicators.values(closed) if indicators is not None else []
    if not recent:
        return tracked, []
    last_ns = max(trade.ts_event for trade in recent) - LATENESS_NS - LATE_NS
    due = [bar for bar in closed if bar.close_time > last_ns]
    keys = {(bar.timeframe, bar.open_time) for bar in due}
    return tracked, [*due, *(each for each in values if (each.timeframe, each.open_time) in keys)]
