"""What live parsers of several venues read alike: times as text, candles without an end, lists too long for a message.

Anything that one venue alone needs belongs to that venue's file.
"""

import datetime as dt
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from operator import attrgetter
from types import UnionType
from typing import Annotated, Any, TypeVar, get_args

import msgspec

from md_platform.domain.events import Bar, BookUpdate, Event, TradingStatus

T = TypeVar("T")
Moment = Annotated[dt.datetime, msgspec.Meta(tz=True)]
"""ISO 8601 with an offset, decoded to the µs by msgspec, which costs a third of `iso_ns`: for messages by the thousand.

`int(moment.timestamp() * 1e6 + 0.5) * 1_000` is the exact time in ns until the year 2255.
"""

SECOND_NS = 1_000_000_000
NOT_THE_PROTOCOL = (ValueError, TypeError, LookupError, OverflowError, AttributeError, RecursionError)
"""What reading an untyped value as the protocol raises where it is something else: all become Malformed."""

_DATE_AND_TIME = 19


@lru_cache(4_096)
def _whole_seconds(text: str) -> int:
    return int(dt.datetime.fromisoformat(text + "+00:00").timestamp())


def iso_ns(text: str) -> int:
    """Nanoseconds since the epoch of `2021-04-17T16:43:30.244075Z`, whose seconds have up to nine digits."""
    fraction = text[_DATE_AND_TIME + 1 : -1]
    if text[-1:] != "Z" or not (fraction.isdecimal() or len(text) == _DATE_AND_TIME + 1):
        raise ValueError(f"a time must look like 2021-04-17T16:43:30.244075Z, was {text!r}")
    return _whole_seconds(text[:_DATE_AND_TIME]) * SECOND_NS + int(fraction.ljust(9, "0")[:9])


def moment_ns(moment: dt.datetime) -> int:
    """Nanoseconds since the epoch of a decoded Moment, exact to the µs until 2100; loops over trades write it out."""
    return int(moment.timestamp() * 1e6 + 0.5) * 1_000


def digits(value: object) -> str:
    """A number's own text, where JSON was decoded with `float_hook=str`: checksums are made of it."""
    if type(value) is str:
        float(value)
        return value
    if type(value) is int:
        return str(value)
    raise TypeError(f"a number must be one, was {value!r}")


def batches(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """`items` in order, at most `size` at a time."""
    return (items[n : n + size] for n in range(0, len(items), size))


def follows(last: int, update: BookUpdate) -> bool:
    """Of venues that number a connection's messages, whose sessions name the book's message before, None after a gap.

    Numbers begin anew with each connection, as its books do.
    """
    return update.previous_sequence == last


def running_bar(
    instrument: str,
    minutes: int,
    open_time: int,
    ohlcv: tuple[float, float, float, float, float],
    received_ns: int,
    trade_count: int | None = None,
) -> Bar:
    """A candle of the venue's that may still change, of a venue that gives no more than this."""
    close_time = open_time + minutes * 60 * SECOND_NS
    sums = None, trade_count, None, None
    return Bar(instrument, f"{minutes}m", open_time, close_time, *ohlcv, *sums, False, "venue", 0, received_ns)


def decoder(messages: UnionType, others: type[msgspec.Struct], **options: Any) -> Callable[[bytes], object]:  # noqa: ANN401
    """Decodes a frame as one of the tagged `messages`, or as `others` where its tag is none of theirs.

    Raises ValidationError where the tag is theirs and the rest is not.
    """
    kinds = get_args(messages)
    tags = {kind.__struct_config__.tag for kind in kinds}
    tag_of = attrgetter(kinds[0].__struct_config__.tag_field)
    decode = msgspec.json.Decoder[Any](messages, **options).decode
    decode_other = msgspec.json.Decoder(others).decode

    def decode_one(frame: bytes) -> object:
        try:
            return decode(frame)
        except msgspec.ValidationError:
            other = decode_other(frame)
            if tag_of(other) in tags:
                raise
            return other

    return decode_one


class Halts:
    """Statuses that a venue repeats again and again in, halts that began or ended out."""

    def __init__(self) -> None:
        self._halted: set[str] = set()

    def take(self, instrument: str | None, *, is_halted: bool, reason: str) -> list[Event]:
        """What changed; nothing where `instrument` is None, which is one that nobody asked for."""
        if instrument is None or is_halted == (instrument in self._halted):
            return []
        (self._halted.add if is_halted else self._halted.discard)(instrument)
        return [TradingStatus(is_halted, instrument, reason)]


class RunningBars:
    """Candles of a venue that never says that one is over: the next one's beginning does.

    A bar that was passed on while it ran is passed on once more, closed, when a later one comes; where nothing trades,
    that is when something does.
    """

    def __init__(self) -> None:
        self._last: dict[str, Bar] = {}

    def take(self, bars: Iterable[Bar]) -> list[Bar]:
        """`bars` by time, and before each the one that it closes."""
        out: list[Bar] = []
        for bar in sorted(bars, key=lambda bar: bar.open_time):
            last = self._last.get(bar.instrument)
            if last is not None and bar.open_time < last.open_time:
                bar.is_closed = True
            else:
                if last is not None and bar.open_time > last.open_time and not last.is_closed:
                    self._close(last, bar, out)
                self._last[bar.instrument] = bar
            out.append(bar)
        return out

    @staticmethod
    def _close(last: Bar, later: Bar, out: list[Bar]) -> None:
        """A bar of this very batch is closed where it stands, one from before is said again."""
        if any(bar is last for bar in out[-1:]):
            last.is_closed = True
        else:
            out.append(msgspec.structs.replace(last, is_closed=True, known_at=later.known_at))
