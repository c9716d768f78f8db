"""Real frames in, frames that a venue should never send out: what a fuzzer feeds to parsers. Seeded, nothing else."""

import gzip
import json
import zlib
from collections.abc import Callable
from copy import deepcopy
from random import Random
from typing import Any

STRANGE: tuple[Any, ...] = (
    None, True, False, 0, -1, 1e308, -0.0, 2**53, 2**63, 2**64, -(2**70), 10**400, "", "nan", "inf", "-inf", "1e999",
    "0x10", "1_0", " 1", "١٢", "\x00", "\ud83d", "a" * 5_000, [], {}, [[]], [None], {"": None}, "buy", "snapshot",
    "2021-04-17T16:43:30Z", "9999-12-31T23:59:59.999999999Z", "0001-01-01T00:00:00Z", "2021-02-30T00:00:00Z",
)  # fmt: skip
_RAW = (b"NaN", b"Infinity", b"1e400", b"-", b"01", b"1.", b'"\\ud800"', b"\xff\xfe", b"9" * 400, b"1e-400", b"nul")


def mutated(frame: bytes, random: Random) -> bytes:
    """`frame` with something wrong in it: in its bytes, its JSON, or, where it is compressed, in what it holds."""
    packed = _unpacked(frame)
    if packed is not None and random.random() < 0.8:
        text, pack = packed
        return pack(_mutated(text, random))
    return _mutated(frame, random)


def _mutated(frame: bytes, random: Random) -> bytes:
    if random.random() < 0.6:
        try:
            value = json.loads(frame)
        except (ValueError, RecursionError):
            value = None
        if isinstance(value, dict | list) and value:
            return _written(_changed(value, random), random)
    return random.choice(_BYTES)(frame, random)


def _written(value: Any, random: Random) -> bytes:
    separators = (",", ":") if random.random() < 0.9 else (" ,\n", "\t: ")
    return json.dumps(value, separators=separators, ensure_ascii=random.random() < 0.5).encode("utf-8", "surrogatepass")


def _places(value: Any, found: list[tuple[Any, Any]] | None = None) -> list[tuple[Any, Any]]:
    """Every (container, key) of a value."""
    found = [] if found is None else found
    keys = list(value) if isinstance(value, dict) else range(len(value))
    for key in keys:
        found.append((value, key))
        if isinstance(value[key], dict | list):
            _places(value[key], found)
    return found


def _changed(value: Any, random: Random) -> Any:
    for _ in range(random.choice((1, 1, 1, 2, 5))):
        places = _places(value)
        if not places:
            break
        container, key = random.choice(places)
        match random.randrange(8):
            case 0:
                container[key] = deepcopy(random.choice(STRANGE))
            case 1:
                del container[key]
            case 2:
                other, at = random.choice(places)
                container[key], other[at] = deepcopy(other[at]), deepcopy(container[key])
            case 3:
                container[key] = _retyped(container[key])
            case 4:
                container[key] = _nested(random.choice((2, 30, 200)), random)
            case 5 if isinstance(container, dict):
                container[random.choice(("x", str(key) + "x", str(key).upper()))] = container.pop(key)
            case 6 if isinstance(container, list):
                container.insert(key, deepcopy(container[key]))
            case _:
                container[key] = [container[key]]
    return value


def _retyped(value: Any) -> Any:
    match value:
        case bool() | None:
            return str(value)
        case int() | float():
            return str(value)
        case str():
            try:
                return float(value)
            except ValueError:
                return list(value[:10])
        case list():
            return dict(enumerate(value))
        case _:
            return list(value.values())


def _nested(depth: int, random: Random) -> Any:
    value: Any = random.choice(STRANGE[:12])
    for _ in range(depth):
        value = [value] if random.random() < 0.5 else {"a": value}
    return value


def _flipped(frame: bytes, random: Random) -> bytes:
    changed = bytearray(frame or b"\x00")
    for _ in range(random.choice((1, 1, 3, 20))):
        changed[random.randrange(len(changed))] ^= 1 << random.randrange(8)
    return bytes(changed)


def _cut(frame: bytes, random: Random) -> bytes:
    return frame[: random.randrange(len(frame) + 1)]


def _spliced(frame: bytes, random: Random) -> bytes:
    at = random.randrange(len(frame) + 1)
    return frame[:at] + random.choice((*_RAW, random.randbytes(4))) + frame[at + random.randrange(4) :]


def _repeated(frame: bytes, random: Random) -> bytes:
    """Part of it twice: in JSON, keys that come twice, two values in one frame."""
    start = random.randrange(len(frame) + 1)
    end = random.randrange(start, len(frame) + 1)
    comma = b"," if random.random() < 0.5 else b""
    return frame[:end] + comma + frame[start:]


def _duplicate_key(frame: bytes, random: Random) -> bytes:
    keys = [n for n in range(len(frame)) if frame[n : n + 1] in b"{,"]
    if not keys:
        return frame
    at = random.choice(keys) + 1
    return (
        frame[:at]
        + frame[at : frame.find(b":", at) + 1]
        + random.choice((b"1,", b"null,", b'"x",', b"[],"))
        + frame[at:]
    )


def _deep(_frame: bytes, random: Random) -> bytes:
    depth = random.choice((10, 500, 3_000, 20_000))
    return random.choice((b"[" * depth, b"[" * depth + b"]" * depth, b'{"data":' * depth + b"1" + b"}" * depth))


_BYTES: tuple[Callable[[bytes, Random], bytes], ...] = (
    _flipped, _flipped, _cut, _spliced, _spliced, _repeated, _duplicate_key, _deep,
)  # fmt: skip


def _unpacked(frame: bytes) -> tuple[bytes, Callable[[bytes], bytes]] | None:
    """What a compressed frame holds, and how to compress it again."""
    if frame[:2] == b"\x1f\x8b":
        return gzip.decompress(frame), lambda text: gzip.compress(text, 1)
    if frame[:1] not in (b"{", b"[", b"") and not frame.isascii():
        for window in (-15, 15):
            try:
                text = zlib.decompress(frame, window)
            except zlib.error:
                continue
            return text, lambda text, window=window: _deflated(text, window)  # type: ignore[misc]
    return None


def _deflated(text: bytes, window: int) -> bytes:
    squeeze = zlib.compressobj(1, zlib.DEFLATED, window)
    return squeeze.compress(text) + squeeze.flush()
