"""A platform for one test: lake, archive and ledger of its own, and Dagster runs of its assets in this process."""

import datetime as dt
import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest

from md_platform.assets.partitions import UniversePartitions
from md_platform.assets.stores import Stores
from md_platform.assets.universe import CHAIN, Made, universe_assets
from md_platform.catalog.ledger import Ledger
from md_platform.catalog.ranges import Range
from md_platform.settings import Universe, VenueUrls, load_universes
from md_platform.sources.fetch import RetryPolicy
from md_platform.sources.history import HistorySources
from md_platform.storage.archive import Archive
from md_platform.storage.lake import Lake, sha256_of
from md_platform.storage.live_reading import LiveReader
from md_platform.storage.migrate import migrate


@dataclass
class Platform:
    stores: Stores
    universe: Universe
    assets: Sequence[dg.AssetsDefinition]
    instance: dg.DagsterInstance
    home: Path
    _registered: set[str] = field(default_factory=set)

    def run(
        self,
        names: Sequence[str],
        instruments: str | Sequence[str],
        first: dt.date,
        last: dt.date | None = None,
        files: Sequence[Path] = (),
        *,
        fails: bool = False,
    ) -> dg.ExecuteInProcessResult:
        """One ranged run of the assets `names`; `files` are what the raw asset among them imports."""
        instruments = (instruments,) if isinstance(instruments, str) else tuple(instruments)
        for instrument in instruments:
            if instrument not in self._registered:
                self._registered.add(instrument)
                self.instance.add_dynamic_partitions(f"{self.universe.name}_instruments", [instrument])
        config = {
            f"{self.universe.name}__{name}": {"config": {"files": [str(file) for file in files]}}
            for name in names
            if name in ("raw_bars", "raw_trades") and files
        }
        result = dg.materialize(
            self.assets,
            selection=[self.key(name) for name in names],
            instance=self.instance,
            resources={"stores": self.stores},
            tags=Range(instruments, first, last or first).tags,
            run_config={"ops": config},
            raise_on_error=False,
        )
        assert result.success != fails, [event.message for event in result.all_events if event.is_failure]
        return result

    def key(self, name: str) -> dg.AssetKey:
        return dg.AssetKey([self.universe.name, name])

    def events(self, name: str) -> dict[str, dg.AssetMaterialization]:
        """Newest materialization of each partition of an asset."""
        records = self.instance.fetch_materializations(self.key(name), limit=1_000).records
        return {str(r.partition_key): r.asset_materialization for r in reversed(records)}

    def ledger(self, dataset: str) -> dict[dt.date, dict[str, Any]]:
        """What the ledger says of a dataset with one instrument, by date."""
        rows = self.stores.ledger.partitions(dataset).rows(named=True)
        return {row["date"]: {**row, "evidence": json.loads(row["evidence"])} for row in rows}

    def statuses(self, dataset: str) -> list[str]:
        return [row["status"] for row in self.ledger(dataset).values()]

    def state(self) -> tuple[dict[str, str], dict[str, int], list[tuple[Any, ...]]]:
        """All that must not change when nothing changed: every file, every table's version, every ledger row."""
        files = {str(file): sha256_of(file) for file in sorted(self.stores.lake.root.rglob("*")) if file.is_file()}
        tables = sorted(Path(self.stores.archive.root).glob("*"))
        rows = self.stores.ledger.partitions().drop("run_id").rows()
        return files, {table.name: self.stores.archive.version(table.name) for table in tables}, rows


MakePlatform = Callable[..., Platform]


def platform_at(
    home: Path, database_url: str, instance: dg.DagsterInstance, universe: Universe | None = None,
    urls: dict[str, VenueUrls] | None = None, chain: Sequence[Made] = CHAIN,
) -> Platform:  # fmt: skip
    migrate(database_url)
    universe = universe or load_universes()[0]
    impatient = RetryPolicy(attempts=2, wait_initial_s=0.01, wait_max_s=0.02, connect_timeout_s=5, read_timeout_s=5)
    stores = Stores(
        Lake(home / "lake"),
        Archive(str(home / "archive")),
        Ledger(database_url),
        HistorySources(urls or {}, home / "downloads", retry=impatient),
        home / "reports",
        partial(LiveReader, database_url),
    )
    return Platform(stores, universe, universe_assets(UniversePartitions(universe), chain), instance, home)


@pytest.fixture
def make_platform(tmp_path: Path, database_url: str) -> Iterator[MakePlatform]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield lambda **given: platform_at(tmp_path, database_url, instance, **given)


@pytest.fixture
def platform(make_platform: MakePlatform) -> Platform:
    return make_platform()


@pytest.fixture(scope="module")
def module_platform(tmp_path_factory: pytest.TempPathFactory, module_database_url: str) -> Iterator[Platform]:
    """One platform for a whole module, whose tests read what its fixtures made."""
    with dg.DagsterInstance.ephemeral() as instance:
        yield platform_at(tmp_path_factory.mktemp("platform"), module_database_url, instance)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real market data, which lies beside the repository on developers' machines."""
    folder = Path(__file__).parents[3] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("real market data (../shared/data beside the repository) is not here")
    return folder


@pytest.fixture
def csv(tmp_path: Path) -> Callable[[str, pl.DataFrame], Path]:
    """Write bars as a user's CSV: a header, ISO times, the five numbers."""

    def write(name: str, bars: pl.DataFrame) -> Path:
        path = tmp_path / name
        columns = ("open", "high", "low", "close", "volume")
        time = pl.col("open_time").dt.strftime("%Y-%m-%dT%H:%M:%SZ").alias("time")
        bars.select(time, *columns).write_csv(path)
        return path

    return write


def digest(rows: pl.DataFrame) -> str:
    """A short name for what a frame holds."""
    return hashlib.sha256(rows.write_csv().encode()).hexdigest()[:16]
