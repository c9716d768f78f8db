"""Files and folders in, tables of text or typed columns out: compression, format, delimiter, header. No meaning here.

InvalidFile, naming the file and what is wrong with it, where one cannot be read.
"""

import codecs
import gzip
import io
import re
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec
import polars as pl

from md_platform.errors import InvalidFile
from md_platform.venues.frames import texts

DELIMITERS = (",", ";", "\t", "|")
_FORMATS = {
    ".csv": "csv",
    ".tsv": "csv",
    ".txt": "csv",
    ".json": "json",
    ".jsonl": "json",
    ".ndjson": "json",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".feather": "feather",
    ".arrow": "feather",
    ".ipc": "feather",
}
_PACKED = {".zip", ".gz"}
_LARGEST_MEMBER = 4 << 30
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_DATE = re.compile(r"\d{4}[-/]?\d{2}[-/]?\d{2}")
_SNIFFED_LINES = 20


@dataclass(frozen=True, slots=True)
class Table:
    """One file's rows. `has_header` is false where columns are called column_0, column_1, ... by position."""

    name: str
    format: str
    frame: pl.DataFrame
    has_header: bool = True
    delimiter: str | None = None


def files_in(path: Path) -> list[Path]:
    """`path` itself, or the files below it that can be imported, in name order; InvalidFile where there is none."""
    if not path.exists():
        raise InvalidFile(f"{path} does not exist")
    if path.is_file():
        return [path]
    found = sorted(p for p in path.rglob("*") if p.is_file() and _is_known(p.name))
    if not found:
        raise InvalidFile(f"{path} holds no file to import ({' '.join((*_FORMATS, *_PACKED))})")
    return found


def tables_of(path: Path) -> Iterator[Table]:
    """The tables of one file: one, or one for each member of a zip archive."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InvalidFile(f"{path} cannot be read: {error.strerror}") from error
    yield from _unpacked(path.name, content)


def _is_known(name: str) -> bool:
    return not name.startswith(".") and Path(name).suffix.lower() in {*_FORMATS, *_PACKED}


def _unpacked(name: str, content: bytes) -> Iterator[Table]:
    suffix = Path(name).suffix.lower()
    if suffix == ".zip":
        for member, unzipped in zip_members(name, content):
            yield from _unpacked(member, unzipped)
    elif suffix == ".gz":
        try:
            yield from _unpacked(Path(name).stem, gzip.decompress(content))
        except (OSError, EOFError, zlib.error) as error:
            raise InvalidFile(f"{name} is not a whole gzip file ({error}): fetch it again") from None
    elif suffix in _FORMATS:
        yield _table(name, _FORMATS[suffix], content)
    else:
        raise InvalidFile(f"{name} must end in one of {' '.join((*_FORMATS, *_PACKED))}")


def zip_members(name: str, content: bytes) -> Iterator[tuple[str, bytes]]:
    """Names and contents of the files in a zip archive; InvalidFile where it is corrupt, encrypted or empty."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = [m for m in archive.infolist() if not m.is_dir() and not m.filename.startswith("__MACOSX")]
            if not members:
                raise InvalidFile(f"{name} is an empty zip archive")
            for member in members:
                if member.file_size > _LARGEST_MEMBER:
                    raise InvalidFile(f"{member.filename} in {name} is {member.file_size} bytes: import it unpacked")
                yield member.filename, archive.read(member)
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError) as error:
        raise InvalidFile(f"{name} is not a whole zip archive ({error}): fetch it again") from None


def _table(name: str, kind: str, content: bytes) -> Table:
    content = content.removeprefix(codecs.BOM_UTF8)
    if not content.strip():
        raise InvalidFile(f"{name} is empty")
    try:
        match kind:
            case "csv":
                return _csv(name, content)
            case "json":
                return _json(name, content)
            case "parquet":
                return Table(name, kind, pl.read_parquet(io.BytesIO(content)))
            case _:
                return Table(name, kind, pl.read_ipc(io.BytesIO(content)))
    except (pl.exceptions.PolarsError, msgspec.DecodeError, UnicodeError, OSError, RecursionError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InvalidFile(f"{name} cannot be read as {kind}: {reason}") from None


def _csv(name: str, content: bytes) -> Table:
    lines = content[: 1 << 16].decode(errors="replace").splitlines()
    head = [line for line in lines if line.strip()][:_SNIFFED_LINES]
    if not head or "\x00" in head[0]:
        raise InvalidFile(f"{name} cannot be read as csv: it holds binary data")
    delimiter = max(DELIMITERS, key=lambda candidate: (_columns(head, candidate), -DELIMITERS.index(candidate)))
    has_header = not any(_is_value(cell) for cell in head[0].split(delimiter))
    frame = pl.read_csv(
        io.BytesIO(content),
        separator=delimiter,
        has_header=has_header,
        infer_schema=False,
        truncate_ragged_lines=True,
        encoding="utf8-lossy",
    )
    frame = frame.filter(~pl.all_horizontal(pl.all().is_null()))
    if delimiter == ";":
        frame = frame.with_columns(pl.all().str.replace(r"^\s*([+-]?\d+),(\d+)\s*$", "$1.$2"))
    return Table(name, "csv", frame, has_header, delimiter)


def _columns(lines: list[str], delimiter: str) -> int:
    """How many columns every one of the lines has, at least."""
    return min(line.count(delimiter) for line in lines)


def _is_value(cell: str) -> bool:
    cell = cell.strip().strip('"')
    return _NUMBER.fullmatch(cell) is not None or _DATE.match(cell) is not None


def _json(name: str, content: bytes) -> Table:
    try:
        value = msgspec.json.decode(content)
    except msgspec.DecodeError:
        value = msgspec.json.Decoder().decode_lines(content)
    if isinstance(value, dict):
        lists = [part for part in value.values() if isinstance(part, list)]
        value = lists[0] if len(lists) == 1 else value
    if isinstance(value, list) and value and all(isinstance(row, list) for row in value):
        width = max(map(len, value))
        padded = [row + [None] * (width - len(row)) for row in value]
        columns = {f"column_{n}": cells for n, cells in enumerate(zip(*padded, strict=True))}
        return Table(name, "json", texts(columns), has_header=False)
    if isinstance(value, list) and value and all(isinstance(row, dict) for row in value):
        keys = dict.fromkeys(key for row in value for key in row)
        return Table(name, "json", texts({key: [row.get(key) for row in value] for key in keys}))
    raise InvalidFile(f"{name} must hold a list of rows (arrays or objects), was {content[:80]!r}")
