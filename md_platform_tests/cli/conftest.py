"""A platform that loads into a real ledger, and of which runs do what a test says."""

import os

import pytest

from md_platform.catalog.ledger import Ledger
from md_platform.loading import loader as loading
from md_platform.storage.migrate import migrate
from md_platform_tests.cli.loading_platform import BTC, ETH, Platform
from md_platform_tests.scripted_dagster import scripted_dagster


@pytest.fixture
def platform(database_url, tmp_path, monkeypatch):
    for name in [name for name in os.environ if name.startswith("MDP_")]:
        monkeypatch.delenv(name)
    migrate(database_url)
    ledger = Ledger(database_url)
    ledger.register([(BTC, "crypto"), (ETH, "crypto")])
    found = Platform(ledger)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MDP_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("MDP_DATABASE_URL", database_url)
    monkeypatch.setattr(loading, "_PATIENCE_S", 1)
    monkeypatch.setattr(loading.Loader.__init__, "__defaults__", (0.02,))
    with scripted_dagster(found.work) as found.dagster:
        monkeypatch.setenv("MDP_DAGSTER_PORT", str(found.dagster.port))
        yield found
