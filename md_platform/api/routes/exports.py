"""Exports: streamed at once, or as jobs whose files are fetched later, by ranges or by signed links."""

import asyncio
import datetime as dt
from collections.abc import Iterator
from itertools import chain
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query
from fastapi.responses import FileResponse, StreamingResponse
from pydantic import BaseModel, ConfigDict, Field

from md_platform.access.principal import Principal
from md_platform.api.dependencies import StoresOf, anyone, reader
from md_platform.api.stores import Stores
from md_platform.catalog.exporting import Form, columns_of, parts
from md_platform.domain.intervals import UTC, parse_interval
from md_platform.errors import Forbidden
from md_platform.jobs.exports import Pack, Wish, frames
from md_platform.jobs.links import Link
from md_platform.jobs.queue import Job

router = APIRouter(tags=["exports"])

_MEDIA_TYPES: dict[str, str] = {
    "csv": "text/csv; charset=utf-8",
    "json": "application/x-ndjson",
    "parquet": "application/vnd.apache.parquet",
    "arrow": "application/vnd.apache.arrow.stream",
    "zip": "application/zip",
}
_BY_ENDING = {"ndjson": "json", "arrows": "arrow"}
_Word = Annotated[str, Field(max_length=100, pattern=r"^[^\x00]*$")]
_Time = Annotated[str, Field(max_length=40, description="ISO 8601, or an epoch", examples=["2026-11-01T00:00:00Z"])]
Id = Annotated[str, Path(max_length=32, pattern=r"^[0-9a-f]+$", examples=["1f0c3a5e9b7d4c2f8a6e0d1b3c5f7a9e"])]
FileName = Annotated[str, Path(max_length=200, pattern=r"^[\w.:-]+$", examples=["cleaned_bars-sandbox_BTC-USDT.csv"])]
Reads = Annotated[Principal, reader("export")]
BYTES: dict[int | str, dict[str, Any]] = {
    200: {"description": "The bytes", "content": {"application/octet-stream": {}}},
    206: {"description": "The part asked for by the Range header", "content": {"application/octet-stream": {}}},
    416: {"description": "The file does not have that range"},
}


