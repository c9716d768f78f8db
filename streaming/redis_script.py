"""The messages of one flush in; one call of a script on Redis out, of which nobody sees half.

As commands they were four a message, and redis-py takes 11 µs to send one and read its reply: more than all else that
the live process did for the trades of the message.
"""

from collections.abc import Mapping

from redis.asyncio import Redis

_SCRIPT = """
local at = 3
while at <= #ARGV do
    local channel, payload, kept = ARGV[at], ARGV[at + 1], ARGV[at + 2]
    local latest, ttl, fields = ARGV[at + 3], ARGV[at + 4], tonumber(ARGV[at + 5])
    at = at + 6
    redis.call('PUBLISH', channel, payload)
    if kept ~= '0' then
        redis.call('XADD', 'md:log:' .. channel:sub(4), 'MAXLEN', '~', kept, '*', 'm', payload)
    end
    if fields > 0 then
        redis.call('HSET', latest, unpack(ARGV, at, at + fields - 1))
        redis.call('EXPIRE', latest, ttl)
    elseif latest ~= '' then
        redis.call('SET', latest, payload, 'EX', ttl)
    end
    at = at + fields
end
redis.call('SET', ARGV[1], ARGV[2])
"""
"""ARGV: the key and the value of the position, then for each message what `Flush.add` gives it."""


class Flush:
    """What one flush does: messages in order, and at last the position in the spool that they reach."""

    def __init__(self) -> None:
        self._arguments: list[bytes | str | float] = []

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
        """Publish `payload`, and append it to a tail of about `kept` messages where that is not 0.

        Key `latest`, where given, gets `values` as fields of a hash, or without them the payload, for `ttl_s`.
        """
        fields = [part for pair in (values or {}).items() for part in pair]
        self._arguments += [channel, payload, kept, latest, ttl_s, len(fields), *fields]

    async def send(self, client: Redis, position: str, last_id: int) -> None:
        """Do it. Redis takes a million arguments at most, of which a message has six and its values."""
        await client.register_script(_SCRIPT)(args=[position, last_id, *self._arguments])
