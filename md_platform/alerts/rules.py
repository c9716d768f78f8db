"""Rules of alerts and what they fired, in PostgreSQL. A rule's memory and its alerts change in one transaction."""

import contextlib
import datetime as dt
import json
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from psycopg import sql
from pydantic import TypeAdapter

from md_platform.alerts.conditions import Condition, Hit, Memory
from md_platform.errors import NotFound
from md_platform.storage.database import Connection, connected, database_errors

Severity = Literal["low", "medium", "high", "critical"]
WebhookState = Literal["none", "waiting", "delivered", "dead"]
_CONDITION: TypeAdapter[Condition] = TypeAdapter(Condition)
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


@dataclass(frozen=True, slots=True)
class Wish:
    """What a rule is to be. `webhook_secret` signs what `webhook_url` gets."""

    name: str
    instrument: str | None
    condition: Condition
    severity: Severity = "medium"
    cooldown_s: int = 0
    webhook_url: str | None = None
    webhook_secret: str | None = None
    is_enabled: bool = True


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule as it stands."""

    id: str
    owner: str
    name: str
    instrument: str | None
    condition: Condition
    severity: Severity
    cooldown_s: int
    webhook_url: str | None
    is_enabled: bool
    memory: Memory
    version: int
    last_fired_at: dt.datetime | None
    created_at: dt.datetime


@dataclass(frozen=True, slots=True)
class Fired:
    """An alert that fired."""

    id: int
    rule_id: str
    owner: str
    name: str
    instrument: str | None
    severity: Severity
    message: str
    value: float | None
    at: dt.datetime
    fired_at: dt.datetime
    webhook_state: WebhookState
    webhook_attempts: int
    webhook_error: str | None


Learnt = tuple[Rule, Memory, Sequence[tuple[str, Hit]]]
"""A rule, what it knows now, and its hits, each with the entry that made it."""

_RULE = sql.SQL(", ").join(map(sql.Identifier, Rule.__dataclass_fields__))
_FIRED = sql.SQL(", ").join(map(sql.Identifier, Fired.__dataclass_fields__))


class Rules:
    """The rules in the database at `url`. `owner` None is everybody; NotFound for what is somebody else's."""

    def __init__(self, url: str) -> None:
        self._url = url

    def add(self, owner: str, wish: Wish) -> Rule:
        """A new rule: it looks at what comes from now on."""
        with self.connect() as connection:
            values = (uuid.uuid4().hex, owner, *_values(wish), wish.webhook_secret)
            (rule,) = _rules(connection, _ADD, values)
        return rule

    def change(self, id_: str, owner: str | None, wish: Wish) -> Rule:
        """Make a rule what `wish` says; it forgets what it has seen. Without a secret the old one stays."""
        with self.connect() as connection:
            found = _rules(connection, _CHANGE, (*_values(wish), wish.webhook_secret, id_, owner, owner))
        return _one(found, id_)

    def remove(self, id_: str, owner: str | None) -> None:
        """Remove a rule; what it fired stays."""
        with self.connect() as connection:
            if not connection.execute(_REMOVE, (id_, owner, owner)).rowcount:
                raise _missing(id_)

    def get(self, id_: str, owner: str | None) -> Rule:
        """One rule."""
        with self.connect() as connection:
            return _one(_rules(connection, _GET, (id_, owner, owner)), id_)

    def all(self, owner: str | None = None) -> list[Rule]:
        """Every rule, oldest first."""
        with self.connect() as connection:
            return _rules(connection, _ALL, (owner, owner))

    def fired(self, owner: str | None = None, rule_id: str | None = None, limit: int = 100) -> list[Fired]:
        """The newest alerts, newest first."""
        with self.connect() as connection:
            rows = connection.execute(
                _FIRED_LIST.format(fields=_FIRED), (owner, owner, rule_id, rule_id, limit)
            ).fetchall()
        return [Fired(*row) for row in rows]

    def store(self, learnt: Sequence[Learnt]) -> set[str]:
        """Keep what rules know now, and what they fired, all at once; ids of those that nobody else had changed."""
        stored = set()
        with self.connect() as connection:
            for rule, memory, hits in learnt:
                last = max((hit.at_ns for _, hit in hits), default=None)
                values = (json.dumps(memory), None if last is None else _time(last), rule.id, rule.version)
                if connection.execute(_REMEMBER, values).rowcount:
                    stored.add(rule.id)
                    _fire(connection, rule, hits)
        return stored

    @contextlib.contextmanager
    def connect(self) -> Iterator[Connection]:
        """One transaction; StorageError where the database is away."""
        with database_errors(), connected(self._url) as connection:
            yield connection


