"""The Python client: the platform's data as polars, pandas or Arrow, and live as typed events.

`MarketData` blocks, `AsyncMarketData` is awaited; both have the same calls, and so has `MarketData.open`, which reads a
lake or an archive without a server. Nothing here imports dagster; what files need is imported when they are opened.
"""

from md_platform.client.async_market_data import AsyncMarketData
from md_platform.client.following import Batch, Gap, LiveEvent
from md_platform.client.jobs import AlertRule, Backfill, Export
from md_platform.client.market_data import MarketData
from md_platform.client.streams import AsyncStream, Stream

__all__ = [
    "AlertRule",
    "AsyncMarketData",
    "AsyncStream",
    "Backfill",
    "Batch",
    "Export",
    "Gap",
    "LiveEvent",
    "MarketData",
    "Stream",
]
