"""A file system of its own, small and in memory, that can be filled to the last byte; only root may mount one."""

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

MAY_MOUNT = os.geteuid() == 0


@contextlib.contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[Path]:
    """`folder`, which is made, on a disk of its own of so many megabytes."""
    folder.mkdir(parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=0755", "tmpfs"]
    subprocess.run([*mount, str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@contextlib.contextmanager
def filled(folder: Path) -> Iterator[None]:
    """Nothing is left on the disk of `folder` for the time of the block, as far as it has not been freed meanwhile."""
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(bytes(4_096)):
            pass
    try:
        yield
    finally:
        ballast.unlink()
