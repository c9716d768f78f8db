"""The application itself: health, problems, ids, headers, the rule that every route names its role."""

import asyncio
import io
from typing import Annotated

import polars as pl
import pytest
from fastapi import APIRouter, FastAPI

from md_platform.api import app as assembly
from md_platform.api import formats
from md_platform.api.app import roles
from md_platform.api.dependencies import reader
from md_platform.errors import NotAcceptable
from md_platform_tests.api_server import Served

TRACE = "0af7651916cd43dd8448eb211c80319c"


def test_it_lives_and_says_what_it_depends_on(api: Served):
    assert api.client.get("/healthz").json() == {"status": "ok"}
    answer = api.client.get("/readyz")
    assert answer.status_code == 200
    assert {name: each["ok"] for name, each in answer.json()["dependencies"].items()} == {
        "database": True,
        "redis": True,
        "lake": True,
    }


def test_an_unknown_path_is_a_problem_with_the_callers_trace_id(api: Served):
    answer = api.client.get("/api/v1/nowhere", headers={"traceparent": f"00-{TRACE}-b7ad6b7169203331-01"})
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["trace_id"] == answer.headers["x-trace-id"] == TRACE
    assert answer.json()["instance"] == "/api/v1/nowhere"


def test_a_request_id_is_kept_where_it_is_harmless(api: Served):
    assert api.client.get("/healthz", headers={"x-request-id": "abc-1"}).headers["x-request-id"] == "abc-1"
    assert api.client.get("/healthz", headers={"x-request-id": 'a"{}'}).headers["x-request-id"] != 'a"{}'


def test_every_answer_bears_protective_headers(api: Served):
    for path in ("/healthz", "/api/v1/nowhere"):
        assert api.client.get(path).headers["x-content-type-options"] == "nosniff"


def test_an_unforeseen_error_is_a_problem_without_its_words(api: Served):
    async def broken() -> None:
        raise RuntimeError("password=hunter2")

    api.app.add_api_route("/broken", broken)
    answer = api.client.get("/broken")
    assert (answer.status_code, answer.json()["type"]) == (500, "urn:md-platform:internal-error")
    assert "hunter2" not in answer.text
    assert "Traceback" not in answer.text


def test_a_route_without_a_role_is_refused(monkeypatch: pytest.MonkeyPatch):
    router = APIRouter()

    @router.get("/forgotten")
    async def forgotten() -> int:
        return 1

    @router.get("/named")
    async def named(_who: Annotated[object, reader()]) -> int:
        return 1

    app = FastAPI()
    app.include_router(router, prefix="/x")
    with pytest.raises(ValueError, match="/x/forgotten names no role"):
        roles(app)
    assert assembly.PREFIX == "/api/v1"


FRAME = pl.DataFrame(
    {
        "open_time": pl.Series(["2024-01-01T00:00:00", "2024-01-01T00:01:00"]).str.to_datetime(time_zone="UTC"),
        "source": ["a", "a"],
        "close": [1.5, float("nan")],
        "volume": [None, 2.0],
        "count": pl.Series([None, 3], dtype=pl.Int64),
        "is_closed": [True, False],
    }
)


def test_a_table_is_the_same_in_every_format():
    assert formats.as_json(FRAME, {"x": 1}) == (
        b'{"meta":{"rows":2,"x":1},"data":{"open_time":["2024-01-01T00:00:00Z","2024-01-01T00:01:00Z"],'
        b'"source":["a","a"],"close":[1.5,null],"volume":[null,2.0],"count":[null,3],"is_closed":[true,false]}}'
    )
    arrow = pl.read_ipc_stream(bytes(formats.as_arrow(FRAME, {})))
    assert arrow.cast({pl.Categorical: pl.String}).equals(FRAME, null_equal=True)
    assert pl.read_csv(io.BytesIO(formats.encoded(FRAME, "csv", {})))["open_time"][1] == "2024-01-01T00:01:00Z"
    assert formats.encoded(FRAME, "ndjson", {}).splitlines()[0] == (
        b'{"open_time":"2024-01-01T00:00:00Z","source":"a","close":1.5,"volume":null,"count":null,"is_closed":true}'
    )


@pytest.mark.parametrize("form", ["arrow", "json"])
def test_a_long_table_that_is_sent_in_parts_is_whole_and_tagged(form):
    rows = pl.concat([FRAME] * 70_000)
    answer = formats.Tables(form, {}).answer(rows, version="v")
    body = asyncio.run(joined(answer.body_iterator))
    if form == "arrow":
        assert int(answer.headers["content-length"]) == len(body)
        assert pl.read_ipc_stream(body).cast({pl.Categorical: pl.String}).equals(rows, null_equal=True)
    else:
        assert body == formats.encoded(rows, form, {})
    tag = answer.headers["etag"]
    assert formats.Tables(form, {tag: tag}).answer(rows, version="v").status_code == 304


async def joined(parts) -> bytes:
    return b"".join([bytes(part) async for part in parts])


def test_an_empty_table_has_its_columns():
    assert formats.as_json(FRAME.clear(), {}) == (
        b'{"meta":{"rows":0},"data":{"open_time":[],"source":[],"close":[],"volume":[],"count":[],"is_closed":[]}}'
    )


@pytest.mark.parametrize(
    ("accept", "form"),
    [
        ("*/*", "json"),
        ("text/html,application/xhtml+xml,*/*;q=0.8", "json"),
        ("text/csv", "csv"),
        ("application/json;q=0.5, application/vnd.apache.arrow.stream", "arrow"),
    ],
)
def test_the_accept_header_chooses(accept: str, form: str):
    assert formats.accepted(accept) == form


def test_an_unknown_format_is_not_acceptable():
    with pytest.raises(NotAcceptable, match="image/png"):
        formats.accepted("image/png")
