"""What assets read and write: the one resource, made by `definitions` from settings."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from md_platform.catalog.ledger import Ledger
from md_platform.sources.history import HistorySources
from md_platform.storage.archive import Archive
from md_platform.storage.lake import Lake
from md_platform.storage.live_reading import LiveReader


@dataclass(frozen=True)
class Stores:
    """Lake, archive, ledger and sources; `reports` is the folder of the Data Docs.

    `live` opens a reader of the live store, which is for one thread.
    """

    lake: Lake
    archive: Archive
    ledger: Ledger
    sources: HistorySources
    reports: Path
    live: Callable[[], LiveReader]
