"""What one client subscribes to: requests in, its channels joined and left; their past first, without a seam."""

import asyncio
import time
from collections.abc import Hashable

import structlog
from redis.exceptions import RedisError

from md_platform.access.principal import Principal, Tier
from md_platform.domain.intervals import epoch_to_ns, parse_time
from md_platform.domain.wire import encode, opened
from md_platform.errors import InvalidParameter, StorageUnavailable, TooLarge
from md_platform.gateway.channel import NOTICE, Channel, Joining
from md_platform.gateway.frames import Frame, View, require_fields
from md_platform.gateway.hub import Hub
from md_platform.gateway.messages import AnyRequest, Gap, Moment, Subscribe, Subscribed, Unsubscribe, Unsubscribed
from md_platform.gateway.names import EVENTS_OF, channels, instrument_of
from md_platform.gateway.outlet import Outlet
from md_platform.gateway.past import EVENTS_AT_MOST, History, Past, key_of
from md_platform.gateway.tail import Entry

log = structlog.get_logger(__name__)

_READY_WITHIN_S = 10.0
_EVENTS_A_MESSAGE = 1_000
_AHEAD_FOR_S = 60.0
_ASK_EVERY_S = 0.02
_AWAY = (RedisError, OSError, TimeoutError)


class Subscriptions:
    """Those of the client behind `outlet`: the work of its session."""

    def __init__(self, outlet: Outlet, hub: Hub, past: Past) -> None:
        self._outlet = outlet
        self._hub = hub
        self._past = past
        self._views: dict[str, View] = {}
        self._joining: dict[str, Joining] = {}

    async def do(self, request: AnyRequest, principal: Principal) -> None:
        """Subscribe or unsubscribe."""
        if isinstance(request, Subscribe):
            await self._subscribe(request, principal)
        elif isinstance(request, Unsubscribe):
            await self._unsubscribe(request)
        else:
            raise InvalidParameter("replays are on /replay: here are subscribe, unsubscribe, configure and ping")

    def close(self) -> None:
        """Leave all of them."""
        for name in list(self._views):
            self._leave(name)

    async def _subscribe(self, request: Subscribe, principal: Principal) -> None:
        """Join the channels, tell their past where that is wanted, and acknowledge; an error changes nothing."""
        names = channels(request.channel, await self._instruments(request), request.timeframe)
        if request.channel in EVENTS_OF:
            require_fields(EVENTS_OF[request.channel], request.filters)
        elif request.filters.fields:
            raise InvalidParameter(f"{request.channel} has no fields to choose")
        if not 0 <= request.last <= EVENTS_AT_MOST:
            raise InvalidParameter(f"last must be 0 to {EVENTS_AT_MOST}, was {request.last}")
        since_ns = None if request.since is None else instant_ns(request.since)
        self._require_few(names, principal.tier)
        owner = principal.name if request.channel == "alerts" and principal.role != "admin" else None
        view = View(self._outlet.view.msgpack, self._outlet.view.deflate, request.filters, owner)
        joined = await self._joined(names)
        with_past = [name for name in names if since_ns is not None or request.last or name in request.resume]
        for name in with_past:
            joined[name].remove(self._outlet)
            self._joining[name] = Joining()
            joined[name].joining.add(self._joining[name])
        numbers = {}
        for name, channel in joined.items():
            self._views[name] = view
            numbers[name] = request.resume.get(name, channel.number)
            if name not in self._joining:
                channel.remove(self._outlet)
                channel.add(self._outlet, view)
        self._outlet.answer(Subscribed(id=request.id, channels=numbers))
        for name in with_past:
            await self._with_past(joined[name], view, request.resume.get(name), since_ns, request.last)

    async def _unsubscribe(self, request: Unsubscribe) -> None:
        """Leave the channels."""
        if request.instruments:
            names = channels(request.channel, request.instruments, request.timeframe)
        else:
            names = [name for name in self._views if name.partition(":")[0] == request.channel]
        left = [name for name in names if name in self._views]
        for name in left:
            self._leave(name)
        self._outlet.answer(Unsubscribed(id=request.id, channels=left))

    def _leave(self, name: str) -> None:
        self._views.pop(name, None)
        channel = self._hub.channels.get(name)
        if channel is not None:
            channel.remove(self._outlet)
            if (joining := self._joining.pop(name, None)) is not None:
                channel.joining.discard(joining)
            self._hub.leave(name)

    async def _instruments(self, request: Subscribe) -> list[str]:
        """Those that are named, those of a venue for `venue:*`."""
        found: list[str] = []
        for name in request.instruments:
            venue, _, symbol = name.partition(":")
            if symbol != "*":
                found.append(name)
                continue
            try:
                of_venue = await self._hub.tail.instruments(request.channel, venue)
            except _AWAY as error:
                raise StorageUnavailable(f"Redis does not answer: {error}") from None
            if not of_venue:
                raise InvalidParameter(f"nothing was published of {request.channel} of {venue!r}: name instruments")
            found += of_venue
        return found

    def _require_few(self, names: list[str], tier: Tier) -> None:
        if tier.symbols is not None:
            wanted = {instrument_of(name) for name in [*self._views, *names]} - {None}
            if len(wanted) > tier.symbols:
                raise TooLarge(f"your tier allows {tier.symbols} instruments at once, was {len(wanted)}")

    async def _joined(self, names: list[str]) -> dict[str, Channel]:
        """The channels, when Redis sends them. Meanwhile each is held by a place of its own."""
        found: dict[str, Channel] = {}
        place = Joining()
        try:
            for name in names:
                found[name] = self._hub.join(name)
                found[name].joining.add(place)
            try:
                async with asyncio.timeout(_READY_WITHIN_S):
                    for channel in found.values():
                        await channel.ready.wait()
            except TimeoutError:
                raise StorageUnavailable(f"live data do not come ({self._hub.problem}): try again later") from None
        except BaseException:
            for name, channel in found.items():
                channel.joining.discard(place)
                self._hub.leave(name)
            raise
        for channel in found.values():
            channel.joining.discard(place)
        return found

    async def _with_past(
        self, channel: Channel, view: View, resume: int | None, since_ns: int | None, last: int
    ) -> None:
        joining, ahead = self._joining[channel.name], set[Hashable]()
        try:
            if resume is not None:
                number = await self._resume(channel, view, resume)
            elif not channel.has_tail:
                number = await self._latest(channel, view)
            else:
                history = await self._past.read(channel.name, since_ns, last)
                await self._tell(channel.name, view, history)
                number, ahead = history.number, history.ahead
            await self._follow(channel, view, joining, number, ahead)
        except _AWAY as error:
            raise StorageUnavailable(f"the past of {channel.name} cannot be read: {error}") from None
        finally:
            channel.joining.discard(joining)
            if self._joining.pop(channel.name, None) is not None and self._views.get(channel.name) == view:
                channel.add(self._outlet, view)

    async def _resume(self, channel: Channel, view: View, number: int) -> int:
        """Send what was missed after `number`; the number of the last of it."""
        for entry in await self._hub.tail.after(channel.name, number):
            if entry.number > number + 1:
                self._outlet.told(Gap(channel=channel.name, first=number + 1, last=entry.number - 1, cause="lost"))
            await self._outlet.room()
            self._send(view.events("data", channel.name, entry.number, entry.data))
            number = entry.number
        return number

    async def _latest(self, channel: Channel, view: View) -> int:
        """Send the last message of a channel without a tail."""
        entry = await self._hub.tail.latest(channel.name)
        if entry is None:
            return 0
        self._send(view.events("history", channel.name, entry.number, entry.data, done=True, whole=True))
        return entry.number

    async def _tell(self, name: str, view: View, history: History) -> None:
        """Send history in parts, no faster than it is read."""
        events = history.events
        for start in range(0, max(len(events), 1), _EVENTS_A_MESSAGE):
            part = events[start : start + _EVENTS_A_MESSAGE]
            done = start + _EVENTS_A_MESSAGE >= len(events)
            data = opened(encode(part))[1]
            await self._outlet.room()
            self._send(view.events("history", name, history.number, data, done=done, whole=history.is_whole))

    async def _follow(self, channel: Channel, view: View, joining: Joining, number: int, ahead: set[Hashable]) -> None:
        """Send what came meanwhile, after `number`, and join the others when nothing of it is left.

        What the database had before Redis (`ahead`) comes once more in the next moments, and is left out.
        """
        until = time.monotonic() + _AHEAD_FOR_S
        while True:
            for entry in joining.taken():
                if entry.number == NOTICE or entry.number > number or not entry.number:
                    if channel.has_tail and number and entry.number > number + 1:
                        gap = Gap(channel=channel.name, first=number + 1, last=entry.number - 1, cause="lost")
                        self._outlet.told(gap)
                    number = max(number, entry.number)
                    left = _without(entry, ahead)
                    if left is not None:
                        await self._outlet.room()
                        self._take(channel.name, view, left)
            if not joining.entries and (not ahead or time.monotonic() > until):
                return  # nothing can come between this and who is waiting for it
            if not joining.entries:
                await asyncio.sleep(_ASK_EVERY_S)

    def _take(self, name: str, view: View, entry: Entry) -> None:
        if entry.number == NOTICE:
            frame = View(view.msgpack, view.deflate).events("notice", name, 0, entry.data)
        else:
            frame = view.events("data", name, entry.number, entry.data)
        if frame is not None:
            self._outlet.take(name, frame)

    def _send(self, frame: Frame | None) -> None:
        if frame is not None:
            self._outlet.send(frame)


def _without(entry: Entry, ahead: set[Hashable]) -> Entry | None:
    """`entry` without events that were told; None where nothing is left. What is found is not looked for again."""
    if not ahead or entry.number == NOTICE:
        return entry
    events = entry.events()
    keys = [key_of(event) for event in events]
    left = [event for event, key in zip(events, keys, strict=True) if key not in ahead]
    ahead.difference_update(keys)
    if len(left) == len(events):
        return entry
    return Entry(entry.number, opened(encode(left))[1]) if left else None


def instant_ns(moment: Moment) -> int:
    """Nanoseconds since the epoch; InvalidRange where it cannot be read."""
    if isinstance(moment, int):
        return epoch_to_ns(moment)
    parsed = parse_time(moment)
    return int(parsed.timestamp()) * 1_000_000_000 + parsed.microsecond * 1_000
