"""`mdp token` and `mdp api` as processes: keys made, listed and revoked; several workers, TLS, refusals."""

import contextlib
import gzip
import json
import os
import re
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import trustme

from md_platform.embedded.ports import free_port, is_healthy
from md_platform.embedded.serving_services import api_address, trusted
from md_platform.settings import load_settings
from md_platform.storage.migrate import migrate
from md_platform_tests.local_server import Answer, serving


@pytest.fixture
def environment(tmp_path: Path, database_url: str, redis_url: str) -> dict[str, str]:
    migrate(database_url)
    (tmp_path / "home").mkdir()
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith("MDP_")},
        "MDP_HOME": str(tmp_path / "home"),
        "MDP_DATABASE_URL": database_url,
        "MDP_REDIS_URL": redis_url,
        "MDP_API_PORT": str(free_port()),
        "MDP_AUTH": "required",
    }


def mdp(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "md_platform.cli", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)


@contextlib.contextmanager
def api(environment: dict[str, str], *arguments: str, verify: ssl.SSLContext | bool = True) -> Iterator[httpx.Client]:
    scheme = "http" if verify is True else "https"
    log = Path(environment["MDP_HOME"]) / "api.log"
    command = [sys.executable, "-m", "md_platform.cli", "api", *arguments]
    with log.open("w") as written:
        process = subprocess.Popen(command, env=environment, stderr=written, stdout=written)
    with httpx.Client(base_url=f"{scheme}://127.0.0.1:{environment['MDP_API_PORT']}", verify=verify) as client:
        try:
            deadline = time.monotonic() + 60
            while True:
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < deadline, log.read_text()
                with contextlib.suppress(httpx.HTTPError):
                    if client.get("/healthz").is_success:
                        break
                time.sleep(0.1)
            yield client
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)


def test_a_key_is_printed_once_and_lets_in_until_it_is_revoked(environment: dict[str, str]):
    made = mdp(environment, "token", "create", "bot", "--role", "trader", "--scopes", "live,market", "--days", "3")
    key = made.stdout.strip()
    assert re.fullmatch(r"mdp_[0-9a-f]{12}_[0-9a-f]{48}", key), made.stderr
    (listed,) = json.loads(mdp(environment, "token", "list", "--json").stdout)
    assert (listed["name"], listed["role"], listed["scopes"], listed["tier"]) == (
        "bot",
        "trader",
        ["live", "market"],
        "free",
    )
    assert key.rpartition("_")[2] not in mdp(environment, "token", "list").stdout
    headers = {"authorization": f"Bearer {key}"}
    with api(environment) as client:
        assert client.post("/api/v1/tickets").status_code == 401
        assert client.post("/api/v1/tickets", headers=headers).status_code == 201
        revoked = mdp(environment, "token", "revoke", listed["id"])
        assert "lets nobody in from now on" in revoked.stdout
        time.sleep(0.2)
        assert client.post("/api/v1/tickets", headers=headers).status_code == 401
    log = (Path(environment["MDP_HOME"]) / "api.log").read_text()
    assert '"path": "/api/v1/tickets"' in log
    assert key.rpartition("_")[2] not in log


def test_what_is_wrong_is_said(environment: dict[str, str]):
    for arguments, words in (
        (("token", "create", "Bad Name"), "a name is of a-z"),
        (("token", "create", "bot", "--role", "root"), "a role is one of reader, trader, admin"),
        (("token", "revoke", "nope"), "no API key nope"),
    ):
        done = mdp(environment, *arguments)
        assert (done.returncode, words in done.stderr) == (2, True), done.stderr


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"MDP_AUTH": "open", "MDP_API_HOST": "0.0.0.0"}, "MDP_API_HOST must be a loopback address"),
        ({"MDP_TLS_KEY": "/nowhere.pem"}, "MDP_TLS_CERTIFICATE and MDP_TLS_KEY go together"),
    ],
)
def test_it_refuses_to_serve_unsafely(environment: dict[str, str], changes: dict[str, str], words: str):
    done = mdp({**environment, **changes}, "api")
    assert done.returncode == 2
    assert words in done.stderr


@pytest.mark.parametrize(
    "changes",
    [
        {"MDP_JWT_SECRET": "short", "MDP_JWT_ISSUER": "x"},
        {"MDP_JWT_SECRET": "x" * 32},
        {"MDP_JWT_PUBLIC_KEY": "/no.pem"},
    ],
)
def test_settings_of_tokens_that_make_no_sense_end_it(environment: dict[str, str], changes: dict[str, str]):
    done = mdp({**environment, **changes}, "api")
    assert (done.returncode, "MDP_JWT_" in done.stderr) == (2, True), done.stderr
    assert "Traceback" not in done.stderr


def test_workers_share_the_port_and_their_figures(environment: dict[str, str]):
    with api({**environment, "MDP_AUTH": "open"}, "--workers", "2") as client:
        for _ in range(20):
            with httpx.Client(base_url=client.base_url) as another:
                assert another.get("/api/v1/openapi.json").is_success
        deadline = time.monotonic() + 10
        while 'route="/api/v1/openapi.json",status="200"} 20.0' not in client.get("/metrics").text:
            assert time.monotonic() < deadline, client.get("/metrics").text
            time.sleep(0.2)


def test_it_speaks_tls(environment: dict[str, str], tmp_path: Path):
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    certificate.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    for blob in certificate.cert_chain_pems:
        blob.write_to_path(str(tmp_path / "chain.pem"), append=True)
    context = ssl.create_default_context()
    authority.configure_trust(context)
    files = {"MDP_TLS_CERTIFICATE": str(tmp_path / "chain.pem"), "MDP_TLS_KEY": str(tmp_path / "key.pem")}
    with api({**environment, **files}, verify=context) as client:
        assert "max-age" in client.get("/healthz").headers["strict-transport-security"]
        settings = load_settings({name: value for name, value in {**environment, **files}.items() if "MDP" in name})
        assert is_healthy(api_address(settings), trusted(settings))
        assert not is_healthy(api_address(settings))


def test_spans_from_request_to_query_reach_a_collector(environment: dict[str, str]):
    trace_id = "0af7651916cd43dd8448eb211c80319c"
    with serving(lambda _asked: Answer()) as collector:
        with api({**environment, "MDP_AUTH": "open", "MDP_OTLP_URL": collector.url}) as client:
            headers = {"traceparent": f"00-{trace_id}-b7ad6b7169203331-01"}
            answer = client.get("/api/v1/datasets", headers=headers)
            assert answer.headers["x-trace-id"] == trace_id, answer.text
        sent = [asked.body for asked in collector.asked if asked.path == "/v1/traces"]
    spans = [body for body in map(_plain, sent) if bytes.fromhex(trace_id) in body]
    assert any(b"/api/v1/datasets" in body for body in spans)
    assert any(b"ledger query" in body for body in spans)


def _plain(body: bytes) -> bytes:
    return gzip.decompress(body) if body.startswith(b"\x1f\x8b") else body
