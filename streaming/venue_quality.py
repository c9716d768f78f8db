"""What is stored in, a score a venue out: 1.0 where everything that it sent in the last minutes was good."""

import time
from collections.abc import Callable, Iterable
from typing import NamedTuple

from md_platform.domain.events import Quarantined, Quote, Trade
from md_platform.domain.wire import Published

_HALF_S = 300.0
"""After so long what came before counts half."""


class _Sums(NamedTuple):
    at_s: float
    events: float
    quality: float


class VenueQuality:
    """The mean quality of each venue's trades and quotes; what no rule took counts as one of quality 0."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._sums: dict[str, _Sums] = {}

    def add(self, batch: Iterable[Published]) -> None:
        """Take in a batch of one channel, which is of one instrument; or what is quarantined, of any venue."""
        events, quality, venue = 0, 0.0, ""
        for event in batch:
            if isinstance(event, Trade | Quote):
                events += 1
                quality += event.quality
                venue = venue or event.instrument.partition(":")[0]
            elif isinstance(event, Quarantined):
                self._count(event.venue, 1, 0.0)
        if events:
            self._count(venue, events, quality)

    def scores(self) -> dict[str, float]:
        """By venue, from 0.0 to 1.0."""
        return {venue: round(sums.quality / sums.events, 4) for venue, sums in sorted(self._sums.items())}

    def _count(self, venue: str, events: int, quality: float) -> None:
        now_s = self._clock()
        before = self._sums.get(venue, _Sums(now_s, 0.0, 0.0))
        left = 0.5 ** ((now_s - before.at_s) / _HALF_S)
        self._sums[venue] = _Sums(now_s, before.events * left + events, before.quality * left + quality)
