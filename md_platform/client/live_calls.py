"""What is to be followed live or played again in, the protocol that does it out (see `following`, `replaying`)."""

from collections.abc import Sequence
from typing import Any, Literal

from md_platform.client.asking import Ids, When, several, time_text
from md_platform.client.following import Following, Subscription
from md_platform.client.replaying import Replay, Replaying
from md_platform.errors import InvalidParameter

Timed = Sequence[tuple[str, str]]
"""Instruments and timeframes: [("binance:BTC-USDT", "1m")]."""


def stream(
    *,
    trades: Ids = (),
    quotes: Ids = (),
    book: Ids = (),
    bars: Timed = (),
    indicators: Timed = (),
    events: bool = False,
    alerts: bool = False,
    market_summary: bool = False,
    since: When | None = None,
    last: int = 0,
    min_volume: float = 0.0,
    min_quality: float = 0.0,
    slow: Literal["close", "conflate"] = "close",
) -> Following:
    """Live events of these channels, each once, over as many connections as it takes; canonical ids, or `venue:*`.

    `since` a time, or the `last` so many: what happened before comes first, without a seam. Bars come while they run,
    too: `is_closed` says which are final. `slow`: what happens when you read too slowly, a new connection that goes on
    where the last one ended (`close`), or only the newest of each channel (`conflate`).
    """
    if since is not None and last:
        raise InvalidParameter("give `since` or `last`, not both")
    past: dict[str, Any] = {"since": time_text(since), "last": last}
    filters = {name: n for name, n in (("min_volume", min_volume), ("min_quality", min_quality)) if n}
    wanted = [
        Subscription(channel, tuple(several(ids)), filters=filters, **past)
        for channel, ids in (("trades", trades), ("quotes", quotes), ("book", book))
        if ids
    ]
    for channel, pairs in (("bars", bars), ("indicators", indicators)):
        for timeframe in dict.fromkeys(each for _, each in pairs):
            ids = tuple(dict.fromkeys(id_ for id_, each in pairs if each == timeframe))
            wanted.append(Subscription(channel, ids, timeframe, filters=filters, **past))
    alone = (("events", events), ("alerts", alerts), ("market-summary", market_summary))
    wanted += [Subscription(channel, **past) for channel, is_wanted in alone if is_wanted]
    if not wanted:
        raise InvalidParameter("name what to stream: trades=[...], bars=[(id, timeframe)], events=True")
    return Following(wanted, slow)


def replay(
    ids: Ids,
    start: When,
    end: When,
    channels: Sequence[str] = ("trades",),
    *,
    speed: float | None = None,
    as_known: bool = False,
) -> Replaying:
    """What happened from `start` to before `end`, as if it were live: `channels` as trades, bars:1m, indicators:1m.

    `speed` 1 is as it was, None as fast as it is read. `as_known` plays by when things were received.
    """
    wanted = Replay(tuple(several(ids)), tuple(channels), time_text(start), time_text(end), speed, as_known)
    return Replaying(wanted)
