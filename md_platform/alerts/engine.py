"""The tails of Redis in, alerts out: each rule looks at every event once, also across restarts.

What a rule knows, how far it has read and what it fired are stored in one transaction that only the last version of
the rule lets through: of two evaluators one stores nothing. The lease in Redis spares the work of the second.
"""

import threading
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, cast

import msgspec
import redis
import structlog

from md_platform.alerts.conditions import Hit, LevelCondition, Memory, QualityCondition, StaleCondition
from md_platform.alerts.rules import Rule, Rules
from md_platform.catalog.ledger import Ledger
from md_platform.domain.events import FeedNotice
from md_platform.domain.wire import Published, decode
from md_platform.errors import StorageError

log = structlog.get_logger(__name__)

LEASE = "md:alerts:lease"
_LEASE_MS = 10_000
_RENEW_EVERY_S = 2.0
_RELOAD_EVERY_S = 2.0
_STORE_EVERY_S = 1.0
_SCORES_EVERY_S = 30.0
_WAIT_MS = 250
_AT_ONCE = 1_000
_RENEW = """
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
"""


@dataclass
class Watched:
    """A rule with what it has learnt since it was last stored."""

    rule: Rule
    memory: Memory
    hits: list[tuple[str, Hit]] = field(default_factory=list)
    last_hit_ns: int | None = None
    is_changed: bool = False

    @classmethod
    def of(cls, rule: Rule) -> "Watched":
        """As it was stored; a new one reads what came since it was made."""
        created_ms = int(rule.created_at.timestamp() * 1_000)
        memory = {"position": f"{created_ms}-0", "since_ns": created_ms * 1_000_000, **rule.memory}
        fired = rule.last_fired_at
        return cls(rule, memory, last_hit_ns=None if fired is None else int(fired.timestamp() * 1e9))

    @property
    def channel(self) -> str | None:
        """The tail that it reads."""
        return self.rule.condition.channel(self.rule.instrument or "")

    def recall(self, entry: str, events: Iterable[object]) -> None:
        """Look at the last event of before the rule was made: what holds, holds at once, in a quiet market too."""
        condition = self.rule.condition
        if isinstance(condition, LevelCondition):
            for event in events:
                self.learn(*condition.seen(self.memory, event), f"{entry}:recalled")

    def see(self, entry: str, events: Iterable[object]) -> None:
        """Look at the events of one entry of the tail, unless it was looked at before."""
        if _order(entry) <= _order(self.memory["position"]):
            return
        condition = self.rule.condition
        if not isinstance(condition, QualityCondition):
            for n, event in enumerate(events):
                if self._concerns(event):
                    memory, hit = condition.seen(self.memory, event)
                    self.learn(memory, hit, f"{entry}:{n}")
        self.memory = {**self.memory, "position": entry}
        self.is_changed = True

    def learn(self, memory: Memory, hit: Hit | None, entry: str) -> None:
        """Keep what a condition made of something; a hit within the cooldown of the last one is passed over."""
        self.is_changed |= memory != self.memory
        self.memory = memory
        if hit is None:
            return
        cooldown_ns = self.rule.cooldown_s * 1_000_000_000
        if self.last_hit_ns is None or not cooldown_ns or hit.at_ns - self.last_hit_ns >= cooldown_ns:
            self.hits.append((entry, hit))
            self.last_hit_ns = hit.at_ns

    def _concerns(self, event: object) -> bool:
        instrument = self.rule.instrument
        if instrument is None or not isinstance(event, FeedNotice):
            return True
        return instrument in event.instruments or (
            not event.instruments and event.venue == instrument.partition(":")[0]
        )


