"""Tables in, answers out: Arrow IPC, JSON, JSON lines or CSV as the client asks, with entity tags and cache rules.

JSON is columnar, `{"meta": {...}, "data": {"open_time": [...], "open": [...]}}`: a year of bars of a minute is written
in a fifth of the time that an object a row takes. JSON lines has an object a row, as `mdp export` has.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_args

import numpy as np
import orjson
import polars as pl
import pyarrow as pa
from fastapi import Depends, Query, Request
from starlette.responses import Response, StreamingResponse

from md_platform.errors import NotAcceptable

Format = Literal["json", "ndjson", "csv", "arrow"]
MEDIA_TYPES: Mapping[Format, str] = {
    "json": "application/json",
    "ndjson": "application/x-ndjson",
    "csv": "text/csv; charset=utf-8",
    "arrow": "application/vnd.apache.arrow.stream",
}
_FORMATS = {media_type.partition(";")[0]: form for form, media_type in MEDIA_TYPES.items()}
_WILDCARDS = {"*/*": "json", "application/*": "json", "text/*": "csv"}
_TIME = "%Y-%m-%dT%H:%M:%S%.fZ"
_JSON = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NAIVE_UTC | orjson.OPT_UTC_Z
_CODING = re.compile(r'\+(zstd|gzip)"$')  # as the middleware Compression adds it
_HASHED_BYTES = 4 * 2**20
_ROWS_AT_ONCE = 65_536

TABLE: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The rows, in the format asked for; JSON has a list for each column",
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["meta", "data"],
                    "properties": {
                        "meta": {"type": "object", "required": ["rows"], "properties": {"rows": {"type": "integer"}}},
                        "data": {"type": "object", "additionalProperties": {"type": "array"}},
                    },
                }
            },
            **{media_type.partition(";")[0]: {} for form, media_type in MEDIA_TYPES.items() if form != "json"},
        },
    },
    304: {"description": "The client has these rows already, by its If-None-Match"},
}
"""`responses` of a route that answers with a table."""


@dataclass(frozen=True, slots=True)
class Tables:
    """How one request wants its table."""

    form: Format
    known_tags: Mapping[str, str]
    """Tags of what the client has: without the suffix of a content coding, and as the client sent them."""

    def unchanged(self, version: str, max_age_s: int = 0) -> Response | None:
        """The answer 304 where the client has content of `version` already, which need not be read then."""
        tag = self.known_tags.get(self._tag(version))
        return Response(status_code=304, headers=_headers(tag, max_age_s)) if tag else None

    def answer(
        self,
        frame: pl.DataFrame,
        *,
        meta: Mapping[str, Any] | None = None,
        version: str | None = None,
        max_age_s: int = 0,
    ) -> Response:
        """`frame` in the format asked for, or 304.

        `version` names this content among all that this URL may ever answer; without it, answers of up to 4 MiB are
        tagged by their bytes. `meta` goes beside the rows in JSON, and into the schema's metadata in Arrow. Long ones
        in these are sent while they are encoded.
        """
        if version is not None and (same := self.unchanged(version, max_age_s)):
            return same
        if frame.height > _ROWS_AT_ONCE and self.form in ("arrow", "json"):
            return self._parts(frame, meta or {}, _headers(version and self._tag(version), max_age_s))
        content = encoded(frame, self.form, meta or {})
        if version is None and len(content) <= _HASHED_BYTES:
            version = hashlib.blake2b(content, digest_size=12).hexdigest()
            if same := self.unchanged(version, max_age_s):
                return same
        tag = None if version is None else self._tag(version)
        return Response(content, headers=_headers(tag, max_age_s), media_type=MEDIA_TYPES[self.form])

    def _parts(self, frame: pl.DataFrame, meta: Mapping[str, Any], headers: dict[str, str]) -> Response:
        if self.form == "json":
            return StreamingResponse(json_parts(frame, meta), headers=headers, media_type=MEDIA_TYPES["json"])
        table = _arrow_table(frame, meta)
        size = _arrow_size(table)
        headers["content-length"] = str(size)
        return StreamingResponse(_arrow_parts(table, size), headers=headers, media_type=MEDIA_TYPES["arrow"])

    def _tag(self, version: str) -> str:
        return f'"{version}-{self.form}"'


async def _tables(
    request: Request,
    form: Annotated[
        Format | None, Query(alias="format", description="Of the answer, before what the Accept header says.")
    ] = None,
) -> Tables:
    tags = [tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")]
    known = {_CODING.sub('"', tag): tag for tag in tags}
    return Tables(form or accepted(request.headers.get("accept", "*/*")), known)


TablesOf = Annotated[Tables, Depends(_tables)]
"""How the request wants its table: `tables.answer(frame)`."""


def accepted(accept: str) -> Format:
    """The format that an Accept header prefers; NotAcceptable where we have none of them."""
    wanted: list[tuple[float, int, Format]] = []
    for n, part in enumerate(accept.split(",")):
        name, _, parameters = part.strip().lower().partition(";")
        form = _FORMATS.get(name.strip(), _WILDCARDS.get(name.strip()))
        quality = _quality(parameters)
        if form in get_args(Format) and quality > 0:
            wanted.append((-quality, n, form))  # type: ignore[arg-type] # one of them, as just asked
    if not wanted:
        raise NotAcceptable(f"formats are {', '.join(_FORMATS)}, Accept was {accept!r}")
    return min(wanted)[2]


def encoded(frame: pl.DataFrame, form: Format, meta: Mapping[str, Any]) -> bytes:
    """`frame` as bytes of `form`."""
    if form == "json":
        return as_json(frame, meta)
    if form == "arrow":
        return as_arrow(frame, meta)
    if form == "csv":
        return frame.write_csv(datetime_format=_TIME).encode()
    times = [name for name, dtype in frame.schema.items() if isinstance(dtype, pl.Datetime)]
    return frame.with_columns(pl.col(times).dt.strftime(_TIME)).write_ndjson().encode()


def as_json(frame: pl.DataFrame, meta: Mapping[str, Any]) -> bytes:
    """`{"meta": {"rows": 2, ...}, "data": {column: [value, ...]}}`; what is not a number is null."""
    return b"".join(json_parts(frame, meta))


def json_parts(frame: pl.DataFrame, meta: Mapping[str, Any]) -> Iterator[bytes]:
    """The same, column by column."""
    before = b'{"meta":%s,"data":{' % orjson.dumps({"rows": frame.height, **meta}, option=_JSON)
    for series in frame:
        yield b"%s%s:%s" % (before, orjson.dumps(series.name), _json_column(series))
        before = b","
    yield b"}}" if frame.width else before + b"}}"


def _json_column(series: pl.Series) -> bytes:
    dtype = series.dtype
    if dtype.is_float() or (series.null_count() == 0 and (dtype.is_integer() or dtype == pl.Boolean)):
        return orjson.dumps(series.to_numpy(), option=_JSON)
    if isinstance(dtype, pl.Datetime) and series.null_count() == 0:
        return orjson.dumps(series.dt.replace_time_zone(None).to_numpy(), option=_JSON)
    if dtype == pl.String and _is_constant(series):
        value = orjson.dumps(series[0])
        return b"[" + (value + b",") * (len(series) - 1) + value + b"]"
    return orjson.dumps(series.to_list(), option=_JSON)


def as_arrow(frame: pl.DataFrame, meta: Mapping[str, Any]) -> bytes:
    """An Arrow IPC stream, texts as dictionaries; `meta` is JSON under the key `meta` of its schema."""
    table = _arrow_table(frame, meta)
    return b"".join(_arrow_parts(table, _arrow_size(table)))


def _arrow_table(frame: pl.DataFrame, meta: Mapping[str, Any]) -> pa.Table:
    columns = {series.name: _arrow_column(series) for series in frame.rechunk()}  # else each piece is a batch
    metadata = {"meta": json.dumps({"rows": frame.height, **meta}, default=str)}
    return pa.table(columns).replace_schema_metadata(metadata)


def _arrow_size(table: pa.Table) -> int:
    counter = pa.MockOutputStream()
    with pa.ipc.new_stream(counter, table.schema) as writer:
        writer.write_table(table, _ROWS_AT_ONCE)
    return int(counter.size())


def _arrow_parts(table: pa.Table, size: int) -> Iterator[memoryview]:
    """The stream of `table`, which has `size` bytes, so many rows at a time."""
    buffer = pa.allocate_buffer(size)  # at full length: a stream that grows copies all that it has
    stream, content, sent = pa.FixedSizeBufferWriter(buffer), memoryview(buffer), 0
    with pa.ipc.new_stream(stream, table.schema) as writer:
        for batch in table.to_batches(_ROWS_AT_ONCE):
            writer.write_batch(batch)
            yield content[sent : stream.tell()]
            sent = stream.tell()
    yield content[sent:]


def _arrow_column(series: pl.Series) -> pa.ChunkedArray | pa.Array:
    """The column; a text as a dictionary, which of one word that repeats is a hundredth of the bytes."""
    if series.dtype != pl.String:
        return series.to_arrow()
    if _is_constant(series):
        return pa.DictionaryArray.from_arrays(
            np.zeros(len(series), np.int32), pa.array(series[:1].to_list(), pa.string())
        )
    return series.to_arrow().cast(pa.string()).dictionary_encode()


def _is_constant(series: pl.Series) -> bool:
    return len(series) > 0 and series[0] is not None and bool((series == series[0]).all(ignore_nulls=False))


def _quality(parameters: str) -> float:
    for parameter in parameters.split(";"):
        name, _, value = parameter.strip().partition("=")
        if name == "q":
            try:
                return float(value)
            except ValueError:
                return 0.0
    return 1.0


def _headers(tag: str | None, max_age_s: int) -> dict[str, str]:
    headers = {"cache-control": f"private, max-age={max_age_s}" if max_age_s else "private, no-cache"}
    headers["vary"] = "Accept"
    return headers if tag is None else {**headers, "etag": tag}
