"""Conditions of alerts: what was seen and a memory in, the memory after it and perhaps a hit out. Pure.

A condition hits when it begins to hold, not while it holds. A price that touches a limit is on neither side of it.
"""

import datetime as dt
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from md_platform.domain.events import Bar, FeedNotice, IndicatorValues, NoticeKind, Trade
from md_platform.domain.indicators import STANDARD_SET
from md_platform.domain.intervals import Timeframe
from md_platform.errors import InvalidParameter

Memory = dict[str, Any]
"""JSON that a rule keeps between events, and across restarts."""
Comparison = Literal["above", "below", "crosses", "crosses_up", "crosses_down"]

_MINUTE_NS = 60_000_000_000
_ABOVE, _BELOW = 1, -1
_Value = Annotated[float, Field(allow_inf_nan=False)]


@dataclass(frozen=True, slots=True)
class Hit:
    """A condition began to hold at `at_ns`, with `value`."""

    at_ns: int
    value: float | None
    message: str


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class LevelCondition(_Model):
    """A value against a limit. `crosses…` needs the other side first; `above` and `below` hold at once."""

    compare: Comparison
    value: _Value

    def reached(self, memory: Memory, now: float) -> tuple[Memory, bool]:
        """The memory with the side that `now` is on, and whether the comparison begins to hold."""
        side = _ABOVE if now > self.value else _BELOW if now < self.value else None
        before = memory.get("side")
        if side is None or side == before:
            return memory, False
        rose = side == _ABOVE
        holds = {
            "above": rose,
            "below": not rose,
            "crosses": before is not None,
            "crosses_up": rose and before is not None,
            "crosses_down": not rose and before is not None,
        }
        return {**memory, "side": side}, holds[self.compare]

    def said(self, what: str, now: float) -> str:
        """The hit in words."""
        return f"{what} {now:.10g} {self.compare.replace('_', ' ')} {self.value:.10g}"


class PriceCondition(LevelCondition):
    """The price of a trade against a limit."""

    kind: Literal["price"]

    def channel(self, instrument: str) -> str:
        """The tail whose events it looks at."""
        return f"trades:{instrument}"

    def seen(self, memory: Memory, event: object) -> tuple[Memory, Hit | None]:
        """Look at one event."""
        if not isinstance(event, Trade) or event.sent_late:
            return memory, None
        memory, is_hit = self.reached(memory, event.price)
        return memory, Hit(event.ts_event, event.price, self.said("price", event.price)) if is_hit else None


class ChangeCondition(LevelCondition):
    """The change of closed bars' prices over `window_minutes`, as a share: 0.05 is 5 %."""

    kind: Literal["change"]
    window_minutes: Annotated[int, Field(ge=1, le=1_440)]

    def channel(self, instrument: str) -> str:
        """The tail whose events it looks at."""
        return f"bars:{instrument}:1m"

    def seen(self, memory: Memory, event: object) -> tuple[Memory, Hit | None]:
        """Look at one event."""
        if not isinstance(event, Bar) or not event.is_closed:
            return memory, None
        minute = event.open_time // _MINUTE_NS
        closes = [pair for pair in memory.get("closes", []) if pair[0] < minute]
        start = [pair for pair in closes if pair[0] <= minute - self.window_minutes][-1:]
        kept = start + [pair for pair in closes if pair[0] > minute - self.window_minutes]
        memory = {**memory, "closes": [*kept, [minute, event.close]]}
        if not start:
            return memory, None
        change = event.close / start[0][1] - 1
        memory, is_hit = self.reached(memory, change)
        said = self.said(f"change in {self.window_minutes} minutes", change)
        return memory, Hit(event.close_time, change, said) if is_hit else None


class VolumeCondition(LevelCondition):
    """The volume of a closed bar against a limit, in the base currency."""

    kind: Literal["volume"]
    timeframe: Timeframe = Timeframe.M1

    def channel(self, instrument: str) -> str:
        """The tail whose events it looks at."""
        return f"bars:{instrument}:{self.timeframe.value}"

    def seen(self, memory: Memory, event: object) -> tuple[Memory, Hit | None]:
        """Look at one event."""
        if not isinstance(event, Bar) or not event.is_closed:
            return memory, None
        memory, is_hit = self.reached(memory, event.volume)
        said = self.said(f"volume of {self.timeframe.value}", event.volume)
        return memory, Hit(event.close_time, event.volume, said) if is_hit else None


