"""MDP_HOME on disk: folders, generated credentials (0600), remembered facts, the lock of the process that owns it."""

import contextlib
import fcntl
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from md_platform.errors import AlreadyRunning, ServiceError, StorageFull
from md_platform.storage.lake import storage_errors

LEAST_FREE_BYTES = 500 * 2**20


@dataclass(frozen=True, slots=True)
class Home:
    """State of everything embedded, under `path` (absolute)."""

    path: Path

    @classmethod
    def at(cls, path: Path) -> "Home":
        """The home at `path`, which need not exist yet."""
        return cls(path.expanduser().resolve())

    @property
    def logs(self) -> Path:
        """One file per child."""
        return self.path / "logs"

    @property
    def run(self) -> Path:
        """One record per running child, by which the next start finds what a killed one left."""
        return self.path / "run"

    @property
    def dagster(self) -> Path:
        """DAGSTER_HOME."""
        return self.path / "dagster"

    @property
    def stream(self) -> Path:
        """The live process's spool and what else it keeps."""
        return self.path / "stream"

    def prepare(self) -> None:
        """Make the folders; StorageReadOnly or StorageFull where the disk refuses or is nearly full."""
        with storage_errors(self.path):
            for folder in (self.path, self.logs, self.run, self.dagster):
                folder.mkdir(parents=True, exist_ok=True)
        if (free := shutil.disk_usage(self.path).free) < LEAST_FREE_BYTES:
            raise StorageFull(
                f"{free // 2**20} MB free for {self.path}, {LEAST_FREE_BYTES // 2**20} MB are the least to start with: "
                "free some disk or point MDP_HOME elsewhere"
            )

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Own this home until the block ends; AlreadyRunning names the process that does; a dead one holds nothing."""
        with storage_errors(self.path):
            descriptor = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                owner = os.pread(descriptor, 32, 0).decode().strip() or "unknown"
                raise AlreadyRunning(
                    f"process {owner} already runs the platform in {self.path}: "
                    "stop it with Ctrl-C or `kill`, or set MDP_HOME to another folder"
                ) from None
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
            yield
            os.ftruncate(descriptor, 0)
        finally:
            os.close(descriptor)

    def owner(self) -> int | None:
        """Process that holds the lock, or None."""
        try:
            descriptor = os.open(self.path / "lock", os.O_RDONLY)
        except OSError:
            return None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            text = os.pread(descriptor, 32, 0).decode().strip()
            return int(text) if text.isdigit() else None
        finally:
            os.close(descriptor)
        return None

    def secret(self, name: str, *, create: bool = True) -> str | None:
        """The generated credential `name`; made on first use unless `create` is false."""
        known = self._read("secrets.json")
        if name not in known:
            if not create:
                return None
            known[name] = secrets.token_urlsafe(24)
            self._write("secrets.json", known)
        return str(known[name])

    def recall(self, name: str) -> Any:  # noqa: ANN401 - whatever JSON holds
        """What `remember` stored under `name`, or None."""
        return self._read("state.json").get(name)

    def remember(self, name: str, value: object) -> None:
        """Store a fact (a port, a folder) across starts; None forgets it."""
        state = self._read("state.json")
        if state.get(name) != value:
            state[name] = value
            self._write("state.json", {k: v for k, v in state.items() if v is not None})

    def _read(self, file: str) -> dict[str, Any]:
        try:
            return dict(json.loads((self.path / file).read_text()))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            raise ServiceError(
                f"{self.path / file} cannot be read ({error}): restore it, or move {self.path} away to start afresh"
            ) from None

    def _write(self, file: str, content: dict[str, Any]) -> None:
        temporary = self.path / f".{file}.tmp"
        with storage_errors(self.path):
            temporary.unlink(missing_ok=True)
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w") as stream:
                json.dump(content, stream, indent=1)
                stream.flush()
                os.fsync(stream.fileno())
            temporary.replace(self.path / file)
