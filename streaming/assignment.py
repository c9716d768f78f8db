"""Instruments in, those of one shard out: which process streams what, with few moves when the number changes.

Rendezvous hashing: every shard draws a number for every instrument and the highest draw has it. A shard more takes only
what it draws highest, about 1/(n+1) of all; nothing moves between the others.
"""

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass

from md_platform.errors import InvalidSetting

_SHARD = re.compile(r"(?P<index>\d{1,4})/(?P<count>\d{1,4})")


@dataclass(frozen=True, slots=True)
class Shard:
    """Number `index` of `count`, from 0 on."""

    index: int
    count: int

    @classmethod
    def parse(cls, text: str) -> "Shard":
        """`0/3` is the first of three; InvalidSetting."""
        match = _SHARD.fullmatch(text.strip())
        if match is None or int(match["index"]) >= int(match["count"]):
            raise InvalidSetting(f"a shard is i/n with i from 0 to n - 1, such as 0/3, was {text!r}")
        return cls(int(match["index"]), int(match["count"]))

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"


def assigned(instruments: Iterable[str], shard: Shard) -> list[str]:
    """Those of `instruments` (ids) that `shard` streams, in their order."""
    return [each for each in instruments if index_of(each, shard.count) == shard.index]


def index_of(instrument: str, count: int) -> int:
    """Which of `count` shards streams `instrument`: the same on every machine and in every version."""
    return max(range(count), key=lambda index: _draw(instrument, index))


def _draw(instrument: str, index: int) -> bytes:
    return hashlib.blake2b(f"{index} {instrument}".encode(), digest_size=8).digest()
