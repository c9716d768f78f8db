"""One platform for all tests here, on one worker of xdist; a second one where tests kill."""

import http.server
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

from md_platform_tests.page.chromium import browser
from md_platform_tests.platform import ordering
from md_platform_tests.platform.running import Platform, installed

__all__ = ["browser"]

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.timeout(3_000))


@dataclass(frozen=True)
class Loaded:
    """Days of three instruments, one of each protocol, trades included, loaded by `mdp backfill`."""

    instruments: tuple[str, ...]
    arguments: tuple[str, ...]
    result: CompletedProcess[str]
    seconds: float


@pytest.fixture(scope="package")
def installation(open_folder: Path) -> Path:
    return installed(open_folder / "installed")


@dataclass(frozen=True)
class Webhook:
    """A real server, and what it was told."""

    url: str
    told: list[dict[str, Any]] = field(default_factory=list)


@pytest.fixture(scope="package")
def webhook() -> Iterator[Webhook]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            webhook.told.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    webhook = Webhook(f"http://127.0.0.1:{server.server_port}/alerts")
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield webhook
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="package")
def platform(open_folder: Path, installation: Path, webhook: Webhook) -> Iterator[Platform]:
    """A platform that runs for all tests."""
    home = open_folder / "shared" / "home"
    home.parent.mkdir()
    settings = {"MDP_INSTRUMENTS": "sandbox:BTC-USDT,sandbox:LTCUSDT", "MDP_ALERT_WEBHOOK_URL": webhook.url}
    platform = Platform(installation, home, HERE / "ordered_universe.py", **settings)
    try:
        yield platform.start()
    finally:
        platform.end()


@pytest.fixture(scope="package")
def ordered(platform: Platform) -> dict[str, str]:
    """Ids of backfills in the universe `ordered`, by shape; they run while other tests wait for other things."""
    return {shape: ordering.launch(platform, shape) for shape in ordering.SHAPES}


@pytest.fixture(scope="package")
def loaded(platform: Platform, ordered: dict[str, str]) -> Loaded:
    instruments = ("sandbox:BTC-USDT", "sandbox-coinbase:ETH-USD", "sandbox-kraken:SOL-USD")
    arguments = ("backfill", *instruments, "--start", "2026-10-01", "--end", "2026-10-03", "--trades")
    began = time.monotonic()
    result = platform.mdp(*arguments)
    return Loaded(instruments, arguments, result, time.monotonic() - began)
