"""Files in, all that reads market data from them out: as `market`, without a server, a database or Redis."""

import datetime as dt
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from md_platform.catalog.files import FileLedger
from md_platform.catalog.reading import Reader
from md_platform.domain.intervals import Interval, Timeframe
from md_platform.domain.schemas import CLEANED_BARS, CLEANED_TRADES
from md_platform.errors import NotFound
from md_platform.serving.bars import Bars
from md_platform.serving.cache import Cache
from md_platform.serving.computed import Indicators
from md_platform.serving.live import Found
from md_platform.serving.names import Names
from md_platform.serving.seam import Seam
from md_platform.serving.trades import Trades
from md_platform.storage.archive import Archive
from md_platform.storage.lake import Lake


class NotStreamed:
    """There is nothing live."""

    def bars(self, instrument: str, timeframe: Timeframe, interval: Interval, as_of: dt.datetime | None) -> Found:  # noqa: ARG002
        """None."""
        return Found(pl.DataFrame(schema=CLEANED_BARS.schema))

    def rolled(self, instrument: str, timeframe: Timeframe, interval: Interval) -> None:
        """None."""

    def trades(self, instrument: str, interval: Interval) -> Found:  # noqa: ARG002
        """None."""
        return Found(pl.DataFrame(schema=CLEANED_TRADES.schema))


@dataclass(frozen=True, slots=True)
class FileMarket:
    """What serves market data from files."""

    bars: Bars
    trades: Trades
    indicators: Indicators
    names: Names
    cache: Cache
    ledger: FileLedger


def open_files(root: str) -> FileMarket:
    """Readers of an MDP_HOME, a lake or an archive at `root`, a path or s3://; NotFound where it is none of them."""
    lake, archive = _stores(root)
    ledger = FileLedger(lake, archive)
    reader, seam, live, cache = Reader(lake, archive, ledger), Seam(ledger), NotStreamed(), Cache(None)
    bars = Bars(reader, seam, live, cache)
    return FileMarket(bars, Trades(reader, seam, live), Indicators(bars), Names(ledger), cache, ledger)


def _stores(root: str) -> tuple[Lake, Archive]:
    """The lake and the archive; one of them may have nothing."""
    if "://" in root:
        return Lake(Path("/dev/null")), _required(Archive(root.rstrip("/")))
    path = Path(root)
    if (path / "lake").is_dir() or (path / "archive").is_dir():
        return Lake(path / "lake"), Archive(str(path / "archive"))
    if (path / CLEANED_BARS.layer).is_dir() or (path / "raw").is_dir():
        return Lake(path), Archive(str(path / "archive"))
    if path.is_dir():
        return Lake(path), _required(Archive(str(path)))
    raise NotFound(f"no lake or archive is at {root}: name an MDP_HOME, a lake or an archive")


def _required(archive: Archive) -> Archive:
    """`archive`, if it has bars."""
    if archive.version(CLEANED_BARS.name) < 0:
        raise NotFound(f"no lake or archive is at {archive.root}: name an MDP_HOME, a lake or an archive")
    return archive
