"""Splits and dividends: what is known, and what an admin says."""

import datetime as dt
from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from md_platform.api.dependencies import StoresOf, admin, reader
from md_platform.api.routes.asking import InstrumentName, TimeText
from md_platform.domain.corporate_actions import CorporateAction, Kind
from md_platform.domain.intervals import UTC
from md_platform.serving.ranges import moment

router = APIRouter(tags=["corporate actions"])


def _day(given: object) -> dt.date:
    """A date by its text: a number is taken for none, though pydantic would."""
    if isinstance(given, dt.date):
        return given
    if not isinstance(given, str):
        raise ValueError(f"must be a date as 2020-08-31, was {given!r}")  # noqa: TRY004 - pydantic makes it a 422
    return dt.date.fromisoformat(given)


_ExDate = Annotated[
    dt.date,
    BeforeValidator(_day),
    Field(ge=dt.date(1900, 1, 1), le=dt.date(2200, 1, 1), description="first day, UTC, on which it trades without it"),
]


class NewCorporateAction(BaseModel):
    """A split or a dividend."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"ex_date": "2020-08-31", "kind": "split", "value": 4}]}
    )

    ex_date: _ExDate
    kind: Kind
    value: Annotated[
        float,
        Field(
            gt=0,
            le=1e9,
            allow_inf_nan=False,
            description="split: new shares for an old one; dividend: cash for a share, in the currency of its price",
        ),
    ]


class CorporateActionInfo(NewCorporateAction):
    """The same, as it is known."""

    model_config = ConfigDict(from_attributes=True, extra="ignore")

    known_at: dt.datetime


@router.get("/corporate-actions/{instrument:path}", dependencies=[reader()])
def known(instrument: InstrumentName, stores: StoresOf, as_of: TimeText = None) -> list[CorporateActionInfo]:
    """Splits and dividends of an instrument in order of their ex-dates, those to come among them."""
    id_ = stores.market.names.resolve(instrument).id
    at = None if as_of is None else moment(as_of, "as_of", dt.datetime.now(UTC))
    return _infos(stores.market.actions.of(id_, at))


@router.post("/corporate-actions/{instrument:path}", status_code=201, dependencies=[admin()])
def record(instrument: InstrumentName, body: NewCorporateAction, stores: StoresOf) -> list[CorporateActionInfo]:
    """Record a split or dividend, or correct one of that date; answers with all of the instrument."""
    id_ = stores.market.names.resolve(instrument).id
    stores.market.actions.record(id_, body.ex_date, body.kind, body.value)
    return _infos(stores.market.actions.of(id_))


@router.delete("/corporate-actions/{instrument:path}", dependencies=[admin()])
def withdraw(
    instrument: InstrumentName,
    ex_date: Annotated[_ExDate, Query(examples=["2020-08-31"])],
    kind: Annotated[Kind, Query(examples=["split"])],
    stores: StoresOf,
) -> list[CorporateActionInfo]:
    """Withdraw one; answers with those that are left. Who asks as of before still gets it."""
    id_ = stores.market.names.resolve(instrument).id
    stores.market.actions.withdraw(id_, ex_date, kind)
    return _infos(stores.market.actions.of(id_))


def _infos(actions: Sequence[CorporateAction]) -> list[CorporateActionInfo]:
    return [CorporateActionInfo.model_validate(each) for each in actions]
