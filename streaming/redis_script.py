"""The messages of one flush in; one call of a script on Redis out, of which nobody sees half.

As commands they were four a message, and redis-py takes 11 µs to send one and read its reply: more than all else that
the live process did for the trades of the message. The script also asks, where no time can pass in between, whether
this process may still publish, and whether Redis has the flush already: a client that lost the answer asks again.

It numbers the messages of each channel, whoever publishes them (hash `md:seq`). The first has the time in µs: in a
Redis that was emptied numbers begin higher than any before, and a reader sees that they jumped.
"""

from collections.abc import Mapping
from typing import NamedTuple

from redis.asyncio import Redis
from redis.commands.core import AsyncScript
from redis.exceptions import RedisError

from md_platform.errors import LeaseLost

_SCRIPT = """
local position, last_id, shard, token = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
if shard ~= '' then
    local holder = redis.call('HGET', shard, 'token')
    if holder ~= token then return holder or '' end
end
if tonumber(redis.call('GET', position) or 0) >= tonumber(last_id) then return token end
local at = 6 + 5 * tonumber(ARGV[5])
for rank = 6, at - 1, 5 do
    local key, member, score, now, ttl = unpack(ARGV, rank, rank + 4)
    local seen = key .. ':seen'
    redis.call('ZADD', key, score, member)
    redis.call('ZADD', seen, now, member)
    for _, gone in ipairs(redis.call('ZRANGEBYSCORE', seen, '-inf', '(' .. now - ttl)) do
        redis.call('ZREM', key, gone)
        redis.call('ZREM', seen, gone)
    end
    redis.call('EXPIRE', key, ttl)
    redis.call('EXPIRE', seen, ttl)
end
local clock = redis.call('TIME')
local first = clock[1] .. string.format('%06d', clock[2])
while at <= #ARGV do
    local channel, payload, kept = ARGV[at], ARGV[at + 1], ARGV[at + 2]
    local latest, ttl, fields = ARGV[at + 3], ARGV[at + 4], tonumber(ARGV[at + 5])
    at = at + 6
    local number = redis.call('HINCRBY', 'md:seq', channel, 1)
    if number == 1 then number = redis.call('HINCRBY', 'md:seq', channel, first) end
    number = string.format('%.0f', number)
    local message = '{"v":1,"seq":' .. number .. payload:sub(7)
    redis.call('PUBLISH', channel, message)
    if kept ~= '0' then
        redis.call('XADD', 'md:log:' .. channel:sub(4), 'MAXLEN', '~', kept, '*', 'm', payload, 'n', number)
    end
    if fields > 0 then
        redis.call('HSET', latest, unpack(ARGV, at, at + fields - 1))
        redis.call('EXPIRE', latest, ttl)
    elseif latest ~= '' then
        redis.call('SET', latest, message, 'EX', ttl)
    end
    at = at + fields
end
redis.call('SET', position, last_id)
return token
"""
"""ARGV: as in `Flush.send`, what `Flush.rank` and `Flush.add` give it. Returns the token of who may publish."""


class Fence(NamedTuple):
    """Who may publish for `shard`: the process whose `token` Redis has."""

    shard: str
    token: str

    @property
    def key(self) -> str:
        """The hash that says so."""
        return f"md:shard:{self.shard}"

    def lost(self) -> LeaseLost:
        """The error for a shard that another process has."""
        return LeaseLost(f"another process serves shard {self.shard} now: this one ends, start it again to stand by")


def script_on(client: Redis) -> AsyncScript:
    """The script, called by its hash; a Redis that does not know it, as after a restart, is told."""
    return client.register_script(_SCRIPT)


class Flush:
    """What one flush does: messages in order, and at last the position in the spool that they reach.

    Redis takes a million arguments at most, of which a message has six and its values.
    """

    def __init__(self) -> None:
        self._arguments: list[bytes | str | float] = []
        self._ranks: list[str | float] = []

    def add(
        self,
        channel: str,
        payload: bytes,
        *,
        kept: int,
        latest: str = "",
        values: Mapping[str, float] | None = None,
        ttl_s: int = 0,
    ) -> None:
        """Publish `payload`, a message of `wire`, with its number; append it to a tail of about `kept`, where not 0.

        Key `latest`, where given, gets `values` as fields of a hash, or without them the message, for `ttl_s`.
        """
        fields = [part for pair in (values or {}).items() for part in pair]
        self._arguments += [channel, payload, kept, latest, ttl_s, len(fields), *fields]

    def rank(self, key: str, member: str, score: float, at_s: int, ttl_s: int) -> None:
        """Give `member` of the sorted set `key` its score; who got none for `ttl_s` by `at_s` leaves the set."""
        self._ranks += [key, member, score, at_s, ttl_s]

    async def send(self, script: AsyncScript, position: str, last_id: int, fence: Fence | None = None) -> None:
        """Do it, unless key `position` has reached `last_id`; LeaseLost where `fence` names another process."""
        key, token = (fence.key, fence.token) if fence else ("", "")
        holder = await script(
            args=[position, last_id, key, token, len(self._ranks) // 5, *self._ranks, *self._arguments]
        )
        if holder == token.encode():
            return
        if fence is not None and holder:
            raise fence.lost()
        raise RedisError(f"Redis forgot who has {key}, and is about to be told")
