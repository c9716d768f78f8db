"""Pages of a download under way, kept on disk so that a killed download goes on where it stopped.

One Parquet file a page, written whole (temporary file, rename), with the request for the next page in its metadata. The
folder is removed when the download is complete. What is complete belongs in the lake, not here.
"""

import contextlib
import errno
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec
import polars as pl

from md_platform.errors import StorageError, StorageFull, StorageReadOnly
from md_platform.venues.spec import Page, Request

_FOLLOWING = "following"
_SAFE = "-_.@:"
_REFUSALS = {
    errno.ENOSPC: StorageFull,
    errno.EDQUOT: StorageFull,
    errno.EACCES: StorageReadOnly,
    errno.EPERM: StorageReadOnly,
    errno.EROFS: StorageReadOnly,
}


@dataclass(frozen=True, slots=True)
class PageSpool:
    """The pages of one download in `folder`, numbered from 0."""

    folder: Path

    @classmethod
    def of(cls, root: Path, *parts: str) -> "PageSpool":
        """Spool in `root`/part/part/..., whatever characters the parts hold."""
        return cls(root.joinpath(*map(cls.safe, parts)))

    @staticmethod
    def safe(name: str) -> str:
        """`name` as one part of a path."""
        return "".join(c if c.isalnum() or c in _SAFE else "_" for c in name)

    def resumed(self, more: Callable[[Page | None], Iterator[Page]]) -> Iterator[Page]:
        """The pages already here, then those that `more` yields after the last one, each kept before it is given."""
        last: Page | None = None
        number = 0
        for page in self.pages():
            number, last = number + 1, page
            yield page
        if last is not None and last.following is None:
            return
        for page in more(last):
            self.add(number, page)
            number += 1
            yield page

    def pages(self) -> Iterator[Page]:
        """The pages already here, in order, up to the first that is missing or cannot be read."""
        for number in range(1_000_000):
            path = self._path(number)
            if not path.exists():
                return
            try:
                following = msgspec.json.decode(pl.read_parquet_metadata(path)[_FOLLOWING], type=Request | None)
                page = Page(pl.read_parquet(path), following)
            except (OSError, pl.exceptions.PolarsError, KeyError, msgspec.MsgspecError):
                return
            yield page

    def add(self, number: int, page: Page) -> None:
        """Keep `page` as the one with `number`; StorageError where the disk refuses."""
        path = self._path(number)
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            following = msgspec.json.encode(page.following).decode()
            page.frame.write_parquet(temporary, metadata={_FOLLOWING: following})
            temporary.replace(path)
        except OSError as error:
            kind = _REFUSALS.get(error.errno or 0, StorageError)
            raise kind(f"a downloaded page cannot be kept in {self.folder}: {error.strerror}") from error
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)

    def remove(self) -> None:
        """Remove the folder, and those above it that became empty."""
        shutil.rmtree(self.folder, ignore_errors=True)
        with contextlib.suppress(OSError):
            for parent in list(self.folder.parents)[:2]:
                parent.rmdir()

    def _path(self, number: int) -> Path:
        return self.folder / f"{number:06}.parquet"
