"""What stands around the routes: limits, browsers, compression, entity tags, audit, logs without secrets."""

import gzip
import io
import json
import logging
import os
import time
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import psycopg
import pytest
import structlog
import zstandard
from fastapi import APIRouter, Request, Response
from starlette.responses import StreamingResponse

from md_platform.access.keys import Keys
from md_platform.api import app as assembly
from md_platform.api.config import ApiConfig
from md_platform.api.dependencies import ConfigOf, reader, require_rows, trader
from md_platform.api.formats import TABLE, TablesOf
from md_platform.storage.migrate import migrate
from md_platform.telemetry import configure_logging
from md_platform_tests.api_server import Served, served, stores_of

ROWS = pl.DataFrame({"n": range(5_000), "x": [1.5] * 5_000})
PAGE = "https://page.example"

router = APIRouter()


@router.get("/rows", responses=TABLE, dependencies=[reader()])
def rows(tables: TablesOf, version: str | None = None) -> Response:
    return tables.answer(ROWS, version=version, max_age_s=60 if version else 0, meta={"who": "we"})


@router.get("/streamed", dependencies=[reader()])
def streamed() -> Response:
    parts = (f"{n}\n" * 10_000 for n in range(5))
    return StreamingResponse(parts, media_type="text/csv")


@router.post("/bodies", dependencies=[trader("ingest")])
async def bodies(request: Request) -> int:
    return len(await request.body())


@router.get("/many/{count}", dependencies=[reader()])
def many(count: int, config: ConfigOf) -> int:
    require_rows(count, config)
    return count


@pytest.fixture
def database(database_url: str) -> str:
    migrate(database_url)
    return database_url


