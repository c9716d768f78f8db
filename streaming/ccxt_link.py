"""A link through ccxt.pro, for exchanges without a feed of ours: its answers in, handed over as frames of `ccxt_feed`.

ccxt connects, subscribes, pings and keeps its books by itself. It would also connect again by itself, without a word:
so the link is over with the first socket that ends, and ccxt's state with it.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

import ccxt.pro
import msgspec
import structlog

from md_platform.domain.events import Channel, Refused
from md_platform.settings import VenueUrls
from md_platform.sources.ccxt_source import contract_size, error_of, moved
from md_platform.venues.ccxt_feed import BOOK_LEVELS, feed_of
from md_platform.venues.feeds import Feed, Subscription
from streaming.connection import Connection
from streaming.link import Link

log = structlog.get_logger(__name__)

_MARKETS_TIMEOUT_S = 30.0
_SETTLES_S = 2.0  # after its sockets are open ccxt has subscribed; it says nothing of confirmations
_KEPT_TRADES = 20_000  # between two of our reads
_UNREADABLE = (TypeError, ValueError, KeyError, IndexError, AttributeError)
_encode = msgspec.json.Encoder(enc_hook=str).encode

Exchange = Any  # ccxt has no types of its own
Ask = Callable[[], Awaitable[Iterable[object]]]
"""Waits for the exchange's next answer of a channel, and gives what of it is news."""


def ccxt_feed(exchange: str) -> Feed | None:
    """The feed of the exchange that ccxt calls `exchange`, None where ccxt.pro watches no such exchange."""
    if exchange not in ccxt.pro.exchanges:
        return None
    has = getattr(ccxt.pro, exchange)().has
    given: dict[Channel, bool] = {
        "trades": has.get("watchTrades") is True,
        "quotes": has.get("watchBidsAsks") is True or has.get("watchTicker") is True,
        "book": has.get("watchOrderBook") is True,
    }
    return feed_of(exchange, frozenset(channel for channel, is_given in given.items() if is_given))


class CcxtLinks:
    """Makes the links of one connection, which share the list of the exchange's markets."""

    def __init__(self, exchange: str, urls: VenueUrls, ca_file: str | None) -> None:
        self._exchange = exchange
        self._urls = urls
        self._ca_file = ca_file
        self._latest: Exchange = None

    def __call__(self, connection: Connection, url: str) -> Link:
        """A link of `connection`."""
        exchange = getattr(ccxt.pro, self._exchange)(
            {"options": {"tradesLimit": _KEPT_TRADES}, **({"cafile": self._ca_file} if self._ca_file else {})}
        )
        if self._urls.rest is not None:
            exchange.urls["api"] = moved(exchange.urls["api"], "http", self._urls.rest)
        if self._urls.ws is not None:
            exchange.urls["api"] = moved(exchange.urls["api"], "ws", self._urls.ws)
        if self._latest is not None and self._latest.markets:
            exchange.set_markets_from_exchange(self._latest)
        self._latest = exchange
        return CcxtLink(connection, url, exchange)


