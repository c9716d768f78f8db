"""What the sandbox lists: assets with reference prices, and each venue's instruments with their tick and lot sizes."""

from functools import cached_property

import msgspec


class Asset(msgspec.Struct, frozen=True):
    """An asset whose dollar price is simulated. `hourly_volatility` is the sd of its own hourly log return."""

    code: str
    name: str
    reference_usd: float
    market_beta: float
    hourly_volatility: float


ASSETS: dict[str, Asset] = {
    asset.code: asset
    for asset in (
        Asset("BTC", "Bitcoin", 65_000.0, 1.0, 0.0012),
        Asset("ETH", "Ethereum", 2_400.0, 1.15, 0.0025),
        Asset("SOL", "Solana", 140.0, 1.3, 0.0040),
        Asset("XRP", "XRP", 2.10, 1.0, 0.0040),
        Asset("ADA", "Cardano", 0.62, 1.2, 0.0040),
        Asset("DOGE", "Dogecoin", 0.17, 1.3, 0.0045),
        Asset("LTC", "Litecoin", 88.0, 1.1, 0.0030),
        Asset("DOT", "Polkadot", 5.40, 1.2, 0.0038),
        Asset("LINK", "Chainlink", 14.0, 1.2, 0.0042),
        Asset("AVAX", "Avalanche", 24.0, 1.3, 0.0042),
    )
}
MARKET_VOLATILITY = 0.0040
"""Hourly sd of the factor that all assets share."""


class Listing(msgspec.Struct, frozen=True, dict=True):
    """One instrument on one venue. Prices are counted in ticks of 10^-tick_decimals, sizes in lots likewise."""

    venue: str
    base: str
    quote: str
    tick_decimals: int
    lot_decimals: int
    trades_per_day: int
    resolution_us: int

    @cached_property
    def pair(self) -> str:
        """`BASE-QUOTE`."""
        return f"{self.base}-{self.quote}"

    @cached_property
    def name(self) -> str:
        """`venue:BASE-QUOTE`."""
        return f"{self.venue}:{self.pair}"

    @cached_property
    def tick(self) -> float:
        """Smallest step of the price, in quote units."""
        return float(f"1e-{self.tick_decimals}")

    @cached_property
    def reference_price(self) -> float:
        """The price around which the simulation moves, in quote units."""
        quoted_in = ASSETS[self.quote].reference_usd if self.quote in ASSETS else 1.0
        return ASSETS[self.base].reference_usd / quoted_in

    @cached_property
    def grid_ticks(self) -> int:
        """Distance between resting levels: a tenth of a basis point, at least one tick."""
        return max(1, round(self.reference_price * 1e-5 / self.tick))

    @cached_property
    def median_lots(self) -> float:
        """Median size of a trade: about 250 dollars' worth."""
        return float(250.0 / ASSETS[self.base].reference_usd * 10**self.lot_decimals)

    def price(self, ticks: int) -> float:
        """Price in quote units."""
        return ticks / float(10**self.tick_decimals)

    def size(self, lots: int) -> float:
        """Size in base units."""
        return lots / float(10**self.lot_decimals)


_ACTIVITY = {
    "BTC-USD": 36_000,
    "ETH-USD": 28_000,
    "SOL-USD": 15_000,
    "XRP-USD": 11_000,
    "DOGE-USD": 7_000,
    "ADA-USD": 6_000,
    "LINK-USD": 5_000,
    "AVAX-USD": 4_500,
    "LTC-USD": 4_200,
    "DOT-USD": 3_800,
    "ETH-BTC": 5_000,
    "LTC-BTC": 3_200,
}
"""Trades a day on the busiest venue. The less active ones have minutes without a trade."""

_DECIMALS: dict[str, dict[str, tuple[int, int]]] = {
    "binance": {
        "BTC": (2, 5), "ETH": (2, 4), "SOL": (2, 3), "XRP": (4, 1), "ADA": (4, 1), "DOGE": (5, 0), "LTC": (2, 3),
        "DOT": (3, 2), "LINK": (2, 2), "AVAX": (2, 2), "ETH-BTC": (5, 4), "LTC-BTC": (6, 3),
    },
    "coinbase": {
        "BTC": (2, 8), "ETH": (2, 8), "SOL": (2, 8), "XRP": (4, 6), "ADA": (4, 8), "DOGE": (5, 1), "LTC": (2, 8),
        "DOT": (3, 8), "LINK": (3, 2), "AVAX": (2, 8), "ETH-BTC": (5, 8), "LTC-BTC": (6, 8),
    },
    "kraken": {
        "BTC": (1, 8), "ETH": (2, 8), "SOL": (2, 8), "XRP": (5, 8), "ADA": (6, 8), "DOGE": (7, 8), "LTC": (2, 8),
        "DOT": (4, 8), "LINK": (5, 8), "AVAX": (2, 8), "ETH-BTC": (5, 8), "LTC-BTC": (6, 8),
    },
}  # fmt: skip
"""(tick decimals, lot decimals) as the venues themselves have them."""

_SHARE = {"binance": 1.0, "coinbase": 0.8, "kraken": 0.6}
_DOLLAR = {"binance": "USDT", "coinbase": "USD", "kraken": "USD"}
_RESOLUTION_US = {"binance": 1_000, "coinbase": 1, "kraken": 1}

PAIRS = tuple(_ACTIVITY)
"""The dozen, in dollars' generic name; Binance quotes it as USDT."""


def listings(pairs: tuple[str, ...] = PAIRS, activity: float = 1.0) -> tuple[Listing, ...]:
    """Every venue's listing of `pairs` (BASE-QUOTE, USD for each venue's dollar), `activity` times as busy as usual."""
    found = []
    for venue, decimals in _DECIMALS.items():
        for pair in pairs:
            base, quote = pair.split("-")
            ticks, lots = decimals[base if quote == "USD" else pair]
            found.append(
                Listing(
                    venue=venue,
                    base=base,
                    quote=_DOLLAR[venue] if quote == "USD" else quote,
                    tick_decimals=ticks,
                    lot_decimals=lots,
                    trades_per_day=round(_ACTIVITY[pair] * _SHARE[venue] * activity),
                    resolution_us=_RESOLUTION_US[venue],
                )
            )
    return tuple(found)
