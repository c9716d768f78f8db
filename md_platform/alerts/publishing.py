"""Alerts that fired in, messages of the channel `md:alerts` and its tail `md:log:alerts` out, each once."""

import redis

from md_platform.alerts.rules import Rules
from md_platform.domain.events import Alert
from md_platform.domain.wire import ALERTS, encode

KEPT = 10_000
"""Alerts that the tail keeps, about."""

_PUBLISH = """
if not redis.call('SET', 'md:alerts:told:' .. ARGV[1], 1, 'NX', 'EX', 86400) then return 0 end
local clock = redis.call('TIME')
local number = redis.call('HINCRBY', 'md:seq', KEYS[1], 1)
if number == 1 then
    number = redis.call('HINCRBY', 'md:seq', KEYS[1], clock[1] .. string.format('%06d', clock[2]))
end
number = string.format('%.0f', number)
redis.call('PUBLISH', KEYS[1], '{"v":1,"seq":' .. number .. ARGV[2]:sub(7))
redis.call('XADD', 'md:log:alerts', 'MAXLEN', '~', ARGV[3], '*', 'm', ARGV[2], 'n', number)
return 1
"""
"""As the live process numbers its messages. An alert that Redis had, and the database does not know so, is skipped."""


class Publisher:
    """Publishes what fired."""

    def __init__(self, rules: Rules, redis_url: str) -> None:
        self._rules = rules
        self._redis = redis.Redis.from_url(redis_url, socket_timeout=5, socket_connect_timeout=2)

    def close(self) -> None:
        """Close the connection."""
        self._redis.close()

    def publish(self) -> int:
        """Publish what waits; how many there were. StorageError or RedisError: it waits on."""
        with self._rules.connect() as connection:
            # the lock keeps a second publisher out until these are done
            connection.execute("SELECT pg_advisory_xact_lock(hashtext('md.alerts'))")
            rows = connection.execute(_WAITING).fetchall()
            for id_, *values in rows:
                message = encode([Alert(id_, *values)])
                self._redis.eval(_PUBLISH, 1, ALERTS, str(id_), message, str(KEPT))
            connection.execute(
                "UPDATE md.alerts_fired SET is_published = true WHERE id = ANY (%s)", ([row[0] for row in rows],)
            )
        return len(rows)


_WAITING = """
SELECT id, rule_id, owner, name, instrument, severity, message, value,
       (extract(epoch FROM at) * 1000000)::bigint * 1000
FROM md.alerts_fired WHERE NOT is_published ORDER BY id LIMIT 1000
"""