class CcxtLink(Link):
    """One exchange object of ccxt's from its first socket to the first that ends; a task for each subscription."""

    def __init__(self, connection: Connection, url: str, exchange: Exchange) -> None:
        super().__init__(connection, url)
        self._exchange = exchange
        self._tasks: list[asyncio.Task[None]] = []
        self._answered: set[Subscription] = set()
        self._settled_at = 0.0
        # ccxt hands these to each socket that it opens
        exchange.handle_message = self._reading(exchange.handle_message)
        exchange.on_error = self._ending(exchange.on_error)
        exchange.on_close = self._ending(exchange.on_close)

    def _reading(self, handle: Callable[[object, object], None]) -> Callable[[object, object], None]:
        def read(client: object, message: object) -> None:
            try:
                handle(client, message)
            except Exception as error:  # noqa: BLE001 - after any, ccxt would read no more of this socket
                self.end(f"ccxt cannot read a message ({error!r})")

        return read

    def _ending(self, handle: Callable[[object, object], None]) -> Callable[[object, object], None]:
        def ended(client: object, reason: object) -> None:
            self.end(f"the venue hung up ({reason})" if isinstance(reason, int) else str(reason))
            handle(client, reason)

        return ended

    async def open(self) -> None:
        """Ask for the markets and begin to watch."""
        try:
            await asyncio.wait_for(self._exchange.load_markets(), _MARKETS_TIMEOUT_S)
        except ccxt.BaseError as error:
            raise error_of(self.connection.feed.name, error) from error
        except _UNREADABLE as error:
            raise ValueError(f"ccxt cannot read the markets ({error!r})") from error
        self.connected_ns = self.last_ns = time.time_ns()
        self._tasks = [asyncio.create_task(self._watch(each)) for each in self.connection.subscriptions]
        for task in self._tasks:
            task.add_done_callback(self._over)

    async def _watch(self, subscription: Subscription) -> None:
        channel, symbol = subscription.channel, subscription.instrument.ccxt
        news = watching(self._exchange, channel, symbol)
        while not self.ended.is_set():
            try:
                unit = contract_size(self._exchange.market(symbol))
                head = {"channel": channel, "symbol": symbol, "contract_size": unit}
                frames = [_encode({**head, "data": each}) for each in await news()]
            except Exception as error:  # noqa: BLE001 - whatever ccxt's generated code raises, this watch is over
                self._failed(subscription, error)
                return
            self._answered.add(subscription)
            self.received(frames, time.time_ns())

    def _failed(self, subscription: Subscription, error: Exception) -> None:
        said = f"{type(error).__name__} {error}"
        is_refusal = isinstance(error, ccxt.BaseError) and not isinstance(error, ccxt.OperationFailed)
        if is_refusal and subscription not in self._answered:
            self.told([Refused(said, subscription.channel, [subscription.instrument.native])])
        else:
            self.end(f"{said} ({subscription.channel} of {subscription.instrument.id})")

    def _over(self, watch: asyncio.Task[None]) -> None:
        """A watch that our own code broke must not fall silent."""
        if not watch.cancelled() and (error := watch.exception()) is not None:
            log.error("broken", connection=self.connection.name, exc_info=error)
            self.end(f"broken by {error!r}")

    def hears_market_data(self) -> bool:
        """Whether each subscription was answered, or there was time for ccxt to make it."""
        now = time.monotonic()
        clients = self._exchange.clients.values()
        if not clients or not all(client.isConnected for client in clients):
            self._settled_at = now + _SETTLES_S + len(self._tasks) * self._exchange.rateLimit / 1_000
        is_subscribed = self._answered.issuperset(self.connection.subscriptions) or now > self._settled_at
        if is_subscribed:
            self.last_ns = time.time_ns()  # what traded before may have been missed
        return is_subscribed

    def stalled(self) -> str | None:
        """As for any link; answers to ccxt's pings are a sign of life too."""
        pongs = [client.lastPong or 0 for client in self._exchange.clients.values()]
        self.alive_ns = max(self.alive_ns, min(pongs, default=0) * 1_000_000)
        return super().stalled()

    async def close(self) -> None:
        """End the tasks, and have ccxt give back its sockets."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._exchange.close()


def watching(exchange: Exchange, channel: Channel, symbol: str) -> Ask:
    """What waits for news of `channel`."""
    if channel == "trades":
        params = _SAME_IDS if isinstance(exchange, ccxt.pro.binance) else {}

        async def trades() -> Iterable[object]:
            found: list[object] = await exchange.watch_trades(symbol, params=params)
            return found

        return trades
    if channel == "book":

        async def book() -> Iterable[object]:
            found = await exchange.watch_order_book(symbol)
            sides = {side: [level[:2] for level in found[side][:BOOK_LEVELS]] for side in ("bids", "asks")}
            return [{"timestamp": found.get("timestamp"), "nonce": found.get("nonce"), **sides}]

        return book

    async def quotes() -> Iterable[object]:
        if exchange.has.get("watchBidsAsks") is True:
            found: Mapping[str, object] = await exchange.watch_bids_asks([symbol])
            return found.values()
        return [await exchange.watch_ticker(symbol)]

    return quotes


_SAME_IDS = {"name": "aggTrade"}
"""Binance's own, as ccxt asks history for aggregated trades: each trade must have one id, wherever it comes from."""