class IndicatorCondition(LevelCondition):
    """An indicator that is streamed, by its column (rsi_14), on closed bars, against a limit."""

    kind: Literal["indicator"]
    column: Annotated[str, Field(max_length=50, examples=["rsi_14"])]
    timeframe: Timeframe = Timeframe.M1

    def channel(self, instrument: str) -> str:
        """The tail whose events it looks at."""
        return f"indicators:{instrument}:{self.timeframe.value}"

    def seen(self, memory: Memory, event: object) -> tuple[Memory, Hit | None]:
        """Look at one event."""
        if not isinstance(event, IndicatorValues) or not event.is_closed:
            return memory, None
        value = event.values.get(self.column)
        if value is None:
            return memory, None
        memory, is_hit = self.reached(memory, value)
        return memory, Hit(event.known_at, value, self.said(self.column, value)) if is_hit else None


class FeedCondition(_Model):
    """Something happened to a feed: each such event hits."""

    kind: Literal["feed"]
    events: Annotated[list[NoticeKind], Field(min_length=1, max_length=10, examples=[["disconnected", "gap"]])]

    def channel(self, _instrument: str) -> str:
        """The tail whose events it looks at."""
        return "events"

    def seen(self, memory: Memory, event: object) -> tuple[Memory, Hit | None]:
        """Look at one event."""
        if not isinstance(event, FeedNotice) or event.kind not in self.events:
            return memory, None
        told = f"{event.venue} {event.feed}: {event.kind}" + (f", {event.cause}" if event.cause else "")
        return memory, Hit(event.at, None, told)


class StaleCondition(_Model):
    """No trade came for so many seconds."""

    kind: Literal["stale"]
    after_s: Annotated[int, Field(ge=1, le=7 * 86_400)]

    def channel(self, instrument: str) -> str:
        """The tail whose events it looks at."""
        return f"trades:{instrument}"

    def seen(self, memory: Memory, event: object) -> tuple[Memory, Hit | None]:
        """Look at one event."""
        if isinstance(event, Trade):
            memory = {**memory, "last_ns": event.ts_received, "is_stale": False}
        return memory, None

    def passed(self, memory: Memory, now_ns: int) -> tuple[Memory, Hit | None]:
        """Look at the clock; before the first trade it runs since `since_ns`."""
        last: int = memory["last_ns"] if "last_ns" in memory else memory["since_ns"]
        if memory.get("is_stale") or now_ns - last < self.after_s * 1_000_000_000:
            return memory, None
        silent_s = (now_ns - last) / 1e9
        return {**memory, "is_stale": True}, Hit(now_ns, silent_s, f"no trade for {silent_s:.0f} s")


class QualityCondition(_Model):
    """The quality score of the newest day of cleaned bars is below a limit."""

    kind: Literal["quality"]
    below: Annotated[float, Field(gt=0, le=1)]

    def channel(self, _instrument: str) -> None:
        """It looks at the ledger, not at a tail."""

    def scored(self, memory: Memory, date: dt.date, score: float, now_ns: int) -> tuple[Memory, Hit | None]:
        """Look at the newest day's score; a day hits once, unless it was better meanwhile."""
        is_low = score < self.below
        seen = {**memory, "date": date.isoformat(), "is_low": is_low}
        was_low = memory.get("date") == date.isoformat() and memory.get("is_low")
        if not is_low or was_low:
            return seen, None
        return seen, Hit(now_ns, score, f"quality of {date} is {score:.3f}, below {self.below:g}")


Condition = Annotated[
    PriceCondition
    | ChangeCondition
    | VolumeCondition
    | IndicatorCondition
    | FeedCondition
    | StaleCondition
    | QualityCondition,
    Field(discriminator="kind"),
]


def require_possible(condition: Condition, instrument: str | None) -> None:
    """Raise InvalidParameter for a condition that could never hold."""
    if instrument is None and not isinstance(condition, FeedCondition):
        raise InvalidParameter(f"a {condition.kind} condition needs an instrument")
    columns = [name for spec in STANDARD_SET for name in spec.columns]
    if isinstance(condition, IndicatorCondition) and condition.column not in columns:
        raise InvalidParameter(f"streamed indicators are {' '.join(columns)}, was {condition.column!r}")
