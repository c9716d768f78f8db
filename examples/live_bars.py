"""The bars of the last hour and then those that close from now on, in one stream, through the strategy.

Kill the gateway while it runs: the stream goes on where it was, without a bar twice or missing.

python examples/live_bars.py [http://127.0.0.1:8000 [API key]]
"""

import asyncio
import datetime as dt
import sys

from crossing import Crossing

from md_platform.client import AsyncMarketData, Gap
from md_platform.domain.events import Bar

INSTRUMENT = "sandbox:BTC-USDT"


async def main(*address: str, bars: int = 90) -> None:
    strategy = Crossing()
    since = dt.datetime.now(dt.UTC) - dt.timedelta(hours=1)
    async with (
        AsyncMarketData(*address) as client,
        client.stream(bars=[(INSTRUMENT, "1m")], since=since, events=True) as stream,
    ):
        async for event in stream:
            match event:
                case Bar(is_closed=True):
                    if strategy.on_close(event.close):
                        print(f"{event.close}: {'long' if strategy.is_long else 'out'}")
                    bars -= 1
                    if not bars:
                        break
                case Gap():
                    print(f"{event.messages} messages of {event.channel} are lost: {event.cause}")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
