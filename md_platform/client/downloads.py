"""Files of a finished export in, the same on this machine's disk out: resumed where they broke off, checked, whole."""

import hashlib
from pathlib import Path

import httpx
import stamina

from md_platform.client.asking import Request
from md_platform.client.jobs import Export, ExportFile
from md_platform.client.problems import error_of
from md_platform.client.server import Server, pause_s, reached
from md_platform.errors import PlatformUnavailable


class Corrupt(PlatformUnavailable):
    """What came is not what the platform wrote: it is fetched anew."""


def downloaded(server: Server, export: Export, folder: str | Path) -> list[Path]:
    """The files of `export` in `folder`; one that is there already is not fetched again."""
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    with httpx.Client(base_url=server.url, headers=server.headers, timeout=server.timeout_s) as client:
        return [_file(client, server, export.id, file, target / file.name) for file in export.files]


def _file(client: httpx.Client, server: Server, id_: str, file: ExportFile, target: Path) -> Path:
    if target.exists() and _sha256(target) == file.sha256:
        return target
    request = Request("exports", id_, f"files/{file.name}")
    part = target.with_name(f"{target.name}.part")
    for attempt in stamina.retry_context(lambda error: pause_s(request, error), server.attempts, timeout=None):
        with attempt, reached(server.url):
            _fetch(client, request.path, part, file.bytes)
            if _sha256(part) != file.sha256:
                part.unlink()
                raise Corrupt(f"{file.name} is not what {server.url} wrote")
    return part.replace(target)


def _fetch(client: httpx.Client, path: str, part: Path, size: int) -> None:
    """Append to `part` what it lacks of `size` bytes."""
    with part.open("ab") as file:
        had = file.tell()
        if had == size:
            return
        headers = {"range": f"bytes={had}-", "accept-encoding": "identity"}
        with client.stream("GET", path, headers=headers) as response:
            if not response.is_success:
                raise error_of(response.status_code, response.read(), response.headers)
            if response.status_code != httpx.codes.PARTIAL_CONTENT:
                file.truncate(0)
            for chunk in response.iter_raw():
                file.write(chunk)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
