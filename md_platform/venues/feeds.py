"""What a venue's live feed is: a frozen `Feed` of addresses, limits and rules, and a sans-I/O session per connection.

The network code in `streaming` reads these and knows no venue by name. A session turns frames into events and opens no
socket, so that a captured connection, a live one and a fuzzer are the same to it.
"""

import datetime as dt
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import msgspec

from md_platform.domain.books import BookRules
from md_platform.domain.events import BookUpdate, Channel, Event, Level, Malformed
from md_platform.domain.instruments import Instrument
from md_platform.venues.spec import RateLimit, Request


@dataclass(frozen=True, slots=True)
class Subscription:
    """One channel of one instrument."""

    channel: Channel
    instrument: Instrument


class Session(Protocol):
    """One connection's conversation with a venue, without its socket."""

    def opening(self) -> list[bytes | str]:
        """What to send once connected, in order."""

    def receive(self, frames: Sequence[bytes], received_ns: int) -> list[Event]:
        """Events of `frames`, which came in together, in order. Never raises for what a venue may send."""


_CONNECTS = RateLimit(weight=10, window_s=10)
_MESSAGES = RateLimit(weight=5, window_s=1)
_UNNUMBERED = BookRules()


@dataclass(frozen=True, slots=True)
class Feed:
    """A venue's live side in one protocol: data, and the functions that speak it.

    name                 unique among all feeds, in records and metrics: the venue's id where it has one feed
    urls                 WebSocket addresses; those after the first are used when it does not answer
    channels             what it carries
    session              makes the sans-I/O side of one connection that carries some subscriptions
    accepts              whether it carries an instrument of the venue
    address              the address of a connection from one of `urls` and its subscriptions; most do not differ
    book                 how its books are kept right
    snapshot_request, parse_snapshot   the REST request for a whole book, where the feed sends changes only, and its
                         answer: payload, instrument and received_ns in; ValueError where it is no book
    instruments_requests, parse_instruments   where its instruments are not those of the venue's history: the REST
                         requests for them all, and the instruments in one answer (payload, venue id); a payload that
                         is no answer raises MalformedPayload
    numbers_trades       whether an instrument's trade ids are consecutive, so that a jump is a hole
    rest_url             where books, tokens and instruments are asked, None: the venue's own
    token_request, token_url   where a connection needs a token: the REST request, and the address from its answer
    max_streams          subscriptions that one connection may carry
    ping, ping_after_s   what to send when nothing was sent for that long; None: WebSocket's own pings suffice
    max_connection_s     when the venue hangs up by itself
    connect_limit        connections that may be opened; message_limit: messages that may be sent on one
    silence_s            a channel that says nothing for this long, over all its instruments, has stalled
    ccxt                 the exchange of ccxt's that brings the frames, None: a socket of ours
    spoken               dates from which and until which the venue spoke this protocol; both None: it does now
    """

    name: str
    urls: tuple[str, ...]
    channels: frozenset[Channel]
    session: Callable[[Sequence[Subscription]], Session]
    accepts: Callable[[Instrument], bool] = lambda instrument: not instrument.is_perpetual
    book: BookRules = _UNNUMBERED
    snapshot_request: Callable[[Instrument], Request] | None = None
    parse_snapshot: Callable[[bytes, Instrument, int], BookUpdate] | None = None
    instruments_requests: tuple[Request, ...] = ()
    parse_instruments: Callable[[bytes, str], list[Instrument]] | None = None
    rest_url: str | None = None
    numbers_trades: bool = False
    address: Callable[[str, Sequence[Subscription]], str] = lambda url, _: url
    token_request: Request | None = None
    token_url: Callable[[bytes], str] | None = None
    max_streams: int = 200
    ping: Callable[[], bytes | str] | None = None
    ping_after_s: float = 15
    max_connection_s: float | None = None
    connect_limit: RateLimit = _CONNECTS
    message_limit: RateLimit = _MESSAGES
    silence_s: Mapping[Channel, float] = field(default_factory=lambda: {"trades": 300, "quotes": 60, "book": 30})
    ccxt: str | None = None
    spoken: tuple[dt.date | None, dt.date | None] = (None, None)


def shards(feed: Feed, subscriptions: Sequence[Subscription]) -> list[Sequence[Subscription]]:
    """`subscriptions` as the fewest connections that the venue allows."""
    return [subscriptions[n : n + feed.max_streams] for n in range(0, len(subscriptions), feed.max_streams)]


def decoded_each(
    decode_many: Callable[[bytes], Any], decode_one: Callable[[bytes], Any], frames: Sequence[bytes], out: list[Event]
) -> Iterable[tuple[bytes, Any]]:
    """Each of `frames` with its decoded value; those that cannot be decoded go to `out` as Malformed.

    All are decoded as one JSON array, which costs a third of decoding each; one bad frame fails the array, and then
    they are decoded one by one.
    """
    if len(frames) > 1:
        try:
            values = decode_many(b"[" + b",".join(frames) + b"]")
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            values = ()
        if len(values) == len(frames):  # else a frame held two values
            return zip(frames, values, strict=True)
    good = []
    for frame in frames:
        try:
            good.append((frame, decode_one(frame)))
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            out.append(Malformed(frame, str(error)))
    return good


def levels_of(rows: Sequence[Sequence[str]]) -> list[Level]:
    """Price and size that each of `rows` begins with; ValueError where one is no number or is missing."""
    levels = [(price, size) for price, size, *_ in rows]
    for price, size in levels:
        float(price)
        float(size)
    return levels