class Engine:
    """Evaluates the rules until `stopping` is set; `fired` is called when something was stored that fired."""

    def __init__(
        self,
        rules: Rules,
        ledger: Ledger,
        redis_url: str,
        stopping: threading.Event,
        fired: Callable[[], None] = lambda: None,
    ) -> None:
        self._rules = rules
        self._ledger = ledger
        self._redis = redis.Redis.from_url(redis_url, socket_timeout=5, socket_connect_timeout=2)
        self._stopping = stopping
        self._fired = fired
        self._token = uuid.uuid4().hex
        self._watched: dict[str, Watched] = {}
        self._due: dict[str, float] = {}

    def run(self) -> None:
        """Evaluate; while the database, Redis or the lease is away, wait."""
        while not self._stopping.is_set():
            try:
                if self._is_due("lease", _RENEW_EVERY_S) and not self._renew():
                    self._watched.clear()
                    self._due.clear()
                    self._stopping.wait(1.0)
                    continue
                self.step()
            except (StorageError, redis.RedisError) as error:
                log.warning("alerts wait", reason=str(error))
                self._watched.clear()  # what was not stored is looked at again
                self._due.clear()
                self._stopping.wait(1.0)
        try:
            self._store(now=True)
            if self._redis.get(LEASE) == self._token.encode():
                self._redis.delete(LEASE)
        except (StorageError, redis.RedisError) as error:
            log.warning("alerts are not stored: the next evaluator looks again", reason=str(error))
        self._redis.close()

    def step(self) -> None:
        """Look once at everything, and store what came of it."""
        if self._is_due("reload", _RELOAD_EVERY_S):
            self._reload()
        self._read()
        now_ns = time.time_ns()
        for each in self._watched.values():
            condition = each.rule.condition
            if isinstance(condition, StaleCondition):
                memory, hit = condition.passed(each.memory, now_ns)
                each.learn(memory, hit, f"stale:{each.memory.get('last_ns', 0)}")
        if self._is_due("scores", _SCORES_EVERY_S):
            self._score(now_ns)
        self._store(now=False)

    def _is_due(self, what: str, every_s: float) -> bool:
        now = time.monotonic()
        if now < self._due.get(what, 0.0):
            return False
        self._due[what] = now + every_s
        return True

    def _renew(self) -> bool:
        return bool(self._redis.eval(_RENEW, 1, LEASE, self._token, str(_LEASE_MS)))

    def _reload(self) -> None:
        """Take up new and changed rules, let go of removed ones."""
        known = {rule.id: rule for rule in self._rules.all() if rule.is_enabled}
        for id_ in [id_ for id_ in self._watched if id_ not in known]:
            del self._watched[id_]
        for id_, rule in known.items():
            watched = self._watched.get(id_)
            if watched is None or watched.rule.version != rule.version:
                self._watched[id_] = watched = Watched.of(rule)
                if not rule.memory:
                    self._recall(watched)

    def _recall(self, each: Watched) -> None:
        """Have a new rule look at the last that its tail had when it was made."""
        if each.channel is None:
            return
        made = f"({each.memory['position']}"
        found = self._redis.xrevrange(f"md:log:{each.channel}", max=made, count=1)
        for entry, fields in cast("list[tuple[bytes, Mapping[bytes, bytes]]]", found):
            each.recall(entry.decode(), _events(fields)[-1:])

    def _read(self) -> None:
        """Have each rule look at what its tail has after the last entry that it knows."""
        readers: dict[str, list[Watched]] = {}
        for each in self._watched.values():
            if (channel := each.channel) is not None:
                readers.setdefault(f"md:log:{channel}", []).append(each)
        if not readers:
            self._stopping.wait(_WAIT_MS / 1_000)
            return
        since: dict[Any, Any] = {
            stream: min((each.memory["position"] for each in some), key=_order) for stream, some in readers.items()
        }
        found = cast(
            "list[tuple[bytes, list[tuple[bytes, Mapping[bytes, bytes]]]]]",
            self._redis.xread(since, count=_AT_ONCE, block=_WAIT_MS),
        )
        for stream, entries in found or []:
            for entry, fields in entries:
                events = _events(fields)
                for each in readers[stream.decode()]:
                    each.see(entry.decode(), events)

    def _score(self, now_ns: int) -> None:
        wanted = [
            (each, each.rule.condition)
            for each in self._watched.values()
            if isinstance(each.rule.condition, QualityCondition)
        ]
        if not wanted:
            return
        newest = self._ledger.newest_scores("cleaned_bars", [str(each.rule.instrument) for each, _ in wanted])
        for each, condition in wanted:
            if (known := newest.get(str(each.rule.instrument))) is not None:
                memory, hit = condition.scored(each.memory, *known, now_ns)
                each.learn(memory, hit, f"score:{known[0]}:{each.rule.version}")

    def _store(self, *, now: bool) -> None:
        """Store rules that fired at once, those that only learnt something now and then."""
        is_time = now or self._is_due("store", _STORE_EVERY_S)
        some = [each for each in self._watched.values() if each.hits or (each.is_changed and is_time)]
        if not some:
            return
        stored = self._rules.store([(each.rule, each.memory, each.hits) for each in some])
        if any(each.hits for each in some):
            self._fired()
        for each in some:
            if each.rule.id in stored:
                each.rule = replace(each.rule, version=each.rule.version + 1)
                each.hits, each.is_changed = [], False
            else:
                del self._watched[each.rule.id]  # it was changed: as it is now, it is loaded again


def _events(fields: Mapping[bytes, bytes]) -> list[Published]:
    """Events of an entry of a tail; none of one that cannot be read."""
    try:
        return decode(fields[b"m"])
    except (msgspec.MsgspecError, KeyError):
        return []


def _order(entry: str) -> tuple[int, int]:
    """Ids of a tail in order: milliseconds, then a number."""
    milliseconds, _, number = entry.partition("-")
    return int(milliseconds), int(number or 0)
