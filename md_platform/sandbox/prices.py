"""Price paths: listing and hours in, log prices every four seconds of those hours out, and quotes at any step.

Hours are pinned at both ends by a walk that can be evaluated anywhere; within the hour a bridge connects them, with
volatility that changes by the hour and by five minutes. Several hours at once cost little more than one.
"""

from functools import lru_cache

import numpy as np

from md_platform.sandbox.listings import ASSETS, MARKET_VOLATILITY, Listing
from md_platform.sandbox.noise import Floats, Ints, key_of, normals, normals_of, uniforms, walk, words, words_of

HOUR_US = 3_600_000_000
STEP_US = 100_000
"""Quotes and books change on a grid of 100 ms."""
STEPS_PER_HOUR = HOUR_US // STEP_US
START_HOUR = 412_008
"""2017-01-01T00:00Z in hours since the epoch: nothing is listed before."""

_KNOTS = 900
_STEPS_PER_KNOT = STEPS_PER_HOUR // _KNOTS
_FRACTION = np.arange(_KNOTS + 1) / _KNOTS
_KNOTS_PER_BURST = 75
_JITTER = 0.3
_STEPS_PER_JITTER = 10
_ANCHOR_BLOCK = 1_024


class PricePaths:
    """Dollar log prices of all assets, shared by all venues, plus a small basis for each venue."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._market_key = key_of(seed, "market")
        self._regime_key = key_of(seed, "regime")
        self._anchor_block = lru_cache(256)(self._make_anchor_block)
        self._asset_hours = lru_cache(96)(self._make_asset_hours)

    def hourly(self, listing: Listing, first: int, count: int) -> Floats:
        """Prices at the start of `count` hours from `first`: a year's high and low at little cost."""
        logs = self._anchors(listing.base, first, count)
        if listing.quote in ASSETS:
            logs = logs - self._anchors(listing.quote, first, count)
        prices: Floats = np.exp(logs)
        return prices

    def activity(self, hours: Ints) -> Floats:
        """How busy each hour is, around 1: scales both volatility and size."""
        day = (hours - START_HOUR) / 24
        low = day.astype(np.int64)
        here, there = normals(self._regime_key, low), normals(self._regime_key, low + 1)
        slow = here + (there - here) * (day - low)
        busy: Floats = np.exp(0.35 * slow + 0.25 * normals(self._regime_key + 1, hours))
        return busy

    def best_bid(self, listing: Listing, steps: Ints) -> Ints:
        """Best bid in ticks at each 100 ms step since the epoch; `steps` should span few hours."""
        if len(steps) == 0:
            return steps
        first, last = int(steps.min()) // STEPS_PER_HOUR, int(steps.max()) // STEPS_PER_HOUR
        path = self._log_path(listing, first, last - first + 1)
        row, within = np.divmod(steps - first * STEPS_PER_HOUR, STEPS_PER_HOUR)
        knot, rest = np.divmod(within, _STEPS_PER_KNOT)
        start = path[row, knot]
        logs = start + (path[row, knot + 1] - start) * (rest / _STEPS_PER_KNOT)
        jitter = normals(key_of(self._seed, "jitter", listing.base), steps // _STEPS_PER_JITTER)
        logs += jitter * (_JITTER / 60 * ASSETS[listing.base].market_beta * MARKET_VOLATILITY)
        ticks: Ints = (np.exp(logs) * 10**listing.tick_decimals).astype(np.int64)
        return ticks

    def _log_path(self, listing: Listing, first: int, count: int) -> Floats:
        path = self._asset_hours(listing.base, first, count)
        if listing.quote in ASSETS:
            path = path - self._asset_hours(listing.quote, first, count)
        hours = first + np.arange(count + 1, dtype=np.int64)
        basis = 1.5e-4 * normals(key_of(self._seed, "basis", listing.name), hours)
        with_basis: Floats = path + basis[:-1, None] + np.diff(basis)[:, None] * _FRACTION
        return with_basis

    def _anchors(self, asset: str, first: int, count: int) -> Floats:
        """Dollar log price at the start of `count` hours from `first`."""
        low, high = first - START_HOUR, first - START_HOUR + count
        blocks = range(low // _ANCHOR_BLOCK, (high - 1) // _ANCHOR_BLOCK + 1)
        whole = np.concatenate([self._anchor_block(asset, block) for block in blocks])
        return whole[low - blocks[0] * _ANCHOR_BLOCK : high - blocks[0] * _ANCHOR_BLOCK]

    def _make_anchor_block(self, asset: str, block: int) -> Floats:
        hours = block * _ANCHOR_BLOCK + np.arange(_ANCHOR_BLOCK, dtype=np.int64)
        spec = ASSETS[asset]
        moved = spec.market_beta * MARKET_VOLATILITY * walk(self._market_key, hours)
        moved += spec.hourly_volatility * walk(key_of(self._seed, "walk", asset), hours)
        moved += float(np.log(spec.reference_usd))
        return moved

    def _make_asset_hours(self, asset: str, first: int, count: int) -> Floats:
        """Dollar log prices, a row for each hour, both ends included."""
        spec = ASSETS[asset]
        hours = first + np.arange(count, dtype=np.int64)
        keys = words(key_of(self._seed, "bridge", asset), hours)[:, None]
        volatility = np.hypot(spec.market_beta * MARKET_VOLATILITY, spec.hourly_volatility) / _KNOTS**0.5
        five_minutes = np.arange(_KNOTS // _KNOTS_PER_BURST, dtype=np.uint64)[None, :]
        bursts = np.exp(0.4 * normals_of(words_of(keys + np.uint64(1), five_minutes)))
        scale = (bursts * (volatility * self.activity(hours)[:, None])).repeat(_KNOTS_PER_BURST, axis=1)
        path = np.zeros((count, _KNOTS + 1))
        drawn = normals_of(words_of(keys, np.arange(_KNOTS, dtype=np.uint64)[None, :]))
        np.cumsum(drawn * scale, axis=1, out=path[:, 1:])
        anchors = self._anchors(asset, first, count + 1)
        path += anchors[:-1, None] + (np.diff(anchors) - path[:, -1])[:, None] * _FRACTION
        return path


def spread_ticks(key: int, steps: Ints, widest: int) -> Ints:
    """Best ask minus best bid at each 100 ms step: one tick mostly, up to `widest`, constant for 6.4 s."""
    drawn = uniforms(key, steps >> 6)
    return 1 + (drawn**3 * widest).astype(np.int64)
