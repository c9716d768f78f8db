"""The Parquet layers: frames in, one file per instrument and period at a deterministic path, frames out.

Files are written whole (temporary file, rename) and never found by globbing, save the sources of one raw day. `settle`
makes all of them survive a power cut; call it before anything says that they are there.
"""

import contextlib
import datetime as dt
import errno
import hashlib
import io
import os
import platform
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import polars as pl
from pyarrow import parquet

from md_platform.domain.schemas import Dataset
from md_platform.errors import StorageError, StorageFull, StorageReadOnly

_NODE = platform.node()
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_DENIED = {errno.EACCES, errno.EPERM, errno.EROFS}


@dataclass(frozen=True, slots=True)
class Written:
    """One file as it now stands. `changed` is false where the same bytes were already there and nothing was written."""

    path: Path
    rows: int
    bytes: int
    sha256: str
    changed: bool


@contextlib.contextmanager
def storage_errors(path: Path | str) -> Iterator[None]:
    """Turn the operating system's refusals under `path` into StorageFull and StorageReadOnly."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise StorageFull(f"no space left for {path}: free some disk or point MDP_HOME elsewhere") from error
        if error.errno in _DENIED:
            raise StorageReadOnly(
                f"{path} cannot be written ({error.strerror}): mend its permissions or mount"
            ) from error
        raise


@dataclass(frozen=True, slots=True)
class Lake:
    """Parquet layers under `root`."""

    root: Path

    def path(self, dataset: Dataset, instrument: str, date: dt.date, source: str | None = None) -> Path:
        """Where the file of `instrument` and the period that starts on `date` is; raw datasets need their `source`."""
        folder = self.root / dataset.layer / dataset.folder
        if dataset.by_source:
            folder /= f"source={source}"
        return folder / f"symbol={instrument}" / f"date={date}" / "part.parquet"

    def sources(self, dataset: Dataset, instrument: str, date: dt.date) -> list[str]:
        """Sources of a raw dataset that hold `instrument` on `date`, in name order."""
        folder = self.root / dataset.layer / dataset.folder
        with contextlib.suppress(FileNotFoundError):
            names = sorted(entry.name.removeprefix("source=") for entry in folder.iterdir())
            return [name for name in names if self.path(dataset, instrument, date, name).exists()]
        return []

    def instruments(self, dataset: Dataset) -> list[str]:
        """Instruments of which `dataset` has files, in name order; it is one without sources."""
        with contextlib.suppress(FileNotFoundError):
            names = [entry.name for entry in (self.root / dataset.layer / dataset.folder).iterdir()]
            return sorted(name.removeprefix("symbol=") for name in names if name.startswith("symbol="))
        return []

    def written_ns(self, dataset: Dataset, instrument: str, date: dt.date) -> int | None:
        """When the file of that period was written, ns since the epoch; None where there is none."""
        try:
            return self.path(dataset, instrument, date).stat().st_mtime_ns
        except FileNotFoundError:
            return None

    def write(self, path: Path, frame: pl.DataFrame) -> Written:
        """Write `frame` whole or not at all; StorageFull or StorageReadOnly where the disk refuses.

        The same frame always gives the same bytes, and bytes already there are not written again.
        """
        buffer = io.BytesIO()
        # a day by pyarrow with LZ4 takes 0.4 ms, by polars with ZSTD 1.0: these layers are for speed
        strings = [name for name, dtype in frame.schema.items() if dtype == pl.String]
        parquet.write_table(frame.to_arrow(), buffer, compression="lz4", use_dictionary=strings, write_statistics=False)
        content = buffer.getbuffer()
        digest = hashlib.sha256(content).hexdigest()
        with storage_errors(path):
            if path.exists() and path.stat().st_size == len(content) and path.read_bytes() == content:
                return Written(path, frame.height, len(content), digest, changed=False)
            path.parent.mkdir(parents=True, exist_ok=True)
            _remove_abandoned(path)
            temporary = path.with_name(f".{path.name}.{_NODE}.{os.getpid()}.tmp")
            try:
                temporary.write_bytes(content)
                temporary.replace(path)
            finally:
                temporary.unlink(missing_ok=True)
        return Written(path, frame.height, len(content), digest, changed=True)

    @staticmethod
    def settle() -> None:
        """Wait until everything written so far is on the disk: one call for many files, as a sync each costs more."""
        os.sync()

    def remove(self, path: Path) -> None:
        """Remove a file that no longer has a reason to exist (a quarantine that emptied)."""
        with storage_errors(path):
            path.unlink(missing_ok=True)

    def read(self, paths: Iterable[Path], columns: list[str] | None = None) -> pl.DataFrame | None:
        """The files of `paths` that exist, concatenated in order; None where none does.

        Each file is read whole at one moment, as polars by path would open it twice and could meet two versions of it.
        StorageError names the file that is broken.
        """
        contents: dict[Path, bytes] = {}
        for path in paths:
            with contextlib.suppress(FileNotFoundError):
                contents[path] = path.read_bytes()
        if not contents:
            return None
        try:
            return pl.read_parquet(list(contents.values()), columns=columns)
        except pl.exceptions.PolarsError as error:
            broken = [path for path, content in contents.items() if not _is_readable(content, columns)]
            reason = str(error).partition("\n")[0]
            raise StorageError(
                f"{broken[0]} cannot be read ({reason}): make that partition again"
                if broken
                else f"{next(iter(contents)).parent} and the files after it are no one table: {reason}"
            ) from None


def _is_readable(content: bytes, columns: list[str] | None) -> bool:
    try:
        pl.read_parquet(content, columns=columns)
    except pl.exceptions.PolarsError:
        return False
    return True


def _remove_abandoned(path: Path) -> None:
    """Remove what a process of this machine had begun to write to `path` when it was killed."""
    for temporary in path.parent.glob(f".{path.name}.{_NODE}.*.tmp"):
        try:
            os.kill(int(temporary.suffixes[-2].removeprefix(".")), 0)
        except ProcessLookupError:
            temporary.unlink(missing_ok=True)
        except PermissionError:
            continue  # it lives, under another user


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, as `sha256sum` prints it."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
