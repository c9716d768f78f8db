"""Export jobs: datasets of instruments in, files in a folder of the job out, whole or not at all, for some days.

A file is what `mdp export` writes. A job whose process was killed goes on with the first instrument that is not whole.
"""

import datetime as dt
import shutil
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import polars as pl

from md_platform.catalog.exporting import Form, columns_of, open_output, parts
from md_platform.catalog.reading import Chunk, Reader, Selection
from md_platform.domain.intervals import Interval, Timeframe
from md_platform.domain.schemas import dataset_named
from md_platform.errors import NotFound, TooManyRequests
from md_platform.jobs.queue import Job, Jobs
from md_platform.jobs.worker import Cancelled, Task
from md_platform.storage.lake import sha256_of, storage_errors

Pack = Literal["zip", "files"]

KEPT_FOR_S = 7 * 86_400.0
"""How long finished files are kept."""

_ENDINGS: dict[Form, str] = {"csv": "csv", "json": "ndjson", "parquet": "parquet", "arrow": "arrows"}
_UNFINISHED_AT_MOST = 10


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to be exported: rows of `dataset` for each of `instruments` in `interval`; `pack` is about several."""

    dataset: str
    instruments: tuple[str, ...]
    interval: Interval
    timeframe: str | None = None
    columns: tuple[str, ...] | None = None
    form: Form = "csv"
    pack: Pack = "zip"

    def selections(self) -> Iterator[Selection]:
        """What is to be read, instrument by instrument; UserError where there is no such thing."""
        dataset = dataset_named(self.dataset)
        length = Timeframe.parse(self.timeframe) if self.timeframe else None
        for instrument in self.instruments:
            selection = Selection(dataset, instrument, self.interval, length)
            columns_of(selection, self.columns)
            yield selection

    def name(self, instrument: str) -> str:
        """Name of the file of `instrument`."""
        words = [self.dataset, instrument.replace(":", "_"), *([self.timeframe] if self.timeframe else [])]
        return f"{'-'.join(words)}.{_ENDINGS[self.form]}"

    @property
    def archive_name(self) -> str | None:
        """Name of the zip that holds all files, None where each stands for itself."""
        return f"{self.dataset}.zip" if self.pack == "zip" and len(self.instruments) > 1 else None

    def request(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "dataset": self.dataset,
            "instruments": list(self.instruments),
            "start": self.interval.start.isoformat(),
            "end": self.interval.end.isoformat(),
            "timeframe": self.timeframe,
            "columns": None if self.columns is None else list(self.columns),
            "format": self.form,
            "pack": self.pack,
        }

    @classmethod
    def of(cls, request: Mapping[str, Any]) -> "Wish":
        """From JSON that `request` gave."""
        start, end = (dt.datetime.fromisoformat(request[name]) for name in ("start", "end"))
        columns = None if request["columns"] is None else tuple(request["columns"])
        return cls(
            request["dataset"],
            tuple(request["instruments"]),
            Interval(start, end),
            request["timeframe"],
            columns,
            request["format"],
            request["pack"],
        )


def frames(
    reader: Reader, selection: Selection, chunks: Sequence[Chunk], columns: Sequence[str]
) -> Iterator[pl.DataFrame]:
    """Rows to export, a frame for each chunk."""
    return (frame.select(columns) for frame in reader.frames(selection, chunks))


class Exports:
    """Export jobs whose files are below `folder`."""

    def __init__(self, jobs: Jobs, reader: Reader, folder: Path) -> None:
        self._jobs = jobs
        self._reader = reader
        self._folder = folder

    def start(self, wish: Wish, owner: str) -> Job:
        """A job for `wish`; UserError where there is no such thing, TooManyRequests where many wait already."""
        list(wish.selections())
        if len(self._jobs.unfinished("export", owner)) >= _UNFINISHED_AT_MOST:
            raise TooManyRequests(f"{_UNFINISHED_AT_MOST} exports of yours wait already: wait for them", 30)
        return self._jobs.add("export", owner, wish.request())

    def do(self, task: Task) -> None:
        """Carry out a job."""
        wish, folder = Wish.of(task.job.request), self._folder / task.job.id
        try:
            with storage_errors(folder):
                folder.mkdir(parents=True, exist_ok=True)
                for left in folder.glob(".*.tmp"):
                    left.unlink()  # of a process that was killed
            self._write(task, wish, folder)
        except Cancelled:
            shutil.rmtree(folder, ignore_errors=True)
            raise

    def _write(self, task: Task, wish: Wish, folder: Path) -> None:
        files: dict[str, dict[str, Any]] = {each["name"]: each for each in task.job.detail.get("files", [])}
        planned = [(selection, self._reader.chunks(selection)) for selection in wish.selections()]
        total, done = sum(len(chunks) for _, chunks in planned), 0
        archive = wish.archive_name
        for selection, chunks in planned:
            name = wish.name(selection.instrument)
            if not (name in files and ((folder / name).exists() or (folder / str(archive)).exists())):
                rows = 0
                columns = columns_of(selection, wish.columns)
                with open_output(folder / name) as stream:
                    for n, part in enumerate(parts(frames(self._reader, selection, chunks, columns), wish.form), 1):
                        stream.write(part.content)
                        rows += part.rows
                        task.report(done + min(n, len(chunks)), total, {"files": list(files.values())})
                files[name] = _facts(folder / name, rows)
            done += len(chunks)
            task.report(done, total, {"files": list(files.values())})
        if archive is not None and archive not in files:
            _zip(task, folder, archive, list(files))
            rows = sum(each["rows"] for each in files.values())
            packed = {"files": [_facts(folder / archive, rows)], "packed": list(files.values())}
            task.report(total, total, packed)
            for name in files:
                (folder / name).unlink(missing_ok=True)

    def file(self, job: Job, name: str) -> Path:
        """A finished file of `job`; NotFound where there is none, or none any more."""
        names = [each["name"] for each in job.detail.get("files", [])]
        path = self._folder / job.id / name
        if job.state != "done" or name not in names or not path.is_file():
            raise NotFound(f"export {job.id} has no file {name!r}: it is {job.state}")
        return path

    def remove(self, job: Job) -> None:
        """Remove the files of `job`."""
        shutil.rmtree(self._folder / job.id, ignore_errors=True)

    def tidy(self) -> None:
        """Remove the files of jobs whose time has come."""
        for job in self._jobs.expire("export"):
            self.remove(job)


def _zip(task: Task, folder: Path, archive: str, names: Sequence[str]) -> None:
    with open_output(folder / archive) as stream, zipfile.ZipFile(stream, "w", compresslevel=1) as packed:
        for name in names:
            task.check()
            is_text = name.endswith((_ENDINGS["csv"], _ENDINGS["json"]))
            packed.write(folder / name, name, zipfile.ZIP_DEFLATED if is_text else zipfile.ZIP_STORED)


def _facts(path: Path, rows: int) -> dict[str, Any]:
    return {"name": path.name, "rows": rows, "bytes": path.stat().st_size, "sha256": sha256_of(path)}
