"""What instruments cost now: last prices, quotes, order books, and who moved most."""

import asyncio
from typing import Annotated

import msgspec
import structlog
from fastapi import APIRouter, Query
from redis.exceptions import RedisError
from starlette.responses import Response

from md_platform.api.dependencies import StoresOf, reader
from md_platform.api.routes.asking import InstrumentName, Names, json_of, marked, named
from md_platform.api.stores import Stores
from md_platform.errors import NotFound
from md_platform.serving.last_bars import completed
from md_platform.serving.latest import Latest, book_top, summaries
from md_platform.serving.latest import latest as latest_of

router = APIRouter(tags=["prices"], dependencies=[reader()])
log = structlog.get_logger(__name__)

_encode = msgspec.json.Encoder().encode


@router.get("/latest/{instrument:path}", responses=json_of("object"), response_class=Response)
async def latest(instrument: InstrumentName, stores: StoresOf) -> Response:
    """Last trade and quote, and the last 24 hours. Without a live feed the last bar's close, with its age."""
    (found,), is_degraded = await _latest(stores, [instrument])
    if found is None:
        raise NotFound(f"nothing is known of {instrument} yet: load history, or stream it")
    return marked(_json(found), is_degraded=is_degraded)


@router.get("/latest", responses=json_of("array"), response_class=Response)
async def latest_of_many(ids: Names, stores: StoresOf) -> Response:
    """The same of several instruments, in the order asked; those of which nothing is known are left out."""
    found, is_degraded = await _latest(stores, named(ids))
    return marked(_json([each for each in found if each is not None]), is_degraded=is_degraded)


@router.get("/quotes", responses=json_of("array"), response_class=Response)
async def quotes(ids: Names, stores: StoresOf) -> Response:
    """Best bid and ask of several instruments, in the order asked; those without are left out."""
    instruments = [await _resolved(stores, name) for name in named(ids)]
    found = await latest_of(stores.redis, instruments)
    fields = ("instrument", "bid", "bid_size", "ask", "ask_size")
    return _json([{name: getattr(each, name) for name in fields} for each in found if each and each.bid is not None])


@router.get("/orderbook/{instrument:path}", responses=json_of("object"), response_class=Response)
async def orderbook(
    instrument: InstrumentName,
    stores: StoresOf,
    depth: Annotated[int, Query(ge=1, le=1_000, description="levels of each side, as far as they are kept")] = 20,
) -> Response:
    """The newest order book: `[price, size]` from the best on, with its age."""
    return _json(await book_top(stores.redis, await _resolved(stores, instrument), depth))


@router.get("/market-summary", responses=json_of("array"), response_class=Response)
async def market_summary(
    stores: StoresOf,
    quote: Annotated[str | None, Query(max_length=20, description="of instruments quoted in this; all without")] = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 10,
) -> Response:
    """Gainers, losers and volume leaders of the last 24 hours, by the currency they are quoted in."""
    if quote is None:
        known = await asyncio.to_thread(stores.market.names.known)
        wanted = sorted({instrument.quote for instrument in known if instrument.quote})
    else:
        wanted = [quote.upper()]
    return _json(await summaries(stores.redis, wanted, limit))


async def _latest(stores: Stores, names: list[str]) -> tuple[list[Latest | None], bool]:
    """What is known of each, from bars where Redis knows nothing or does not answer; whether it did not."""
    instruments = [await _resolved(stores, name) for name in names]
    is_degraded = False
    try:
        found = await latest_of(stores.redis, instruments)
    except RedisError as error:
        log.warning("redis is away: last prices are those of bars", reason=str(error))
        found, is_degraded = [None] * len(instruments), True
    answers: list[Latest | None] = []
    for id_, each in zip(instruments, found, strict=True):
        if each is not None and each.price is not None and each.day is not None:
            answers.append(each)
        else:
            answers.append(await asyncio.to_thread(completed, stores.market.bars, stores.market.cache, id_, each))
    return answers, is_degraded


async def _resolved(stores: Stores, name: str) -> str:
    """The canonical id, without leaving the loop where that is known."""
    known = stores.market.names.at_once(name)
    if known is None:
        known = await asyncio.to_thread(stores.market.names.resolve, name)
    return known.id


def _json(value: object) -> Response:
    return Response(_encode(value), media_type="application/json", headers={"cache-control": "private, no-cache"})
