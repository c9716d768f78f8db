"""The page's files: one address for each version, a strict policy, and packaged licences."""

import hashlib
import re

from md_platform.api.page import _web
from md_platform_tests.api_server import Served

VENDORED = "vendor/lightweight-charts/"


def test_the_page_may_load_from_here_and_talk_to_the_gateway_only(api: Served):
    answer = api.client.get("/")
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'self'; connect-src 'self' ws://127.0.0.1:8001;")
    assert "unsafe" not in policy
    assert not re.search(r"<style|style=|<script(?! type=\"module\" src=)| on\w+=", answer.text)


def test_every_file_is_kept_for_good_under_its_version(api: Served):
    text = api.client.get("/").text
    paths = re.findall(r'(?:href|src)="(/web/[^"]+)"', text)
    assert len(paths) > 4
    for path in paths:
        answer = api.client.get(path)
        assert answer.status_code == 200
        assert "immutable" in answer.headers["cache-control"]
    version = paths[0].split("/")[2]
    assert api.client.get(paths[0].replace(version, "0" * 16)).status_code == 404
    assert api.client.get(f"/web/{version}/../api/page.py").status_code == 404


def test_a_host_that_is_no_name_gets_into_no_header(api: Served):
    answer = api.client.get("/", headers={"host": "127.0.0.1;x:1"})
    assert "127.0.0.1;x" not in answer.headers.get("content-security-policy", "")


def test_what_is_vendored_is_what_its_note_says():
    _, files = _web()
    digest = hashlib.sha256(files[f"{VENDORED}lightweight-charts.mjs"]).hexdigest()
    assert digest in files[f"{VENDORED}VERSION.md"].decode()
    assert b"Apache License" in files[f"{VENDORED}LICENSE"]
    assert b"TradingView" in files[f"{VENDORED}NOTICE"]


def test_a_client_learns_where_the_gateway_is_and_who_it_is(api: Served):
    told = api.client.get("/api/v1/platform").json()
    assert (told["is_open"], told["gateway_url"]) == (True, "ws://127.0.0.1:8001")
    assert api.client.get("/api/v1/me").json()["name"] == "anonymous"
