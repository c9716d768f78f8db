"""Columns in, the rows of PostgreSQL's COPY BINARY out.

Rows whose cells have the same lengths are one structured numpy array, so that the cost of a row is that of a copy and
not of Python. Rows therefore come out in the order of their shapes. What the columns mean does not belong here.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

Lengths = int | npt.NDArray[np.int64]
"""Bytes of each cell, or the one length that all have; -1 is null."""

Cells = npt.NDArray[Any]
Rows = slice | npt.NDArray[np.int64]
"""Which rows of a batch: all, or those of one shape."""

Type = np.dtype[Any]

HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
TRAILER = b"\xff\xff"
FLOAT8_OID = 701
_ARRAY_HEAD, _ARRAY_ITEM = 20, 12
_EMPTY_ARRAY = 12


class Field(Protocol):
    """One column of a batch."""

    lengths: Lengths

    def layout(self, length: int) -> Type:
        """The numpy type of a cell of `length` bytes."""

    def fill(self, cells: Cells, rows: Rows) -> None:
        """Write the cells of `rows`, all of one length, into `cells`."""


class Numbers:
    """Numbers that are all there, as the big-endian `kind`: ">i8", ">f8", ">i2", "i1"."""

    def __init__(self, values: Cells, kind: str) -> None:
        self._values = values
        self._kind: Type = np.dtype(kind)
        self.lengths: Lengths = self._kind.itemsize

    def layout(self, length: int) -> Type:  # noqa: ARG002 - all have one
        """As in Field."""
        return self._kind

    def fill(self, cells: Cells, rows: Rows) -> None:
        """As in Field."""
        cells[...] = self._values[rows]


class OptionalNumbers(Numbers):
    """Numbers of which some are None."""

    def __init__(self, values: Sequence[float | None], kind: str) -> None:
        known = np.array([value is not None for value in values], dtype=np.bool_)
        dtype = np.float64 if kind[-2] == "f" else np.int64
        super().__init__(np.array([0 if value is None else value for value in values], dtype=dtype), kind)
        if not known.all():
            self.lengths = np.where(known, np.dtype(kind).itemsize, -1)


class Bytes:
    """Bytes, such as UTF-8 text, JSON or an array's own encoding; None is null."""

    def __init__(self, values: Sequence[bytes | None]) -> None:
        self._values = np.empty(len(values), dtype=object)
        self._values[:] = values
        found = np.fromiter((-1 if v is None else len(v) for v in values), dtype=np.int64, count=len(values))
        same = len(values) > 0 and bool((found == found[0]).all())
        self.lengths: Lengths = int(found[0]) if same else found

    def layout(self, length: int) -> Type:
        """As in Field."""
        return np.dtype((np.void, length))

    def fill(self, cells: Cells, rows: Rows) -> None:
        """As in Field."""
        joined = b"".join(self._values[rows])
        cells[...] = np.frombuffer(joined, dtype=cells.dtype)


class FloatArrays:
    """Arrays of floats, as double precision[]: column `part` of each of `items`, which are lists of tuples."""

    def __init__(self, items: Sequence[Sequence[tuple[float, float]]], part: int) -> None:
        self._items = items
        self._part = part
        counts = np.fromiter(map(len, items), dtype=np.int64, count=len(items))
        self.lengths: Lengths = np.where(counts == 0, _EMPTY_ARRAY, _ARRAY_HEAD + _ARRAY_ITEM * counts)

    def layout(self, length: int) -> Type:
        """As in Field."""
        return _array_type(0 if length == _EMPTY_ARRAY else (length - _ARRAY_HEAD) // _ARRAY_ITEM)

    def fill(self, cells: Cells, rows: Rows) -> None:
        """As in Field."""
        cells["nulls"], cells["type"] = 0, FLOAT8_OID
        cells["dimensions"] = 0
        if "items" not in (cells.dtype.names or ()):
            return
        chosen = [self._items[row] for row in np.arange(len(self._items))[rows]]
        levels = np.array(chosen, dtype=np.float64)
        cells["dimensions"], cells["count"], cells["first"] = 1, levels.shape[1], 1
        cells["items"]["length"], cells["items"]["value"] = 8, levels[:, :, self._part]


@lru_cache(maxsize=1_024)
def _array_type(items: int) -> Type:
    """The numpy type of a PostgreSQL array of `items` floats."""
    head = [("dimensions", ">i4"), ("nulls", ">i4"), ("type", ">i4")]
    if not items:
        return np.dtype(head)
    item = np.dtype([("length", ">i4"), ("value", ">f8")])
    return np.dtype([*head, ("count", ">i4"), ("first", ">i4"), ("items", item, (items,))])


def encoded(fields: Sequence[Field], rows: int) -> bytes:
    """The whole COPY BINARY stream of `rows` rows with `fields`, in the order of the statement's columns."""
    parts = [_block(fields, group, count) for group, count in _groups(fields, rows)]
    return b"".join((HEADER, *parts, TRAILER))


def _groups(fields: Sequence[Field], rows: int) -> list[tuple[Rows, int]]:
    """Rows of one shape, as index and count."""
    varying = [field.lengths for field in fields if not isinstance(field.lengths, int)]
    if not rows:
        return []
    if not varying:
        return [(slice(None), rows)]
    shape = np.zeros(rows, dtype=np.int64)
    for lengths in varying:
        _, codes = np.unique(lengths, return_inverse=True)
        _, shape = np.unique(shape * (int(codes.max()) + 1) + codes, return_inverse=True)
    order = np.argsort(shape, kind="stable")
    bounds = np.flatnonzero(np.diff(shape[order])) + 1
    return [(group, len(group)) for group in np.split(order, bounds)]


def _block(fields: Sequence[Field], group: Rows, rows: int) -> bytes:
    """The rows of `group`, whose cells have the same lengths."""
    lengths = tuple(f.lengths if isinstance(f.lengths, int) else int(f.lengths[group][0]) for f in fields)
    types = tuple(f.layout(length) if length > 0 else None for f, length in zip(fields, lengths, strict=True))
    block = np.empty(rows, dtype=_row_type(types))
    block["fields"] = len(fields)
    for number, (field, length) in enumerate(zip(fields, lengths, strict=True)):
        block[f"length{number}"] = length
        if length > 0:
            field.fill(block[f"value{number}"], group)
    return block.tobytes()


@lru_cache(maxsize=4_096)
def _row_type(types: tuple[Type | None, ...]) -> Type:
    """The numpy type of a row whose cells have these types, None where they hold nothing."""
    cells: list[tuple[str, Any]] = [("fields", ">i2")]
    for number, kind in enumerate(types):
        cells.append((f"length{number}", ">i4"))
        if kind is not None:
            cells.append((f"value{number}", kind))
    return np.dtype(cells)
