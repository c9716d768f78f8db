import io
import json
import logging
import time
from collections import Counter

import pytest
import structlog

from md_platform.telemetry import configure_logging, redact


@pytest.fixture(autouse=True)
def _restored():
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("postgresql://mdp:s3cret@127.0.0.1:5432/mdp", "postgresql://mdp:***@127.0.0.1:5432/mdp"),
        ("redis://:pw@host:6379/0 and x@y.z", "redis://:***@host:6379/0 and x@y.z"),
        ("postgresql+psycopg2://u:p@ss@w@h/d", "postgresql+psycopg2://u:***@h/d"),
        ('{"url": "redis://:pw@h", "n": 1}', '{"url": "redis://:***@h", "n": 1}'),
        ("https://api.example/x?apikey=abc&symbol=BTC", "https://api.example/x?apikey=***&symbol=BTC"),
        ("connection failed: password=abc host=h", "connection failed: password=*** host=h"),
        ("http://127.0.0.1:3000/runs", "http://127.0.0.1:3000/runs"),
        ("no secret here", "no secret here"),
    ],
)
def test_passwords_are_blanked_and_nothing_else(text, expected):
    assert redact(text) == expected


def test_json_lines_carry_fields_and_no_secrets():
    stream = io.StringIO()
    configure_logging(stream=stream, json=True)
    structlog.get_logger("a").info("started", url="redis://:pw@h/0", api_key="k", count=3)
    logging.getLogger("library").warning("cannot reach %s", "postgresql://u:pw@h/d")
    try:
        int("redis://:pw@h")
    except ValueError:
        structlog.get_logger("a").exception("failed")
    first, second, third = map(json.loads, stream.getvalue().splitlines())
    assert (first["event"], first["url"], first["api_key"], first["count"]) == ("started", "redis://:***@h/0", "***", 3)
    assert first["timestamp"].endswith("Z")
    assert second["event"] == "cannot reach postgresql://u:***@h/d"
    assert "ValueError" in third["exception"]
    assert "redis://:***@h" in third["exception"]
    assert "pw" not in stream.getvalue()


def test_a_stream_that_is_no_terminal_gets_json():
    stream = io.StringIO()
    configure_logging(stream=stream)
    structlog.get_logger("a").info("x")
    assert json.loads(stream.getvalue())["event"] == "x"


def test_a_flood_of_warnings_is_thinned_and_told(monkeypatch):
    stream = io.StringIO()
    configure_logging(stream=stream, json=True)
    logs, library = structlog.get_logger("a"), logging.getLogger("library")
    now = time.time()
    monkeypatch.setattr(logging.time, "time", lambda: now)
    for number in range(100):
        logs.warning("spool refused", reason="full", waiting=number)
        logs.warning("spool refused", reason="read-only", waiting=number)
        library.error("cannot reach %s", number)
        logs.info("asked", path="/same")
    now += 61
    logs.warning("spool refused", reason="full", waiting=7)
    library.error("cannot reach %s", 7)
    *early, last, of_library = map(json.loads, stream.getvalue().splitlines())
    assert Counter(line.get("reason") or line["event"][:12] for line in early) == {
        "full": 5, "read-only": 5, "cannot reach": 5, "asked": 100,
    }  # fmt: skip
    assert (last["waiting"], last["kept_back"]) == (7, 95)
    assert of_library["event"] == "cannot reach 7 (95 like it were kept back)"


def test_people_get_lines_and_the_level_is_kept():
    stream = io.StringIO()
    configure_logging("warning", stream, json=False)
    structlog.get_logger("a").info("quiet")
    structlog.get_logger("a").warning("loud", url="redis://:pw@h")
    assert "loud" in stream.getvalue()
    assert "redis://:***@h" in stream.getvalue()
    assert "quiet" not in stream.getvalue()
