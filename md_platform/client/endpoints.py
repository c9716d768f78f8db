"""Calls in, methods of the two clients out: `bars = Blocking(calls.bars)`, `bars = Awaiting(calls.bars)`.

A call's parameters are written once, and type checkers see them on both clients. Tables come as the client's frames,
so `MarketData[pd.DataFrame].bars(...)` is a pandas frame to them.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from functools import update_wrapper
from typing import Any, Generic, ParamSpec, Protocol, TypeVar

import polars as pl

from md_platform.client.asking import Pages, Steps
from md_platform.client.streams import LiveServer

P = ParamSpec("P")
T = TypeVar("T")
F = TypeVar("F")
W = TypeVar("W")
S = TypeVar("S")
F_co = TypeVar("F_co", covariant=True)


class Runs(Protocol[F_co]):
    """A client that blocks."""

    def run(self, steps: Steps[T]) -> T:
        """The answer of a call."""

    def shaped(self, frame: pl.DataFrame) -> F_co:
        """`frame` as the client's frames are."""

    def pages(self, pages: Pages) -> Iterator[F_co]:
        """Pieces of an answer."""


class Awaits(Protocol[F_co]):
    """A client that is awaited."""

    async def run(self, steps: Steps[T]) -> T:
        """The answer of a call."""

    def shaped(self, frame: pl.DataFrame) -> F_co:
        """`frame` as the client's frames are."""

    def pages(self, pages: Pages) -> AsyncIterator[F_co]:
        """Pieces of an answer."""


class Lives(Protocol):
    """A client that may have a gateway."""

    @property
    def live_server(self) -> LiveServer | None:
        """Where it is."""


class _Endpoint(Generic[P, T]):
    """A call as a method."""

    def __init__(self, call: Callable[P, T]) -> None:
        self._call = call
        self.__doc__ = call.__doc__

    def _as(self, method: Callable[P, Any]) -> Callable[P, Any]:
        return update_wrapper(method, self._call)


class Blocking(_Endpoint[P, Steps[T]]):
    """A call that gives a value."""

    def __get__(self, client: Runs[Any], owner: type) -> Callable[P, T]:
        return self._as(lambda *args, **kwargs: client.run(self._call(*args, **kwargs)))


class BlockingTable(_Endpoint[P, Steps[pl.DataFrame]]):
    """A call that gives a table."""

    def __get__(self, client: Runs[F], owner: type) -> Callable[P, F]:
        return self._as(lambda *args, **kwargs: client.shaped(client.run(self._call(*args, **kwargs))))


class BlockingPages(_Endpoint[P, Pages]):
    """A call that gives tables one after the other."""

    def __get__(self, client: Runs[F], owner: type) -> Callable[P, Iterator[F]]:
        return self._as(lambda *args, **kwargs: client.pages(self._call(*args, **kwargs)))


class Awaiting(_Endpoint[P, Steps[T]]):
    """A call that gives a value."""

    def __get__(self, client: Awaits[Any], owner: type) -> Callable[P, Awaitable[T]]:
        return self._as(lambda *args, **kwargs: client.run(self._call(*args, **kwargs)))


class AwaitingTable(_Endpoint[P, Steps[pl.DataFrame]]):
    """A call that gives a table."""

    def __get__(self, client: Awaits[F], owner: type) -> Callable[P, Awaitable[F]]:
        async def method(*args: P.args, **kwargs: P.kwargs) -> F:
            return client.shaped(await client.run(self._call(*args, **kwargs)))

        return self._as(method)


class AwaitingPages(_Endpoint[P, Pages]):
    """A call that gives tables one after the other."""

    def __get__(self, client: Awaits[F], owner: type) -> Callable[P, AsyncIterator[F]]:
        return self._as(lambda *args, **kwargs: client.pages(self._call(*args, **kwargs)))


class Opening(_Endpoint[P, W], Generic[P, W, S]):
    """A call that opens a stream."""

    def __init__(self, call: Callable[P, W], stream: Callable[[LiveServer | None, W], S]) -> None:
        super().__init__(call)
        self._stream = stream

    def __get__(self, client: Lives, owner: type) -> Callable[P, S]:
        return self._as(lambda *args, **kwargs: self._stream(client.live_server, self._call(*args, **kwargs)))
