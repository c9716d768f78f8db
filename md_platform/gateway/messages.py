"""What clients ask and what they are told, as msgspec structs: JSON objects, or the same as msgpack.

A request names its `op`; its `id`, where it has one, comes back in the answer. An answer names its `type`. Data are
not structs but bytes made of what Redis published (see `frames`).
"""

import re
from typing import Literal

import msgspec

from md_platform.errors import MdpError

PROTOCOL = 1

ChannelName = Literal["trades", "quotes", "book", "bars", "indicators", "market-summary", "alerts", "events"]
SlowPolicy = Literal["close", "conflate"]
Moment = str | int
"""ISO 8601, or an epoch in s, ms, µs or ns."""


class Filters(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What of a channel a client wants.

    min_volume  of trades at least this size, of bars this volume
    min_quality of trades and quotes at least this score, 0 to 1
    fields      events as objects of these fields, instead of arrays of all
    """

    min_volume: float = 0.0
    min_quality: float = 0.0
    fields: tuple[str, ...] = ()


class Request(msgspec.Struct, tag_field="op", forbid_unknown_fields=True, kw_only=True):
    """What every request may have."""

    id: int | str | None = None


class Authenticate(Request, tag="authenticate"):
    """Say who you are: an API key or a JWT."""

    credential: str


class Configure(Request, tag="configure"):
    """What happens when you read too slowly: only the newest of each channel (`conflate`), or the end (`close`)."""

    slow: SlowPolicy


class Subscribe(Request, tag="subscribe"):
    """Live data of `instruments` (`venue:*` is all of a venue); of bars and indicators, of one `timeframe`.

    Before it, in one go: history since a time, or the `last` n events; or with `resume` what was missed after the
    sequence number that a channel had.
    """

    channel: ChannelName
    instruments: list[str] = []
    timeframe: str = ""
    since: Moment | None = None
    last: int = 0
    resume: dict[str, int] = {}
    filters: Filters = Filters()


class Unsubscribe(Request, tag="unsubscribe"):
    """No more of it. Without instruments: of none of the channel's kind."""

    channel: ChannelName
    instruments: list[str] = []
    timeframe: str = ""


class Ping(Request, tag="ping"):
    """Answered with `pong`."""


class Replay(Request, tag="replay"):
    """Play `[start, end)` again: `channels` as trades, bars:1m, indicators:1m. `speed` 1 is as it was, null is max.

    `as_known` plays by when things were received, not when they happened: revisions come when they came.
    """

    instruments: list[str]
    channels: list[str]
    start: Moment
    end: Moment
    speed: float | None = 1.0
    as_known: bool = False
    filters: Filters = Filters()


class Pause(Request, tag="pause"):
    """Hold the replay."""


class Resume(Request, tag="resume"):
    """Go on with it."""


class Seek(Request, tag="seek"):
    """Go on from `to`, earlier or later."""

    to: Moment


class Speed(Request, tag="speed"):
    """Go on at another speed."""

    speed: float | None


LiveRequest = Authenticate | Configure | Subscribe | Unsubscribe | Ping
ReplayRequest = Authenticate | Ping | Replay | Pause | Resume | Seek | Speed
AnyRequest = Authenticate | Configure | Subscribe | Unsubscribe | Ping | Replay | Pause | Resume | Seek | Speed


class Answer(msgspec.Struct, tag_field="type", omit_defaults=True, kw_only=True):
    """What every answer may have."""

    id: int | str | None = None


class Welcome(Answer, tag="welcome"):
    """The first message. `principal` is who you are; empty as long as you have not said it."""

    protocol: int
    principal: str
    role: str


class Subscribed(Answer, tag="subscribed"):
    """Channels that you get now, each with its number before the first message that you will get."""

    channels: dict[str, int]


class Unsubscribed(Answer, tag="unsubscribed"):
    """Channels that you no longer get."""

    channels: list[str]


class Done(Answer, tag="done"):
    """It is done: an authentication, a configuration, a control of the replay."""

    op: str


class Pong(Answer, tag="pong"):
    """Answer to `ping`; `at` is our clock, ns."""

    at: int


class Failure(Answer, tag="error"):
    """What was asked is not done, or the connection ends. `code` is for programs, `message` for people."""

    code: str
    message: str


GapCause = Literal["lost", "renumbered", "limit"]


class Gap(Answer, tag="gap"):
    """Numbers `first` to `last` of `channel` will not come.

    lost        Redis no longer has them: ask for history by time
    renumbered  Redis was emptied: numbers jumped, nothing is missing
    limit       more was sent than your tier allows
    """

    channel: str
    first: int
    last: int
    cause: GapCause


class Conflated(Answer, tag="conflated"):
    """You read too slowly: of `channel`, `skipped` messages before the next one were left out."""

    channel: str
    skipped: int


class Degraded(Answer, tag="degraded"):
    """Live data do not come: the reason. Subscriptions stay."""

    reason: str


class Restored(Answer, tag="restored"):
    """Live data come again; what was missed comes first, or a `gap` says what does not."""


class Replaying(Answer, tag="replaying"):
    """A replay begins."""

    start: int
    end: int


class End(Answer, tag="end"):
    """The replay is over, with so many events."""

    events: int


Told = (
    Welcome
    | Subscribed
    | Unsubscribed
    | Done
    | Pong
    | Failure
    | Gap
    | Conflated
    | Degraded
    | Restored
    | Replaying
    | End
)

_BOUNDARY = re.compile(r"(?<!^)(?=[A-Z])")


def failure(error: MdpError, id_: int | str | None = None) -> Failure:
    """The answer that says `error`: its type's name is the code, as `unknown_instrument`."""
    return Failure(id=id_, code=_BOUNDARY.sub("_", type(error).__name__).lower(), message=str(error))
