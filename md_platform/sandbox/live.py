"""What every live protocol shares: frames, sessions free of sockets, and bars that still run."""

from collections.abc import Iterator
from typing import NamedTuple, Protocol

import numpy as np

from md_platform.domain.intervals import Timeframe
from md_platform.sandbox.history import DAY_US, Bar, History, close_of, open_of
from md_platform.sandbox.listings import Listing
from md_platform.sandbox.prices import HOUR_US, STEP_US

SECOND_US = 1_000_000


class Frame(NamedTuple):
    """One message. `channel` (trades, bars, book, ticker, heartbeat, reply) and `instrument` are for faults.

    `delay_s` is wall-clock time that the venue takes for it.
    """

    text: str
    channel: str
    instrument: str
    time_us: int
    delay_s: float = 0.0


class Session(Protocol):
    """One connection's conversation: what arrives and how late it is in, frames out. No socket in it."""

    def open(self, now_us: int) -> list[Frame]:
        """What the venue says first."""
        ...

    def receive(self, text: str, now_us: int) -> list[Frame]:
        """Replies to one message of the client, snapshots included."""
        ...

    def due(self, since_us: int, now_us: int) -> list[Frame]:
        """What subscriptions yield in `(since_us, now_us]`, in order of time."""
        ...


class Tick(NamedTuple):
    """One event of a stream: when, and its JSON."""

    time_us: int
    json: str


def boundaries(since_us: int, now_us: int, every_us: int) -> range:
    """Multiples of `every_us` in `(since_us, now_us]`."""
    return range((since_us // every_us + 1) * every_us, now_us + 1, every_us)


def changed_steps(
    history: History, listing: Listing, since_us: int, now_us: int, every: int = 1
) -> Iterator[tuple[int, int]]:
    """Steps in `(since_us, now_us]`, multiples of `every`, at which the book changed, each with the one before."""
    for time_us in boundaries(since_us, now_us, every * STEP_US):
        step = time_us // STEP_US
        bids, asks = history.books.changes(listing, step - every, step)
        if bids or asks:
            before = step - every
            while not any(history.books.changes(listing, before - every, before)):
                before -= every
            yield before, step


def traded_seconds(history: History, listing: Listing, since_us: int, now_us: int) -> list[int]:
    """Ends of the seconds that end in `(since_us, now_us]` and held trades."""
    ends = boundaries(since_us, now_us, SECOND_US)
    if not ends:
        return []
    trades = history.trades(listing, ends[0] - SECOND_US, ends[-1])
    return sorted({trade.time_us // SECOND_US * SECOND_US + SECOND_US for trade in trades})


def running_bar(history: History, listing: Listing, timeframe: Timeframe, now_us: int) -> Bar | None:
    """The bar that runs just before `now_us`, of the trades so far; None while it has none.

    Computed from columns, as a stream needs it every second; a bar's last word comes from `History.bars`.
    """
    opens = open_of(timeframe, now_us - 1)
    closes = close_of(timeframe, opens)
    if closes - opens > DAY_US:
        bars = history.bars(listing, timeframe, opens, closes, now_us)
        return bars[-1] if bars else None
    price, size, is_buy = [], [], []
    for number in range(opens // HOUR_US, (now_us - 1) // HOUR_US + 1):
        fills = history.simulation.hour(listing, number).fills
        low, high = np.searchsorted(fills.time_us, (opens, now_us))
        price.append(fills.price[low:high])
        size.append(fills.size[low:high])
        is_buy.append(fills.is_buy[low:high])
    prices = np.concatenate(price) / 10**listing.tick_decimals
    sizes = np.concatenate(size) / 10**listing.lot_decimals
    if len(prices) == 0:
        return None
    bought, values = np.concatenate(is_buy), prices * sizes
    lots, value = listing.lot_decimals, listing.lot_decimals + listing.tick_decimals
    return Bar(
        opens,
        closes,
        float(prices[0]),
        float(prices.max()),
        float(prices.min()),
        float(prices[-1]),
        round(float(sizes.sum()), lots),
        round(float(values.sum()), value),
        len(prices),
        round(float(sizes[bought].sum()), lots),
        round(float(values[bought].sum()), value),
    )
