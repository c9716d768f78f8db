"""Splits and cash dividends of a stock, and by how much they change the prices and volumes of before them.

Prices are adjusted backwards, so that the newest are those that were paid: the method of CRSP's "factor to adjust
price" and of Yahoo's adjusted close. A split of 4 for 1 divides earlier prices by 4; a dividend of 1 on a close of 100
multiplies them by 0.99, so that the return over the ex-date is that of who held the share and was paid.
"""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from md_platform.domain.intervals import UTC
from md_platform.errors import InvalidCorporateAction

Kind = Literal["split", "dividend"]


@dataclass(frozen=True, slots=True)
class CorporateAction:
    """From the begin of `ex_date` (UTC) on, a share is traded without it; known to the platform since `known_at`.

    `value` is new shares for an old one (4 for 4:1, 0.1 for 1:10), or cash for a share before that day's split, in the
    currency of its price.
    """

    ex_date: dt.date
    kind: Kind
    value: float
    known_at: dt.datetime

    @property
    def ex_time(self) -> dt.datetime:
        """The begin of the ex-date, UTC."""
        return dt.datetime.combine(self.ex_date, dt.time(), UTC)


@dataclass(frozen=True, slots=True)
class Adjustment:
    """What opens before `action` took effect: prices times `price`, volumes times `volume`."""

    action: CorporateAction
    price: float
    volume: float


def adjustments(actions: Sequence[CorporateAction], closes: Mapping[dt.date, float]) -> tuple[Adjustment, ...]:
    """Factors of `actions`, in their order. `closes` are the last closes before the ex-dates of dividends.

    A dividend before which there is no close changes nothing that is known, and is left out. InvalidCorporateAction
    where one is not less than the close before it.
    """
    found = []
    for action in actions:
        if action.kind == "split":
            found.append(Adjustment(action, 1 / action.value, action.value))
        elif (close := closes.get(action.ex_date)) is not None:
            if action.value >= close:
                raise InvalidCorporateAction(
                    f"the dividend of {action.value:g} on {action.ex_date} is not less than the close before it, "
                    f"{close:g}: correct it"
                )
            found.append(Adjustment(action, 1 - action.value / close, 1.0))
    return tuple(found)
