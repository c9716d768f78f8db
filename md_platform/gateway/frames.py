"""A message of a channel in, the WebSocket frame that a client wants out: made once for all who want the same.

As JSON without filters it is what Redis published with the channel's name around it; nothing is decoded.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, get_args

import msgspec
import picows

from md_platform.domain.wire import Published
from md_platform.errors import InvalidParameter
from md_platform.gateway.messages import Filters, Told

_TEXT, _BINARY = picows.WSMsgType.TEXT, picows.WSMsgType.BINARY
_TAIL = b"\x00\x00\xff\xff"
_LEAST_DEFLATED = 256  # bytes: less becomes longer
_FIELDS = {
    cls.__struct_config__.tag: {name: n + 1 for n, name in enumerate(cls.__struct_fields__)}
    for cls in get_args(Published)
}
"""Where each field stands in the array of an event, by the event's tag."""

EVERYTHING = Filters()
_encode_json = msgspec.json.encode
_encode_msgpack = msgspec.msgpack.encode
_decode_json = msgspec.json.Decoder().decode


class Frame(NamedTuple):
    """What is sent: arguments of picows' `send`."""

    kind: picows.WSMsgType
    payload: bytes
    fin: bool = True
    deflated: bool = False


@dataclass(frozen=True, slots=True)
class View:
    """How a client wants to see a channel, and may: with `owner` only what belongs to that principal."""

    msgpack: bool = False
    deflate: bool = False
    filters: Filters = EVERYTHING
    owner: str | None = None

    def answer(self, told: Told) -> Frame:
        """The frame of an answer."""
        return self._frame(_encode_msgpack(told) if self.msgpack else _encode_json(told))

    def events(self, kind: str, channel: str, number: int, data: bytes, **more: Any) -> Frame | None:  # noqa: ANN401
        """The frame of `data`, encoded events of `channel`; None where the filters leave nothing.

        `kind` is `data`, `history` or `notice`; `more` stands beside it.
        """
        if self.filters == EVERYTHING and not self.msgpack and self.owner is None:
            beside = b"".join(b',"%b":%b' % (name.encode(), _encode_json(value)) for name, value in more.items())
            head = b'{"type":"%b","channel":"%b","seq":%d' % (kind.encode(), channel.encode(), number)
            return self._frame(b'%b%b,"data":%b}' % (head, beside, data))
        events = filtered(_owned(_decode_json(data), self.owner), self.filters)
        if not events and kind == "data":
            return None
        message = {"type": kind, "channel": channel, "seq": number, **more, "data": events}
        return self._frame(_encode_msgpack(message) if self.msgpack else _encode_json(message))

    def _frame(self, payload: bytes) -> Frame:
        kind = _BINARY if self.msgpack else _TEXT
        if not self.deflate or len(payload) < _LEAST_DEFLATED:
            return Frame(kind, payload)
        packer = zlib.compressobj(level=1, wbits=-15)
        packed = packer.compress(payload) + packer.flush(zlib.Z_SYNC_FLUSH)
        return Frame(kind, packed.removesuffix(_TAIL), fin=True, deflated=True)


def inflated(payload: bytes, at_most: int) -> bytes:
    """The message of a compressed frame; ValueError where it is longer than `at_most`, or none."""
    unpacker = zlib.decompressobj(wbits=-15)
    try:
        message = unpacker.decompress(payload + _TAIL, at_most)
    except zlib.error as error:
        raise ValueError(f"a compressed frame cannot be read: {error}") from None
    if unpacker.unconsumed_tail:
        raise ValueError(f"a message has {at_most} bytes at most")
    return message


def filtered(events: Sequence[list[Any]], filters: Filters) -> list[Any]:
    """Those of `events` that pass, with the fields that are wanted. What has no volume or quality passes."""
    kept = (
        [event for event in events if _passes(event, filters)] if filters.min_volume or filters.min_quality else events
    )
    if not filters.fields:
        return list(kept)
    return [{name: event[at] for name, at in _chosen(event, filters.fields)} for event in kept]


def _owned(events: Sequence[list[Any]], owner: str | None) -> Sequence[list[Any]]:
    """Those of `events` that belong to `owner`, or to nobody; all where it is None."""
    if owner is None:
        return events
    places = [_FIELDS.get(event[0], {}).get("owner") for event in events]
    return [event for event, at in zip(events, places, strict=True) if at is None or event[at] == owner]


def _passes(event: list[Any], filters: Filters) -> bool:
    fields = _FIELDS.get(event[0], {})
    volume = fields.get("size") or fields.get("volume")
    if volume and event[volume] < filters.min_volume:
        return False
    quality = fields.get("quality")
    return not (quality and event[quality] < filters.min_quality)


def _chosen(event: list[Any], fields: Sequence[str]) -> list[tuple[str, int]]:
    known = _FIELDS.get(event[0], {})
    return [(name, known[name]) for name in fields if name in known]


def require_fields(kind: type[msgspec.Struct], filters: Filters) -> None:
    """InvalidParameter where the filters name a field that the channel's events have not."""
    for name in filters.fields:
        if name not in kind.__struct_fields__:
            raise InvalidParameter(f"fields are of {' '.join(kind.__struct_fields__)}, was {name!r}")