class NewExport(BaseModel):
    """Rows to export. json has one object a line, arrow is an IPC stream; several instruments come as a zip."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "dataset": "cleaned_bars",
                    "ids": ["sandbox:BTC-USDT"],
                    "start": "2026-11-01",
                    "end": "2026-11-08",
                    "format": "parquet",
                }
            ]
        },
    )

    dataset: _Word
    ids: Annotated[list[_Word], Field(min_length=1, max_length=500, description="names of instruments")]
    start: _Time
    end: _Time
    timeframe: Annotated[str, Field(max_length=5)] | None = None
    columns: Annotated[list[_Word], Field(min_length=1, max_length=200)] | None = None
    format: Form = "csv"
    pack: Annotated[Pack, Field(description="several instruments in one zip, or each in its file")] = "zip"


class FileInfo(BaseModel):
    """A finished file."""

    name: str = Field(examples=["cleaned_bars-sandbox_BTC-USDT.parquet"])
    rows: int
    bytes: int
    sha256: str


class ExportInfo(BaseModel):
    """An export as it stands: `done` of `total` parts are read; files can be fetched until `expires_at`."""

    id: str
    state: Literal["queued", "running", "done", "failed", "cancelled", "expired"]
    request: dict[str, Any]
    done: int
    total: int
    files: list[FileInfo]
    error: str | None
    created_at: dt.datetime
    finished_at: dt.datetime | None
    expires_at: dt.datetime | None


class NewLink(BaseModel):
    """How long a link is good, and whether for one download only."""

    model_config = ConfigDict(extra="forbid")

    name: Annotated[str, Field(max_length=200, pattern=r"^[\w.:-]+$", examples=["cleaned_bars-sandbox_BTC-USDT.csv"])]
    expires_in_s: Annotated[int, Field(ge=1, le=7 * 86_400)] = 3_600
    once: bool = False


class LinkInfo(BaseModel):
    """A link that needs no credential: whoever has it has the file."""

    path: str = Field(examples=["/api/v1/downloads/1f0c…/cleaned_bars.zip?expires=…&nonce=&signature=…"])
    expires_at: dt.datetime


@router.post("/exports", status_code=202)
def start(body: NewExport, stores: StoresOf, principal: Reads) -> ExportInfo:
    """Export rows into files, in the background."""
    instruments = tuple(dict.fromkeys(stores.market.names.resolve(name).id for name in body.ids))
    interval = parse_interval(body.start, body.end, now=dt.datetime.now(UTC))
    columns = None if body.columns is None else tuple(body.columns)
    wish = Wish(body.dataset, instruments, interval, body.timeframe, columns, body.format, body.pack)
    job = stores.operations.exports.start(wish, principal.name)
    stores.operations.worker.wake()
    return _info(job)


@router.get("/exports")
def exports(stores: StoresOf, principal: Reads, limit: Annotated[int, Query(ge=1, le=500)] = 100) -> list[ExportInfo]:
    """Your exports, newest first; an admin's are everybody's."""
    return [_info(job) for job in stores.operations.jobs.of("export", _owner(principal), limit)]


@router.get("/downloads", dependencies=[reader("export")], responses=BYTES, response_class=StreamingResponse)
def stream(
    stores: StoresOf,
    dataset: Annotated[str, Query(max_length=50, examples=["cleaned_bars"])],
    id: Annotated[str, Query(max_length=100, description="name of an instrument", examples=["sandbox:BTC-USDT"])],  # noqa: A002 - in the address
    start: Annotated[str, Query(max_length=40, examples=["2026-11-01"])],
    end: Annotated[str, Query(max_length=40, examples=["2026-11-08"])],
    timeframe: Annotated[str | None, Query(max_length=5)] = None,
    columns: Annotated[str | None, Query(max_length=2_000, description="separated by commas")] = None,
    form: Annotated[Form, Query(alias="format")] = "csv",
) -> StreamingResponse:
    """The rows themselves, as they are read: the bytes that `mdp export` writes."""
    instrument = stores.market.names.resolve(id).id
    interval = parse_interval(start, end, now=dt.datetime.now(UTC))
    wish = Wish(dataset, (instrument,), interval, timeframe, tuple(columns.split(",")) if columns else None, form)
    (selection,) = wish.selections()
    chunks = stores.reader.chunks(selection)
    read = parts(frames(stores.reader, selection, chunks, columns_of(selection, wish.columns)), form)
    content: Iterator[bytes] = (part.content for part in read)
    first = next(content, b"")  # what fails at once is an answer of its own
    name = wish.name(instrument)
    headers = {"content-disposition": f'attachment; filename="{name}"', "cache-control": "private, no-store"}
    return StreamingResponse(chain([first], content), headers=headers, media_type=_MEDIA_TYPES[form])


@router.get("/exports/{id}")
def progress(id: Id, stores: StoresOf, principal: Reads) -> ExportInfo:  # noqa: A002 - in the address
    """How far an export is, and its files."""
    return _info(stores.operations.jobs.get("export", id, _owner(principal)))


@router.delete("/exports/{id}")
def cancel(id: Id, stores: StoresOf, principal: Reads) -> ExportInfo:  # noqa: A002 - in the address
    """Cancel an export that is not finished; remove the files of one that is."""
    operations = stores.operations
    job = operations.jobs.cancel("export", id, _owner(principal))
    if job.state == "done":
        operations.jobs.end_now(job.id)
        operations.exports.remove(job)
        job = operations.jobs.get("export", id)
    return _info(job)


@router.get("/exports/{id}/files/{name}", responses=BYTES, response_class=FileResponse)
def file(id: Id, name: FileName, stores: StoresOf, principal: Reads) -> FileResponse:  # noqa: A002 - in the address
    """A finished file, or a range of it."""
    job = stores.operations.jobs.get("export", id, _owner(principal))
    return _file(stores, job, name)


@router.post("/exports/{id}/links", status_code=201)
def link(id: Id, body: NewLink, stores: StoresOf, principal: Reads) -> LinkInfo:  # noqa: A002 - in the address
    """A signed link to a finished file."""
    operations = stores.operations
    operations.exports.file(operations.jobs.get("export", id, _owner(principal)), body.name)
    made = Link.made(id, body.name, body.expires_in_s, once=body.once)
    path = f"/api/v1/downloads/{made.query(operations.link_secret)}"
    return LinkInfo(path=path, expires_at=dt.datetime.fromtimestamp(made.expires, UTC))


@router.get(
    "/downloads/{id}/{name}", dependencies=[anyone()], responses=BYTES, response_class=FileResponse, tags=["exports"]
)
async def download(
    id: Id,  # noqa: A002 - in the address
    name: FileName,
    stores: StoresOf,
    expires: Annotated[int, Query(ge=0, le=2**53)],
    signature: Annotated[str, Query(max_length=64, description="as the link has it", examples=["9b1f3d5c7e"])],
    nonce: Annotated[str, Query(max_length=32, pattern=r"^[0-9a-f]*$")] = "",
) -> FileResponse:
    """A finished file by a signed link."""
    Link(id, name, expires, nonce).require(signature, stores.operations.link_secret)
    if nonce and not await stores.redis.set(f"md:download:{nonce}", 1, nx=True, exat=expires + 1):
        raise Forbidden("the link was used: ask for a new one")
    return await asyncio.to_thread(lambda: _file(stores, stores.operations.jobs.get("export", id), name))


def _owner(principal: Principal) -> str | None:
    return None if principal.role == "admin" else principal.name


def _file(stores: Stores, job: Job, name: str) -> FileResponse:
    path = stores.operations.exports.file(job, name)
    ending = name.rpartition(".")[2]
    media_type = _MEDIA_TYPES[_BY_ENDING.get(ending, ending)]
    return FileResponse(path, media_type=media_type, filename=name, headers={"cache-control": "private, no-cache"})


def _info(job: Job) -> ExportInfo:
    return ExportInfo(
        id=job.id,
        state=job.state,
        request=dict(job.request),
        done=job.done,
        total=job.total,
        files=[FileInfo(**each) for each in job.detail.get("files", [])] if job.state == "done" else [],
        error=job.error,
        created_at=job.created_at,
        finished_at=job.finished_at,
        expires_at=job.expires_at,
    )
