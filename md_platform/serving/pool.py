"""Connections for threads: at most so many at once, each for one thread at a time, opened anew after an error."""

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Generic, Protocol, TypeVar

from md_platform.errors import StorageUnavailable


class Closing(Protocol):
    """What a pool holds."""

    def close(self) -> None:
        """Let go of the connection."""


C = TypeVar("C", bound=Closing)
T = TypeVar("T")


class Pool(Generic[C]):
    """At most `size` connections, made by `connect` when they are first wanted.

    Who finds none free within `wait_s` gets StorageUnavailable: a slow store must not hold every thread.
    """

    def __init__(self, connect: Callable[[], C], size: int, wait_s: float = 5.0) -> None:
        self._connect = connect
        self._free = threading.BoundedSemaphore(size)
        self._wait_s = wait_s
        self._idle: list[C] = []

    @contextlib.contextmanager
    def borrowed(self) -> Iterator[C]:
        """A connection for the block. One whose block fails is closed, and so are those that idle."""
        if not self._free.acquire(timeout=self._wait_s):
            raise StorageUnavailable(f"all connections were busy for {self._wait_s:g} s: try again later")
        try:
            connection = self._idle.pop() if self._idle else self._connect()
            try:
                yield connection
            except BaseException:
                connection.close()
                self.close()
                raise
            self._idle.append(connection)
        finally:
            self._free.release()

    def close(self) -> None:
        """Close what idles; later calls open anew."""
        while self._idle:
            self._idle.pop().close()


def once_more(read: Callable[[], T]) -> T:
    """What `read` gives; tried again at once where the store broke off, as connections of before a restart do."""
    try:
        return read()
    except StorageUnavailable:
        return read()
