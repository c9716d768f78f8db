"""Assembly of the Dagster code location from settings: assets of every universe, jobs, schedules, sensors."""

from functools import partial
from pathlib import Path

import dagster as dg

from md_platform.assets.operations import operations
from md_platform.assets.partitions import UniversePartitions
from md_platform.assets.stores import Stores
from md_platform.assets.universe import universe_assets
from md_platform.catalog.ledger import Ledger
from md_platform.errors import InvalidSetting
from md_platform.settings import load_settings, load_universes, venue_urls
from md_platform.sources.history import HistorySources
from md_platform.storage.archive import Archive
from md_platform.storage.lake import Lake
from md_platform.storage.live_reading import LiveReader

_settings = load_settings()
if _settings.database_url is None:
    raise InvalidSetting("MDP_DATABASE_URL must be set: `mdp up` sets it, or name a PostgreSQL yourself")
_database_url = _settings.database_url.get_secret_value()
_home = _settings.home.resolve()
_stores = Stores(
    lake=Lake(Path(_settings.lake)),
    archive=Archive(_settings.archive),
    ledger=Ledger(_database_url),
    sources=HistorySources(venue_urls(), _home / "downloads"),
    reports=_home / "reports",
    live=partial(LiveReader, _database_url),
)
_partitions = [UniversePartitions(universe) for universe in load_universes(_settings.universes_file)]

defs = dg.Definitions.merge(
    dg.Definitions(
        assets=[asset for each in _partitions for asset in universe_assets(each)],
        resources={"stores": _stores},
        executor=dg.in_process_executor,
    ),
    operations(_partitions, _settings),
)
