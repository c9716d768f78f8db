"""Unmodified cryptofeed consumes the sandbox with only its endpoints changed, checksums validated.

cryptofeed 2.4.1 insists on wss, so this is also TLS with the test CA; it speaks Kraken's WebSocket v1.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from md_platform.sandbox.prices import HOUR_US
from md_platform_tests.sandbox_server import running_sandbox

CLIENT = Path(__file__).with_name("cryptofeed_client.py")


@pytest.fixture(scope="module")
def outcome(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tls")
    with running_sandbox(start_us=494_000 * HOUR_US, speed=10.0, tls_port=0, tls_dir=folder) as sandbox:
        done = subprocess.run(
            [sys.executable, str(CLIENT), sandbox.http, sandbox.wss, str(sandbox.ca_file), "6"],
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize(
    "channel",
    [
        *(
            f"{venue} {channel}"
            for venue in ("binance", "kraken")
            for channel in ("trades", "l2_book", "ticker", "candles")
        ),
        "coinbase trades",
        "coinbase l2_book",
    ],
)
def test_every_channel_arrives(outcome, channel):
    assert outcome["received"].get(channel, 0) >= (50 if channel.endswith("l2_book") else 1), outcome


def test_no_gap_no_bad_checksum_no_complaint(outcome):
    assert outcome["problems"] == []


def test_trades_run_on(outcome):
    ids = outcome["ids"]
    assert ids == list(range(ids[0], ids[0] + len(ids)))
