"""What assets read and write: the one resource, made by `definitions` from settings."""

from dataclasses import dataclass
from pathlib import Path

from md_platform.catalog.ledger import Ledger
from md_platform.sources.history import HistorySources
from md_platform.storage.archive import Archive
from md_platform.storage.lake import Lake


@dataclass(frozen=True)
class Stores:
    """Lake, archive, ledger and sources; `reports` is the folder of the Data Docs."""

    lake: Lake
    archive: Archive
    ledger: Ledger
    sources: HistorySources
    reports: Path
