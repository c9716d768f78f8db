"""What the venue's simulation says that happened: instruments and times in, trades and books out.

The same seed makes the same market in this process, so that nothing here is asked from the venue that is judged.
"""

from collections.abc import Sequence
from typing import NamedTuple

from md_platform.domain.events import Book
from md_platform.sandbox.book import sequence_of, step_at
from md_platform.sandbox.history import Aggregate, History, Trade
from md_platform.sandbox.listings import Listing, listings
from md_platform.sandbox.prices import STEP_US
from md_platform.sandbox.server import SandboxConfig
from md_platform.sandbox.simulation import Simulation

PROTOCOLS = {"sandbox": "binance", "sandbox-coinbase": "coinbase", "sandbox-kraken": "kraken"}
"""What each of the sandbox's venues speaks."""


class Happened(NamedTuple):
    """A trade as it must be stored."""

    time_us: int
    price: float
    size: float


class Market:
    """The simulation of a sandbox that is `activity` times as busy as usual."""

    def __init__(self, activity: float) -> None:
        self._history = History(Simulation(SandboxConfig().seed, listings(activity=activity)))

    def trades(self, instrument: str, start_us: int, end_us: int) -> dict[int, Happened]:
        """Trades of `[start_us, end_us)` by id. Binance's are aggregates."""
        listing = self._listing(instrument)
        found: Sequence[Aggregate | Trade]
        if listing.venue == "binance":
            found = self._history.aggregates(listing, start_us, end_us)
        else:
            found = self._history.trades(listing, start_us, end_us)
        resolution = listing.resolution_us
        return {
            each.id: Happened(
                each.time_us // resolution * resolution, listing.price(each.price_ticks), listing.size(each.lots)
            )
            for each in found
        }

    def is_right(self, book: Book) -> bool:
        """Whether `book` is the venue's at its moment: Binance's numbers are the simulation's, others' times are.

        A snapshot of Coinbase has no time but that of its message, which is some milliseconds younger than the book.
        """
        listing = self._listing(book.instrument)
        step = step_at(book.ts_event // 1_000)
        if listing.venue == "binance":
            step += book.sequence - sequence_of(step)
        is_snapshot = listing.venue == "coinbase" and book.ts_event % (STEP_US * 1_000) != 0
        return self._is_at(book, listing, step) or (is_snapshot and self._is_at(book, listing, step - 1))

    def _is_at(self, book: Book, listing: Listing, step: int) -> bool:
        return (book.bids, book.asks) == tuple(
            [(listing.price(price), listing.size(lots)) for price, lots in side.items()]
            for side in self._history.books.at(listing, step)
        )

    def _listing(self, instrument: str) -> Listing:
        venue, _, pair = instrument.partition(":")
        return self._history.simulation.listings[f"{PROTOCOLS[venue]}:{pair}"]