@pytest.fixture
def api(tmp_path: Path, database: str, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    monkeypatch.setattr(assembly, "ROUTERS", (router,))
    config = ApiConfig(cors_origins=(PAGE,), max_body_bytes=10_000, max_rows=1_000)
    with served(stores_of(tmp_path, database, redis_url), config) as running:
        yield running


@pytest.fixture
def closed(tmp_path: Path, database: str, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    monkeypatch.setattr(assembly, "ROUTERS", (router,))
    config = ApiConfig(is_open=False)
    with served(stores_of(tmp_path, database, redis_url, is_open=False), config) as running:
        yield running


def test_a_client_that_has_it_gets_304(api: Served):
    for query in ("", "?version=v7"):
        first = api.client.get(f"/api/v1/rows{query}")
        again = api.client.get(f"/api/v1/rows{query}", headers={"if-none-match": f'"other", {first.headers["etag"]}'})
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["etag"] == first.headers["etag"]
    assert first.headers["cache-control"] == "private, max-age=60"


def test_another_format_or_coding_has_another_tag(api: Served):
    answers = [
        api.client.get("/api/v1/rows", headers={"accept-encoding": coding, "accept": accept})
        for coding in ("identity", "gzip", "zstd")
        for accept in ("application/json", "text/csv")
    ]
    assert len({answer.headers["etag"] for answer in answers}) == len(answers)
    assert all("Accept" in answer.headers["vary"] for answer in answers)


@pytest.mark.parametrize(
    ("accept", "coding"),
    [
        ("gzip", "gzip"),
        ("gzip, deflate, br, zstd", "zstd"),
        ("zstd;q=0, gzip", "gzip"),
        ("identity", None),
        ("br", None),
    ],
)
def test_answers_are_compressed_as_the_client_accepts(api: Served, accept: str, coding: str | None):
    for path in ("/api/v1/rows?format=csv", "/api/v1/streamed"):
        with api.client.stream("GET", path, headers={"accept-encoding": accept}) as answer:
            raw = b"".join(answer.iter_raw())
        assert answer.headers.get("content-encoding") == coding
        plain = {"gzip": gzip.decompress, "zstd": _unzstd}.get(coding or "", bytes)(raw)
        if path.endswith("csv"):
            assert pl.read_csv(plain).equals(ROWS)
            assert int(answer.headers["content-length"]) == len(raw)
        else:
            assert plain == "".join(f"{n}\n" * 10_000 for n in range(5)).encode()


def _unzstd(raw: bytes) -> bytes:
    return zstandard.ZstdDecompressor().stream_reader(io.BytesIO(raw)).read()


def test_short_answers_stay_as_they_are(api: Served):
    answer = api.client.get("/healthz", headers={"accept-encoding": "gzip"})
    assert "content-encoding" not in answer.headers


def test_every_format_has_the_same_rows(api: Served):
    for accept, read in {
        "application/vnd.apache.arrow.stream": pl.read_ipc_stream,
        "text/csv": pl.read_csv,
        "application/x-ndjson": pl.read_ndjson,
    }.items():
        answer = api.client.get("/api/v1/rows", headers={"accept": accept})
        assert answer.headers["content-type"].startswith(accept)
        assert read(io.BytesIO(answer.content)).equals(ROWS)
    told = api.client.get("/api/v1/rows").json()
    assert pl.DataFrame(told["data"]).equals(ROWS)
    assert told["meta"] == {"rows": 5_000, "who": "we"}
    assert api.client.get("/api/v1/rows", headers={"accept": "image/png"}).status_code == 406


def test_a_body_that_is_too_large_is_refused(api: Served):
    assert api.client.post("/api/v1/bodies", content=b"x" * 10_000).json() == 10_000
    for content in (b"x" * 10_001, (b"x" * 1_000 for _ in range(20))):
        answer = api.client.post("/api/v1/bodies", content=content)
        assert (answer.status_code, answer.headers["content-type"]) == (413, "application/problem+json")


def test_an_answer_that_would_be_too_large_is_refused_before_it_is_read(api: Served):
    assert api.client.get("/api/v1/many/1000").json() == 1_000
    answer = api.client.get("/api/v1/many/1001")
    assert answer.status_code == 413
    assert "1,001 rows, the limit is 1,000" in answer.json()["detail"]


def test_a_misshapen_request_says_where_and_repeats_no_value(api: Served):
    answer = api.client.get("/api/v1/many/hunter2")
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["at"] == "path.count"
    assert "hunter2" not in json.dumps(answer.json()["errors"])


def test_only_pages_that_are_welcome_may_read(api: Served):
    for origin, allowed in ((PAGE, PAGE), ("https://evil.example", None)):
        answer = api.client.get("/api/v1/many/1", headers={"origin": origin})
        assert answer.headers.get("access-control-allow-origin") == allowed
    asked = {"origin": PAGE, "access-control-request-method": "POST", "access-control-request-headers": "authorization"}
    assert api.client.options("/api/v1/bodies", headers=asked).status_code == 200


def test_an_open_platform_is_no_way_in_for_pages_of_the_web(api: Served):
    rebound = api.client.get("/api/v1/many/1", headers={"host": "evil.example:8000"})
    assert (rebound.status_code, rebound.headers["content-type"]) == (403, "application/problem+json")
    for origin, status in (("https://evil.example", 403), (PAGE, 200), ("http://localhost:3000", 200), ("null", 403)):
        assert api.client.post("/api/v1/bodies", headers={"origin": origin}).status_code == status


def test_rates_are_told_and_held(closed: Served, database: str):
    _, text = Keys(database).create("bot", "reader", tier="free")
    headers = {"authorization": f"Bearer {text}"}
    answers = [closed.client.get("/api/v1/many/1", headers=headers) for _ in range(61)]
    assert answers[0].headers["ratelimit-limit"] == "60"
    assert answers[0].headers["ratelimit-remaining"] == "59"
    assert [answer.status_code for answer in answers] == [200] * 60 + [429]
    assert 1 <= int(answers[-1].headers["retry-after"]) <= 60


def test_every_access_is_audited_without_secrets(closed: Served, database: str):
    _, text = Keys(database).create("bot", "reader")
    closed.client.get(f"/api/v1/many/1?api_key={text}", headers={"x-api-key": text})
    closed.client.get("/api/v1/rows")
    closed.client.get(f"/api/v1/many/{text}", headers={"x-api-key": text})
    closed.client.get(f"/nowhere/{text}")
    found = {}
    deadline = time.monotonic() + 10
    while len(found) < 4:
        assert time.monotonic() < deadline
        time.sleep(0.1)
        with psycopg.connect(database) as connection:
            rows = connection.execute(
                "SELECT target, principal, route, status, trace_id, ms FROM md.audit_log"
            ).fetchall()
        found = {row[0]: row[1:4] for row in rows}
    assert found == {
        "/api/v1/many/1": ("bot", "/api/v1/many/{count}", 200),
        "/api/v1/rows": (None, "/api/v1/rows", 401),
        "/api/v1/many/***": ("bot", "/api/v1/many/{count}", 422),
        "/nowhere/***": (None, "", 404),
    }
    assert all(len(row[4]) == 32 and row[5] > 0 for row in rows)


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    stream = io.StringIO()
    configure_logging(stream=stream, json=True)
    yield stream
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def test_the_log_has_a_line_a_request_with_its_ids_and_no_secrets(closed: Served, database: str, log: io.StringIO):
    _, text = Keys(database).create("bot", "reader")
    answer = closed.client.get(f"/api/v1/many/1?token={text}", headers={"x-api-key": text, "x-request-id": "r-1"})
    closed.client.get(f"/nowhere/{text}")
    first, second = (json.loads(line) for line in log.getvalue().splitlines() if '"request"' in line)
    assert (first["principal"], first["path"], first["status"]) == ("bot", "/api/v1/many/1", 200)
    assert (first["request_id"], first["trace_id"]) == ("r-1", answer.headers["x-trace-id"])
    assert second["status"] == 404
    assert text not in log.getvalue()
    assert text.rpartition("_")[2] not in log.getvalue()


def test_metrics_count_by_template(api: Served):
    for n in (1, 2, 2_000):
        api.client.get(f"/api/v1/many/{n}")
    text = api.client.get("/metrics").text
    assert 'md_api_requests_total{method="GET",route="/api/v1/many/{count}",status="200"} ' in text
    assert 'md_api_requests_total{method="GET",route="/api/v1/many/{count}",status="413"} ' in text
    assert 'md_api_request_seconds_bucket{le="0.005",method="GET",route="/api/v1/many/{count}"} ' in text
    assert "md_api_in_flight 1.0" in text
    assert "many/1" not in text
    assert os.environ.get("PROMETHEUS_MULTIPROC_DIR") is None
