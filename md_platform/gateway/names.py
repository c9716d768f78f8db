"""What a client asks for in, names of channels out: `trades:sandbox:BTC-USDT`, `bars:sandbox:BTC-USDT:1m`, `events`."""

from collections.abc import Iterable
from typing import get_args

import msgspec

from md_platform.domain.events import Alert, Bar, Book, FeedNotice, IndicatorValues, Quote, Trade
from md_platform.domain.instruments import Instrument
from md_platform.domain.intervals import Timeframe
from md_platform.errors import InvalidParameter
from md_platform.gateway.messages import ChannelName

ALONE = ("market-summary", "alerts", "events")
"""Channels that are not of an instrument."""

_TIMED = ("bars", "indicators")
_KINDS: tuple[str, ...] = get_args(ChannelName)
EVENTS_OF: dict[str, type[msgspec.Struct]] = {
    "trades": Trade,
    "quotes": Quote,
    "book": Book,
    "bars": Bar,
    "indicators": IndicatorValues,
    "events": FeedNotice,
    "alerts": Alert,
}


def channels(kind: str, instruments: Iterable[str], timeframe: str) -> list[str]:
    """Names, each once; UnknownInstrument, InvalidTimeframe, InvalidParameter."""
    if kind in ALONE:
        if list(instruments) or timeframe:
            raise InvalidParameter(f"{kind} is one channel: it takes no instruments and no timeframe")
        return [kind]
    suffix = ""
    if kind in _TIMED:
        suffix = f":{Timeframe.parse(timeframe)}"
    elif timeframe:
        raise InvalidParameter(f"{kind} has no timeframe, was {timeframe!r}")
    ids = dict.fromkeys(Instrument.parse(each).id for each in instruments)
    if not ids:
        raise InvalidParameter(f"instruments must name some of which {kind} are wanted, was none")
    return [f"{kind}:{id_}{suffix}" for id_ in ids]


def channel_of(text: str) -> tuple[str, str]:
    """Kind and timeframe of what a replay names: `trades`, `bars:1m`; InvalidParameter otherwise."""
    kind, _, timeframe = text.partition(":")
    if kind not in _KINDS:
        raise InvalidParameter(f"channel must be one of {' '.join(_KINDS)}, was {kind!r}")
    return kind, timeframe


def instrument_of(channel: str) -> str | None:
    """The instrument of a channel's name; None where it has none."""
    parts = channel.split(":")
    return f"{parts[1]}:{parts[2]}" if len(parts) > 2 else None  # noqa: PLR2004 - kind, venue, symbol
