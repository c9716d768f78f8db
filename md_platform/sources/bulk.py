"""Binance's published files: an instrument and closed days in, rows of the daily or monthly files out.

They come from an http(s) address with the official tree, or from a folder that holds the tree or the files side by
side. Files bear klines in 1m and aggregated or single trades; times are in ms until 2024 and in us since, told by
magnitude.
"""

import datetime as dt
import io
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import unquote, urlsplit

import polars as pl

from md_platform.domain.instruments import Instrument
from md_platform.domain.intervals import Interval, Timeframe, epoch_unit
from md_platform.domain.schemas import RAW_BARS, RAW_TRADES
from md_platform.errors import InvalidFile, InvalidRange, NotServed, SourceRejected
from md_platform.sources.download import Downloader, checksum_in, sha256_of
from md_platform.sources.fetch import Meter, RetryPolicy, utc_now
from md_platform.sources.file_tables import zip_members
from md_platform.sources.rest import days_of, joined
from md_platform.sources.spool import PageSpool
from md_platform.venues import binance
from md_platform.venues.frames import whole
from md_platform.venues.spec import Query

Kind = Literal["klines", "aggTrades", "trades"]
Parser = Callable[[pl.DataFrame, str, Query], pl.DataFrame]

LAYOUTS: dict[Kind, tuple[tuple[str, ...], str, Parser]] = {
    "klines": (binance.KLINE_COLUMNS, "open_time", binance.kline_bars),
    "aggTrades": (binance.AGG_TRADE_COLUMNS, "time", binance.aggregated_trades),
    "trades": (binance.TRADE_COLUMNS, "time", binance.single_trades),
}
"""Columns of each kind of file, which of them is the time, and what reads them."""
KEPT = dt.timedelta(days=2)
"""How long a month's file serves the days of that month before it is fetched anew."""


@dataclass(frozen=True, slots=True)
class BulkFile:
    """One published file: where it is in the official tree."""

    kind: Kind
    native: str
    period: str

    @property
    def path(self) -> str:
        """Path below the root: `data/spot/daily/klines/BTCUSDT/1m/BTCUSDT-1m-2018-02-08.zip`."""
        span = "daily" if self.is_daily else "monthly"
        folder = f"{self.native}/1m" if self.kind == "klines" else self.native
        return f"data/spot/{span}/{self.kind}/{folder}/{self.name}"

    @property
    def is_daily(self) -> bool:
        """Whether it holds one day, not a month."""
        return len(self.period) == len("2018-02-08")

    @property
    def name(self) -> str:
        """File name alone."""
        return f"{self.native}-{'1m' if self.kind == 'klines' else self.kind}-{self.period}.zip"


class BulkSource:
    """Binance's files below `root`: an http(s) or file URL, or the path of a folder."""

    def __init__(
        self,
        name: str,
        root: str,
        cache: Path,
        *,
        clock: Callable[[], dt.datetime] = utc_now,
        retry: RetryPolicy | None = None,
    ) -> None:
        self.name = name
        self._root = root.rstrip("/")
        self._cache = cache
        self._clock = clock
        self._retry = retry or RetryPolicy()
        self._folder = folder_of(root)

    def instruments(self, _meter: Meter) -> list[Instrument]:
        """Files name symbols, not what they are made of: SourceRejected."""
        raise SourceRejected(f"{self.name} lists no instruments")

    def bars(self, instrument: Instrument, interval: Interval, meter: Meter) -> pl.DataFrame:
        """1m bars of the closed days in `interval`; NotServed where a day has no file."""
        frames = list(self._days(("klines",), instrument, interval, meter))
        return joined(frames, RAW_BARS, interval)

    def trades(self, instrument: Instrument, interval: Interval, meter: Meter) -> pl.DataFrame:
        """Trades of the closed days in `interval`: aggregated as REST gives them, single where only those are there."""
        frames = list(self._days(("aggTrades", "trades"), instrument, interval, meter))
        return joined(frames, RAW_TRADES, interval)

    def _days(
        self, kinds: Iterable[Kind], instrument: Instrument, interval: Interval, meter: Meter
    ) -> Iterator[pl.DataFrame]:
        """One frame a file. Binance names a symbol base and quote joined, so a file is found by either name."""
        native = instrument.native or instrument.base + instrument.quote
        downloaded: dict[Path, BulkFile] = {}
        for day in days_of(interval):
            found = self._find(native, kinds, day.start.date(), interval, meter)
            if found is None:
                raise NotServed(f"{self.name} has no file of {native} for {day.start:%Y-%m-%d}")
            file, path = found
            if path in downloaded:
                continue
            downloaded[path] = file
            try:
                yield read_bulk(path, file.kind, Query(instrument, interval, self.name, self._clock()))
            except InvalidFile:
                self._forget(path)
                raise
        for path, file in downloaded.items():
            if file.is_daily:
                self._forget(path)

    def _find(
        self, native: str, kinds: Iterable[Kind], day: dt.date, interval: Interval, meter: Meter
    ) -> tuple[BulkFile, Path] | None:
        """The day's file, or the month's; the month's first where all of it is wanted."""
        month = Timeframe.MONTH1.open_time(Interval.day(day).start)
        is_whole = interval.start <= month and Timeframe.MONTH1.close_time(month) <= interval.end
        periods = (f"{day:%Y-%m-%d}", f"{day:%Y-%m}")
        for kind in kinds:
            for period in reversed(periods) if is_whole else periods:
                file = BulkFile(kind, native, period)
                path = self._get(file, meter)
                if path is not None:
                    return file, path
        return None

    def _get(self, file: BulkFile, meter: Meter) -> Path | None:
        if self._folder is not None:
            return _local(self._folder, file)
        downloader = Downloader(self.name, self._root, self._retry)
        target = self._cache / PageSpool.safe(self.name) / file.name
        if target.exists() and target.stat().st_mtime < self._clock().timestamp() - KEPT.total_seconds():
            target.unlink()
        for path in (file.path, file.name):
            found = downloader.verified(path, target, meter)
            if found is not None:
                return found
        return None

    def _forget(self, path: Path) -> None:
        if self._folder is None:
            path.unlink(missing_ok=True)


