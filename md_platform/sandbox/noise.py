"""Random numbers by address: (key, index) in, the same number out, whatever was drawn before.

Everything the sandbox knows about an hour is computed from such numbers, so no hour needs the hours before it. The
generator is SplitMix64's finaliser, not numpy's Generator, whose streams may change between numpy versions.
"""

import hashlib

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Words = NDArray[np.uint64]
Bools = NDArray[np.bool_]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)
_S11, _S16, _S27, _S30, _S31, _S32, _S48 = (np.uint64(n) for n in (11, 16, 27, 30, 31, 32, 48))
_LOW_16 = np.uint64(0xFFFF)
_NORMAL_SCALE = 3**0.5 / 65536

WALK_LEVELS = 20
"""The walk spans 2^20 hours (119 years), each level halving the interval down to two hours."""


def key_of(*parts: str | int) -> int:
    """64-bit key that names one stream of random numbers."""
    text = "/".join(str(part) for part in parts)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


def words(key: int, index: Ints | Words) -> Words:
    """Random 64-bit words, one for each index."""
    return words_of(np.uint64(key), index.astype(np.uint64))


def words_of(keys: Words | np.uint64, index: Words) -> Words:
    """Random 64-bit words for pairs of key and index, broadcast."""
    x = index * _GOLDEN + keys
    x ^= x >> _S30
    x *= _MIX_1
    x ^= x >> _S27
    x *= _MIX_2
    x ^= x >> _S31
    return x


def uniforms(key: int, index: Ints | Words) -> Floats:
    """Uniform in [0, 1), one for each index."""
    return uniforms_of(words(key, index))


def uniforms_of(word: Words) -> Floats:
    """The uniform numbers in [0, 1) that these random words stand for."""
    return (word >> _S11).astype(np.float64) * 2.0**-53


def normals(key: int, index: Ints | Words) -> Floats:
    """Nearly normal (mean 0, variance 1, bounded by ±3.5), one for each index: the sum of four 16-bit uniforms."""
    return normals_of(words(key, index))


def normals_of(word: Words) -> Floats:
    """The normal numbers that these random words stand for."""
    total = (word & _LOW_16) + ((word >> _S16) & _LOW_16) + ((word >> _S32) & _LOW_16) + (word >> _S48)
    centred: Floats = total.astype(np.float64) - 131070.0
    return centred * _NORMAL_SCALE


def uniform(key: int, index: int) -> float:
    """One uniform in [0, 1)."""
    return float(uniforms(key, np.array([index], np.int64))[0])


def walk(key: int, hours: Ints, longest_swing_h: int = 8_760) -> Floats:
    """Brownian walk with variance 1 per hour at `hours` since the start, each computed alone.

    The Lévy-Ciesielski construction: a sum of triangles, one for each level of halving, weighted by addressed normals.
    Swings longer than `longest_swing_h` get no larger, so that prices stay near their reference over decades.
    """
    total = np.zeros(len(hours))
    for level in range(WALK_LEVELS):
        span = 1 << (WALK_LEVELS - level)
        cell = hours // span
        triangle = 1.0 - np.abs(2.0 * (hours - cell * span) / span - 1.0)
        amplitude = 0.5 * min(span, longest_swing_h) ** 0.5
        total += amplitude * triangle * normals(key + level, cell)
    return total
