"""A URL in, the file on disk out: resumed after a break (.part and Range), verified by its checksum, None if absent."""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

import httpx

from md_platform.errors import InvalidFile, SourceError, SourceUnavailable
from md_platform.sources.fetch import USER_AGENT, Meter, RetryPolicy, transport_errors
from md_platform.venues.spec import error_of_status

_ABSENT = {403, 404, 410}  # object stores answer 403 for a file that is not there
_RANGE_PAST_END = 416
_PARTIAL = 206
_SHA256 = re.compile(rb"\b([0-9a-fA-F]{64})\b")


@dataclass(frozen=True, slots=True)
class Downloader:
    """Files below `url`, with the retries of `retry`. `name` is who serves them, for messages."""

    name: str
    url: str
    retry: RetryPolicy

    def fetch(self, path: str, target: Path, meter: Meter) -> Path | None:
        """`target`, holding the file at `path`; None where there is no such file. SourceError otherwise."""
        if target.exists():
            return target
        part = target.with_name(target.name + ".part")
        part.parent.mkdir(parents=True, exist_ok=True)
        with self._client() as client:
            found = self.retry.run(lambda: self._into(part, client, path, meter))
        if not found:
            return None
        part.replace(target)
        return target

    def verified(self, path: str, target: Path, meter: Meter) -> Path | None:
        """As `fetch`, compared with the SHA-256 in `path`.CHECKSUM where that exists.

        A file that differs is fetched once more; InvalidFile, and nothing left on disk, where it differs again.
        """
        for _ in range(2):
            found = self.fetch(path, target, meter)
            if found is None:
                return None
            expected, actual = self._checksum(path, meter), sha256_of(found)
            if expected is None or expected == actual:
                return found
            found.unlink()
        raise InvalidFile(f"{self.url}/{path} has SHA-256 {actual}, its CHECKSUM file says {expected}")

    def _checksum(self, path: str, meter: Meter) -> str | None:
        def ask() -> bytes | None:
            meter.requests += 1
            with transport_errors(self.name, self.url):
                answer = client.get(f"{self.url}/{path}.CHECKSUM")
            meter.bytes += answer.num_bytes_downloaded
            if answer.status_code in _ABSENT:
                return None
            if not answer.is_success:
                raise self._error(answer, path)
            return answer.content

        with self._client() as client:
            content = self.retry.run(ask)
        return None if content is None else checksum_in(content, f"{path}.CHECKSUM")

    def _into(self, part: Path, client: httpx.Client, path: str, meter: Meter) -> bool:
        """Append what is missing to `part`; False where there is no such file."""
        have = part.stat().st_size if part.exists() else 0
        headers = {"Range": f"bytes={have}-"} if have else {}
        meter.requests += 1
        with (
            transport_errors(self.name, self.url),
            client.stream("GET", f"{self.url}/{path}", headers=headers) as answer,
        ):
            if answer.status_code in _ABSENT:
                return False
            if answer.status_code == _RANGE_PAST_END and have:
                part.unlink()
                raise SourceUnavailable(f"{self.name} has less of {path} than was fetched before: starting again")
            if not answer.is_success:
                raise self._error(answer, path)
            try:
                with part.open("ab" if answer.status_code == _PARTIAL else "wb") as file:
                    for chunk in answer.iter_raw():
                        file.write(chunk)
            finally:
                meter.bytes += answer.num_bytes_downloaded
        return True

    def _client(self) -> httpx.Client:
        return httpx.Client(
            timeout=httpx.Timeout(self.retry.read_timeout_s, connect=self.retry.connect_timeout_s),
            headers={"User-Agent": USER_AGENT, "Accept-Encoding": "identity"},
            follow_redirects=True,
        )

    def _error(self, answer: httpx.Response, path: str) -> SourceError:
        return error_of_status(self.name, answer.status_code, dict(answer.headers), path)


def checksum_in(content: bytes, name: str) -> str:
    """The SHA-256 in a CHECKSUM file, as `sha256sum` writes it; InvalidFile where there is none."""
    match = _SHA256.search(content)
    if match is None:
        raise InvalidFile(f"{name} must hold a SHA-256, was {content[:80]!r}")
    return match[1].decode().lower()


def sha256_of(path: Path) -> str:
    """SHA-256 of a file in lower-case hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
