"""schemathesis over the whole OpenAPI of a real, closed API with data in it.

python -m md_platform_tests.api.fuzzing 500       so many examples for each operation
"""

import contextlib
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

from md_platform.access import rates
from md_platform.access.keys import Keys
from md_platform.api.config import ApiConfig
from md_platform.api.stores import Stores
from md_platform.catalog.ledger import PartitionRecord
from md_platform.domain.instruments import Instrument
from md_platform.domain.intervals import Interval
from md_platform.domain.schemas import CLEANED_BARS, RESAMPLED_BARS
from md_platform.embedded import postgres_running, valkey_running
from md_platform.storage.migrate import migrate
from md_platform.transforms.resampled import resample
from md_platform_tests.api_server import served, stores_of
from md_platform_tests.rows import BTC, DAY0, day_of_bars
from md_platform_tests.scripted_dagster import ended, scripted_dagster

CONFIG = f"""
[parameters]
instrument = "{BTC}"
ids = "{BTC},binance:ETH-USDT"
timeframe = "1h"
start = "{DAY0:%Y-%m-%d}"
end = "{DAY0:%Y-%m-%d}T12:00:00Z"
dataset = "cleaned_bars"
"""
"""Values that get past the door, so that what is behind it is tried too."""
EXCLUDED = (
    "positive_data_acceptance",  # what an expression, a time or an instrument's name may be is more than a schema says
)


@dataclass(frozen=True, slots=True)
class Fuzzed:
    """What schemathesis found."""

    failed: bool
    cases: int
    report: str


@contextlib.contextmanager
def closed_api(folder: Path, database_url: str, redis_url: str) -> Iterator[tuple[str, str]]:
    """Address and an admin's key of an API that asks for one, with a day of bars of one instrument."""
    migrate(database_url)
    with scripted_dagster(ended) as dagster:
        stores = stores_of(folder, database_url, redis_url, is_open=False, dagster_port=dagster.port)
        with _served(stores, database_url) as address_and_key:
            yield address_and_key


@contextlib.contextmanager
def _served(stores: Stores, database_url: str) -> Iterator[tuple[str, str]]:
    stores.ledger.register([(Instrument.parse(BTC, native="BTCUSDT"), "crypto")])
    date, bars = DAY0.date(), day_of_bars(DAY0.date())
    for dataset, frame in ((CLEANED_BARS, bars), (RESAMPLED_BARS, resample(bars, Interval.day(date).end))):
        stores.lake.write(stores.lake.path(dataset, BTC, date), frame)
        stores.ledger.record([PartitionRecord(dataset.name, BTC, date, "ok", frame.height, sha256=dataset.name)])
    _, key = Keys(database_url).create("fuzz", "admin", tier="enterprise")
    with (
        mock.patch.object(rates, "FAILURES_PER_MINUTE", 1_000_000),  # schemathesis tries doors without and with it
        served(stores, ApiConfig(is_open=False)) as api,
    ):
        yield str(api.client.base_url).rstrip("/"), key


def fuzz(url: str, key: str, examples: int, folder: Path, *, known: bool, seed: int | None = None) -> Fuzzed:
    """Run schemathesis with so many examples for each operation; with instruments and times that are `known`, or any."""
    config = folder / "schemathesis.toml"
    config.write_text(CONFIG if known else "")
    command = [
        str(Path(sys.executable).with_name("schemathesis")),
        f"--config-file={config}",
        "run",
        f"{url}/api/v1/openapi.json",
        f"--header=Authorization: Bearer {key}",
        f"--max-examples={examples}",
        "--phases=examples,coverage,fuzzing",
        f"--exclude-checks={','.join(EXCLUDED)}",
        "--request-timeout=30",
        "--no-color",
        *([f"--seed={seed}"] if seed is not None else []),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
    report = done.stdout + done.stderr
    cases = re.search(r"([\d,]+) generated", report)
    return Fuzzed(done.returncode != 0, int(cases[1].replace(",", "")) if cases else 0, report)


def main() -> None:
    """Fuzz with as many examples as the command line says."""
    with tempfile.TemporaryDirectory(prefix="mdp-fuzz-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        with (
            postgres_running(folder / "postgres", durable=False) as database_url,
            valkey_running(folder / "redis") as redis_url,
            closed_api(folder / "stores", database_url, redis_url) as (url, key),
        ):
            found = [fuzz(url, key, int(sys.argv[1]), folder, known=known) for known in (True, False)]
    for each in found:
        print(each.report)
    print(f"{sum(each.cases for each in found):,} cases")
    sys.exit(any(each.failed for each in found))


if __name__ == "__main__":
    main()
