"""Yesterday once more, as fast as it is read, through the strategy that `live_bars.py` runs live.

python examples/replay_strategy.py [http://127.0.0.1:8000 [API key]]
"""

import datetime as dt
import sys

from crossing import Crossing

from md_platform.client import MarketData
from md_platform.domain.events import Bar

INSTRUMENT = "sandbox:BTC-USDT"


def main(*address: str) -> None:
    end = dt.datetime.now(dt.UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    strategy = Crossing()
    with (
        MarketData(*address) as client,
        client.replay(INSTRUMENT, end - dt.timedelta(days=1), end, ["bars:1m"]) as replay,
    ):
        trades = sum(strategy.on_close(event.close) for event in replay if isinstance(event, Bar))
    print(f"{len(strategy.returns) + 1} bars, {trades} trades, {strategy.gain:+.3%}")


if __name__ == "__main__":
    main(*sys.argv[1:])
