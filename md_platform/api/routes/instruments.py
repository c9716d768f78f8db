"""What can be asked about: instruments, venues, timeframes."""

import datetime as dt
from typing import Annotated, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema

from md_platform.api.dependencies import StoresOf, admin, reader
from md_platform.api.routes.asking import InstrumentName
from md_platform.catalog.instruments import Change, Reference, Search
from md_platform.domain.instruments import Instrument
from md_platform.domain.intervals import UTC, Timeframe
from md_platform.settings import universe_of

router = APIRouter(tags=["instruments"])

_Word = Annotated[str, Field(max_length=50, pattern=r"^[^\x00]*$")]
_Time = Annotated[
    dt.datetime,
    WithJsonSchema({"type": ["string", "number"], "description": "ISO 8601, or an epoch in s or ms"}),
]


class InstrumentInfo(BaseModel):
    """An instrument."""

    model_config = ConfigDict(from_attributes=True)

    id: str = Field(examples=["sandbox:BTC-USDT"])
    venue: str
    native: str = Field(description="the venue's own symbol", examples=["BTCUSDT"])
    universe: str
    base: str
    quote: str | None
    name: str
    asset_class: str = Field(examples=["crypto"])
    tags: list[str]
    status: Literal["active", "delisted"]
    listed_at: dt.datetime | None
    delisted_at: dt.datetime | None
    tick_size: float | None
    lot_size: float | None
    registered_at: dt.datetime


class InstrumentPage(BaseModel):
    """Instruments in order of their ids."""

    total: int
    instruments: list[InstrumentInfo]
    next_after: str | None = Field(description="`after` of the next page; null: this is the last")


class InstrumentChange(BaseModel):
    """What to set; what is left out stays."""

    model_config = ConfigDict(extra="forbid")

    native: _Word | None = None
    name: Annotated[str, Field(max_length=200, pattern=r"^[^\x00]*$", examples=["Bitcoin"])] | None = None
    asset_class: Annotated[str, Field(max_length=30, pattern=r"^[a-z_-]*$")] | None = None
    tags: Annotated[list[_Word], Field(max_length=50)] | None = None
    listed_at: _Time | None = None
    tick_size: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    lot_size: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    status: Literal["active", "delisted"] | None = None

    def change(self) -> Change:
        """As the registry takes it."""
        return Change(**self.model_dump(exclude={"status", "id"}))


class NewInstrument(InstrumentChange):
    """An instrument to register."""

    id: Annotated[str, Field(max_length=100, examples=["binance:BTC-USDT"])]


class VenueInfo(BaseModel):
    """A venue of registered instruments."""

    id: str
    instruments: int


class TimeframeInfo(BaseModel):
    """A length of bars; null seconds: a month."""

    id: str
    seconds: int | None


@router.get("/instruments", dependencies=[reader()])
def instruments(
    stores: StoresOf,
    search: Annotated[str, Query(max_length=100, pattern=r"^[^\x00]*$", description="in id, symbol or name")] = "",
    venue: Annotated[str, Query(max_length=50, pattern=r"^[^\x00]*$")] = "",
    asset_class: Annotated[str, Query(max_length=30, pattern=r"^[^\x00]*$")] = "",
    tag: Annotated[str, Query(max_length=50, pattern=r"^[^\x00]*$")] = "",
    status: Literal["active", "delisted"] | None = None,
    limit: Annotated[int, Query(ge=1, le=1_000)] = 100,
    after: Annotated[str, Query(max_length=100, pattern=r"^[^\x00]*$")] = "",
) -> InstrumentPage:
    """Registered instruments that match everything that is given."""
    wanted = Search(search, venue, asset_class, tag, status)
    found, total = stores.market.instruments.search(wanted, limit + 1, after)
    shown = [_info(each) for each in found[:limit]]
    return InstrumentPage(total=total, instruments=shown, next_after=shown[-1].id if len(found) > limit else None)


@router.post("/instruments", status_code=201, dependencies=[admin()])
def register(body: NewInstrument, stores: StoresOf) -> InstrumentInfo:
    """Register an instrument by its canonical id."""
    instrument = Instrument.parse(body.id)
    universe = universe_of(instrument.id, stores.universes).name
    added = _info(stores.market.instruments.add(instrument, universe, body.change()))
    stores.market.names.known(older_than_s=0.0)
    return added


@router.get("/instruments/{instrument:path}", dependencies=[reader()])
def detail(instrument: InstrumentName, stores: StoresOf) -> InstrumentInfo:
    """One instrument, by any of its names."""
    return _info(stores.market.instruments.get(stores.market.names.resolve(instrument).id))


@router.patch("/instruments/{instrument:path}", dependencies=[admin()])
def change(instrument: InstrumentName, body: InstrumentChange, stores: StoresOf) -> InstrumentInfo:
    """Change what is known of an instrument, or say that it trades again."""
    known = stores.market.instruments
    changed = known.change(stores.market.names.resolve(instrument).id, body.change())
    if body.status == "delisted":
        changed = known.delist(changed.id, dt.datetime.now(UTC))
    elif body.status == "active":
        changed = known.relist(changed.id)
    return _info(changed)


@router.delete("/instruments/{instrument:path}", dependencies=[admin()])
def delist(instrument: InstrumentName, stores: StoresOf) -> InstrumentInfo:
    """Say that an instrument ceased to trade. Its data stay."""
    id_ = stores.market.names.resolve(instrument).id
    return _info(stores.market.instruments.delist(id_, dt.datetime.now(UTC)))


@router.get("/venues", dependencies=[reader()])
def venues(stores: StoresOf) -> list[VenueInfo]:
    """Venues of registered instruments."""
    return [VenueInfo(id=id_, instruments=count) for id_, count in stores.market.instruments.venues()]


@router.get("/timeframes", dependencies=[reader()])
async def timeframes() -> list[TimeframeInfo]:
    """Lengths of bars."""
    return [TimeframeInfo(id=each.value, seconds=each.seconds) for each in Timeframe]


def _info(known: Reference) -> InstrumentInfo:
    return InstrumentInfo.model_validate(known)
