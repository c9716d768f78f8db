"""What a call asks and what it is told, apart from how: requests out, replies in, the answer at the end.

A call is a generator that yields requests and is sent their replies. So it is written once, whether its requests go
over HTTP (see `http`) or to files (see `files`), and whether somebody blocks or awaits.
"""

import datetime as dt
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias, TypeVar, overload
from urllib.parse import quote

import polars as pl

T = TypeVar("T")

Ids: TypeAlias = str | Sequence[str]
"""One instrument or several, by any of their names: binance:BTC-USDT, binance:BTC/USDT, BTCUSDT."""

When: TypeAlias = str | int | dt.datetime | dt.date
"""ISO 8601, an epoch in s, ms, µs or ns, a datetime (UTC unless it says otherwise) or the begin of a day (UTC)."""


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked: `topic` of `target`, and of it `part`: bars of an instrument, a batch of its indicators."""

    topic: str
    target: str = ""
    part: str = ""
    params: Mapping[str, str] = field(default_factory=dict)
    body: Any = None
    method: Literal["GET", "POST", "PATCH", "DELETE"] = "GET"
    is_table: bool = False
    is_repeatable: bool = True
    """Whether doing it twice does no more than doing it once."""

    @property
    def path(self) -> str:
        """The same as the path of a URL."""
        parts = [self.topic, quote(self.target, safe=""), self.part]
        return "/api/v1/" + "/".join(part for part in parts if part)


@dataclass(frozen=True, slots=True)
class Reply:
    """A table, or what JSON said; `cursor` is that of the next page."""

    frame: pl.DataFrame
    json: Any = None
    cursor: str | None = None


@dataclass(frozen=True, slots=True)
class Pause:
    """Asks for nothing but to wait."""

    seconds: float


Steps: TypeAlias = Generator[Sequence[Request] | Pause, Sequence[Reply], T]
"""A call. Requests that are yielded together may be asked at once; replies are in their order."""

Pages: TypeAlias = Generator[Request, Reply, None]
"""A call that is answered piece by piece: each reply is one."""


def several(ids: Ids) -> list[str]:
    """Names of instruments, each once."""
    return [ids] if isinstance(ids, str) else list(dict.fromkeys(ids))


@overload
def time_text(when: When) -> str: ...
@overload
def time_text(when: None) -> None: ...
@overload
def time_text(when: When | None) -> str | None: ...
def time_text(when: When | None) -> str | None:
    """A time as requests have it."""
    if isinstance(when, dt.datetime):
        return (when.replace(tzinfo=dt.UTC) if when.tzinfo is None else when.astimezone(dt.UTC)).isoformat()
    if isinstance(when, dt.date):
        return when.isoformat()
    return None if when is None else str(when)


def given(**values: object) -> dict[str, str]:
    """Parameters of a request without those that are None."""
    return {name: str(value) for name, value in values.items() if value is not None}