def _fire(connection: Connection, rule: Rule, hits: Sequence[tuple[str, Hit]]) -> None:
    state: WebhookState = "waiting" if rule.webhook_url else "none"
    for entry, hit in hits:
        known = (rule.id, entry, rule.owner, rule.name, rule.instrument, rule.severity)
        connection.execute(_FIRE, (*known, hit.message, hit.value, _time(hit.at_ns), state, state))


def _values(wish: Wish) -> tuple[Any, ...]:
    condition = wish.condition.model_dump_json()
    return (
        wish.name, wish.instrument, condition, wish.severity, wish.cooldown_s, wish.webhook_url, wish.is_enabled,
    )  # fmt: skip


def _rules(connection: Connection, statement: sql.SQL, values: Sequence[Any]) -> list[Rule]:
    cursor = connection.execute(statement.format(fields=_RULE), values)
    names = list(Rule.__dataclass_fields__)
    return [_rule(dict(zip(names, row, strict=True))) for row in cursor.fetchall()]


def _rule(row: Mapping[str, Any]) -> Rule:
    return Rule(**{**row, "condition": _CONDITION.validate_python(row["condition"])})


def _one(found: list[Rule], id_: str) -> Rule:
    if not found:
        raise _missing(id_)
    return found[0]


def _missing(id_: str) -> NotFound:
    return NotFound(f"no alert rule is called {id_!r}")


def _time(at_ns: int) -> dt.datetime:
    return _EPOCH + dt.timedelta(microseconds=at_ns // 1_000)


_ADD = sql.SQL(
    "INSERT INTO md.alert_rules (id, owner, name, instrument, condition, severity, cooldown_s, webhook_url, is_enabled,"
    " webhook_secret) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s) RETURNING {fields}"
)
_CHANGE = sql.SQL(
    "UPDATE md.alert_rules SET name = %s, instrument = %s, condition = %s, severity = %s, cooldown_s = %s,"
    " webhook_url = %s, is_enabled = %s, webhook_secret = coalesce(%s, webhook_secret),"
    " memory = jsonb_build_object('position', (extract(epoch FROM now()) * 1000)::bigint || '-0'),"
    " version = version + 1 WHERE id = %s AND (%s::text IS NULL OR owner = %s) RETURNING {fields}"
)
_REMOVE = "DELETE FROM md.alert_rules WHERE id = %s AND (%s::text IS NULL OR owner = %s)"
_GET = sql.SQL("SELECT {fields} FROM md.alert_rules WHERE id = %s AND (%s::text IS NULL OR owner = %s)")
_ALL = sql.SQL("SELECT {fields} FROM md.alert_rules WHERE %s::text IS NULL OR owner = %s ORDER BY created_at, id")
_FIRED_LIST = sql.SQL(
    "SELECT {fields} FROM md.alerts_fired WHERE (%s::text IS NULL OR owner = %s)"
    " AND (%s::text IS NULL OR rule_id = %s) ORDER BY id DESC LIMIT %s"
)
_REMEMBER = """
UPDATE md.alert_rules SET memory = %s, version = version + 1, last_fired_at = coalesce(%s, last_fired_at)
WHERE id = %s AND version = %s
"""
_FIRE = """
INSERT INTO md.alerts_fired (rule_id, entry, owner, name, instrument, severity, message, value, at, webhook_state,
                             webhook_next_at)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, CASE WHEN %s = 'waiting' THEN now() END)
ON CONFLICT (rule_id, entry) DO NOTHING
"""
