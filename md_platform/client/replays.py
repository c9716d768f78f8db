"""Streams of a replay: those of `streams`, with the controls of a player."""

from md_platform.client.asking import When
from md_platform.client.replaying import Replaying
from md_platform.client.streams import AsyncStream, LiveServer, Stream


class ReplayStream(Stream):
    """A replay. Its controls may be used from the loop over it, or from another thread."""

    def __init__(self, server: LiveServer | None, replaying: Replaying) -> None:
        super().__init__(server, replaying)
        self._replaying = replaying

    def pause(self) -> None:
        """Hold it. What is on its way still comes."""
        self._ask(self._replaying.paused())

    def resume(self) -> None:
        """Go on."""
        self._ask(self._replaying.resumed())

    def seek(self, to: When) -> None:
        """Go on from `to`, earlier or later in its range."""
        self._ask(self._replaying.sought(to))

    def speed(self, speed: float | None) -> None:
        """Go on at another speed, None as fast as it is read."""
        self._ask(self._replaying.sped(speed))

    def _ask(self, request: bytes) -> None:
        if self._connection is not None:
            self._connection.send(request, text=True)


class AsyncReplayStream(AsyncStream):
    """The same, awaited."""

    def __init__(self, server: LiveServer | None, replaying: Replaying) -> None:
        super().__init__(server, replaying)
        self._replaying = replaying

    async def pause(self) -> None:
        """Hold it. What is on its way still comes."""
        await self._ask(self._replaying.paused())

    async def resume(self) -> None:
        """Go on."""
        await self._ask(self._replaying.resumed())

    async def seek(self, to: When) -> None:
        """Go on from `to`, earlier or later in its range."""
        await self._ask(self._replaying.sought(to))

    async def speed(self, speed: float | None) -> None:
        """Go on at another speed, None as fast as it is read."""
        await self._ask(self._replaying.sped(speed))

    async def _ask(self, request: bytes) -> None:
        if self._connection is not None:
            await self._connection.send(request, text=True)
