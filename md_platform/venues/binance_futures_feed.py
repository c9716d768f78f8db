"""Binance futures live: USD-M, whose channels come from two addresses, and COIN-M; frames are read as spot's are.

Sizes of COIN-M are contracts, as the venue counts them.
"""

import functools
from dataclasses import replace

from md_platform.domain.books import BookRules
from md_platform.domain.events import BookUpdate
from md_platform.domain.instruments import Instrument
from md_platform.venues.binance_feed import SPOT, BinanceSession, snapshot_request
from md_platform.venues.frames import decoded, records
from md_platform.venues.spec import Request

_CONTRACTS = "!contractInfo"
"""Listings, settlements and halts of every contract."""


def futures_follows(last: int, update: BookUpdate) -> bool:
    """Futures updates name the one before."""
    return update.previous_sequence == last


def futures_bridges(last: int, update: BookUpdate) -> bool:
    """The first one after a snapshot holds the snapshot's own number."""
    first, end = update.first_sequence, update.sequence
    return futures_follows(last, update) or (first is not None and end is not None and first <= last <= end)


def parse_futures(payload: bytes, venue: str) -> list[Instrument]:
    """Perpetuals of the futures' exchangeInfo (BTCUSDT, BTCUSD_PERP); contracts that are delivered are left out."""
    answer = decoded(payload, venue)
    symbols = answer.get("symbols") if isinstance(answer, dict) else None
    found = records(symbols, ("symbol", "baseAsset", "quoteAsset", "contractType"), venue).drop_nulls()
    return [
        Instrument(venue, base, quote, native, is_perpetual=True)
        for native, base, quote, kind in found.iter_rows()
        if kind.endswith("PERPETUAL")
    ]


USDM = replace(
    SPOT,
    name="binance-usdm",
    urls=("wss://fstream.binance.com/public/stream",),  # since 2026-04-23: quotes and books here, the rest at /market
    channels=frozenset({"quotes", "book"}),
    rest_url="https://fapi.binance.com",
    accepts=lambda instrument: instrument.is_perpetual and instrument.quote != "USD",
    book=BookRules(follows=futures_follows, bridges=futures_bridges),
    snapshot_request=snapshot_request("/fapi/v1/depth", 20),
    instruments_requests=(Request("/fapi/v1/exchangeInfo"),),
    parse_instruments=parse_futures,
    max_streams=200,
)
USDM_MARKET = replace(
    USDM,
    name="binance-usdm-market",
    urls=("wss://fstream.binance.com/market/stream",),
    channels=frozenset({"trades", "bars"}),
    session=functools.partial(BinanceSession, extra=(_CONTRACTS,)),
    book=BookRules(),
    snapshot_request=None,
    parse_snapshot=None,
)
COINM = replace(
    USDM,
    name="binance-coinm",
    urls=("wss://dstream.binance.com/stream",),
    channels=SPOT.channels,
    session=USDM_MARKET.session,
    rest_url="https://dapi.binance.com",
    accepts=lambda instrument: instrument.is_perpetual and instrument.quote == "USD",
    snapshot_request=snapshot_request("/dapi/v1/depth", 20),
    instruments_requests=(Request("/dapi/v1/exchangeInfo"),),
)
FEEDS = (USDM, USDM_MARKET, COINM)