def folder_of(root: str) -> Path | None:
    """The folder that `root` names, as a path or file URL; None for an http(s) address."""
    url = urlsplit(root)
    if url.scheme in {"http", "https"}:
        return None
    return Path(unquote(url.path)) if url.scheme == "file" else Path(root)


def _local(folder: Path, file: BulkFile) -> Path | None:
    """The file in the tree or beside others, its checksum verified where it is there too."""
    for path in (folder / file.path, folder / file.path.removeprefix("data/"), folder / file.name):
        if path.is_file():
            checksum = path.with_name(path.name + ".CHECKSUM")
            if checksum.is_file():
                expected, actual = checksum_in(checksum.read_bytes(), checksum.name), sha256_of(path)
                if expected != actual:
                    raise InvalidFile(f"{path} has SHA-256 {actual}, its CHECKSUM file says {expected}")
            return path
    return None


def read_bulk(path: Path, kind: Kind, query: Query) -> pl.DataFrame:
    """Rows of one file; InvalidFile where it is not whole, or not a file of its kind."""
    columns, time, parse = LAYOUTS[kind]
    frames = [_rows(name, content, columns) for name, content in zip_members(str(path), path.read_bytes())]
    rows = pl.concat(frames)
    return parse(rows, _unit(path, rows, time), query)


def _rows(name: str, content: bytes, columns: tuple[str, ...]) -> pl.DataFrame:
    """Text columns; newer files begin with a header."""
    try:
        frame = pl.read_csv(io.BytesIO(content), has_header=False, infer_schema=False, truncate_ragged_lines=True)
    except pl.exceptions.PolarsError as error:
        raise InvalidFile(f"{name} cannot be read as csv: {str(error).splitlines()[0]}") from None
    if frame.width != len(columns):
        raise InvalidFile(f"{name} must have {len(columns)} columns ({' '.join(columns)}), has {frame.width}")
    frame = frame.rename(dict(zip(frame.columns, columns, strict=True)))
    return frame.slice(1) if _is_header(frame.row(0)) else frame


def _is_header(cells: tuple[str | None, ...]) -> bool:
    """Whether every cell is a name, such as open_time."""
    return all(cell is not None and re.fullmatch(r"[A-Za-z][A-Za-z_ ]*", cell.strip()) for cell in cells)


def _unit(path: Path, rows: pl.DataFrame, time: str) -> str:
    """The unit of every time in the file; InvalidFile where it holds more than one, or none."""
    times = rows.select(whole(time)).to_series().drop_nulls()
    bounds = (times.min(), times.max())
    try:
        units = {epoch_unit(bound) for bound in bounds if isinstance(bound, int)}
    except InvalidRange as error:
        raise InvalidFile(f"{path}: {error}") from None
    if len(units) != 1:
        raise InvalidFile(f"{path} must hold times of one unit, has {' and '.join(sorted(units)) or 'none'}")
    return units.pop()
