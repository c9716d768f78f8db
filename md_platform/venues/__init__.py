"""Every venue in one registry: what it is asked, how its answers read. Pure: the network is in `sources`.

To add a venue: write its file after the pattern of `kraken.py`, and name it in `VENUES`.
"""

from md_platform.errors import UnknownVenue
from md_platform.venues import binance, bitfinex, bitstamp, bybit, coinbase, gemini, htx, kraken, kucoin, okx
from md_platform.venues.spec import VenueSpec

FILE = VenueSpec(id="file", title="Files that you import")

VENUES: tuple[VenueSpec, ...] = (
    *binance.VENUES,
    *bitfinex.VENUES,
    *bitstamp.VENUES,
    *bybit.VENUES,
    *coinbase.VENUES,
    *gemini.VENUES,
    *htx.VENUES,
    *kraken.VENUES,
    *kucoin.VENUES,
    *okx.VENUES,
    FILE,
)


def venue_named(venue: str) -> VenueSpec:
    """The venue whose id is `venue`; UnknownVenue, with the known ones, otherwise."""
    for spec in VENUES:
        if spec.id == venue:
            return spec
    raise UnknownVenue(f"venue must be one of {' '.join(spec.id for spec in VENUES)}, was {venue!r}")
