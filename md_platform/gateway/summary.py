"""The rankings that Redis keeps in; the channel `market-summary` out, once a second while anybody gets it."""

import asyncio

import msgspec
import structlog
from redis.exceptions import RedisError

from md_platform.domain.instruments import Instrument
from md_platform.gateway.hub import Hub
from md_platform.serving.latest import summaries

log = structlog.get_logger(__name__)

CHANNEL = "market-summary"
_EVERY_S = 1.0
_RANKED = 10


async def tell(hub: Hub) -> None:
    """Until cancelled. Each message is whole, so they have no numbers."""
    while True:
        await asyncio.sleep(_EVERY_S)
        channel = hub.channels.get(CHANNEL)
        if channel is None or not channel.is_wanted:
            continue
        try:
            traded = [Instrument.parse(each) for each in await hub.tail.instruments("trades")]
            quotes = sorted({each.quote for each in traded if each.quote})
            found = await summaries(hub.client, quotes, _RANKED)
        except (RedisError, OSError, TimeoutError) as error:
            log.info("no market summary", reason=str(error))
        else:
            channel.receive(0, msgspec.json.encode(found))
