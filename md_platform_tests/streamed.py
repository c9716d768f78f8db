"""A sandbox's market as the live process publishes it: its trades as events, and what LiveBars makes of them."""

from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from uuid import uuid4

from md_platform.domain.events import Bar, Trade
from md_platform.domain.intervals import Interval
from md_platform.domain.live_bars import LiveBars
from md_platform.sandbox.history import History
from md_platform.sandbox.listings import listings
from md_platform.sandbox.server import SandboxConfig
from md_platform.sandbox.simulation import Simulation
from md_platform.storage.live_rows import Stored
from md_platform.storage.live_store import LiveStore

_LISTED = {"sandbox:LTC-USDT": "binance:LTC-USDT", "sandbox:BTC-USDT": "binance:BTC-USDT"}


@cache
def _market(activity: float) -> History:
    return History(Simulation(SandboxConfig().seed, listings(activity=activity)))


def streamed(instrument: str, interval: Interval, activity: float = 1.0) -> list[Trade]:
    """Trades of `interval`, received 5 ms after they happened: those that the history of such a sandbox has, too."""
    market = _market(activity)
    listing = market.simulation.listings[_LISTED[instrument]]
    start_us, end_us = (int(at.timestamp()) * 1_000_000 for at in (interval.start, interval.end))
    return [
        Trade(
            instrument,
            each.time_us * 1_000,
            each.time_us * 1_000 + 5_000_000,
            each.id,
            listing.price(each.price_ticks),
            listing.size(each.lots),
            "buy" if each.is_buy else "sell",
            each.last_id - each.first_id + 1,
        )
        for each in market.aggregates(listing, start_us, end_us)
    ]


def live_bars(trades: Sequence[Trade], since_ns: int) -> Iterator[Bar]:
    """Bars as they close while `trades` come in, of periods from `since_ns` on."""
    live = LiveBars(trades[0].instrument, complete_since_ns=since_ns)
    for n in range(0, len(trades), 500):
        live.add_all(trades[n : n + 500])
        yield from (bar for bar in live.closed() if bar.is_closed)


def stored(url: str, events: Iterable[Stored]) -> None:
    """Store `events` as one spool's, as the writer does."""
    spool, everything = uuid4(), list(events)
    with LiveStore(url) as store:
        for n in range(0, len(everything), 50_000):
            store.write(everything[n : n + 50_000], spool, n + 50_000, n)
