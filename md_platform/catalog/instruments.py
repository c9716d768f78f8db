"""Reference data of instruments: searched, looked up and changed, beside what `ledger` registers."""

import dataclasses
import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import psycopg
from psycopg import sql
from psycopg.rows import class_row

from md_platform.catalog.ledger import Connect
from md_platform.domain.instruments import Instrument
from md_platform.errors import InvalidInstrument, NotFound
from md_platform.storage.database import database_errors, first_line

Status = Literal["active", "delisted"]


@dataclass(frozen=True, slots=True)
class Reference:
    """What is known of an instrument. `asset_class` is crypto, perpetual or stock by its id, unless said otherwise."""

    id: str
    venue: str
    native: str
    universe: str
    base: str
    quote: str | None
    name: str
    asset_class: str
    tags: list[str]
    status: Status
    listed_at: dt.datetime | None
    delisted_at: dt.datetime | None
    tick_size: float | None
    lot_size: float | None
    registered_at: dt.datetime


@dataclass(frozen=True, slots=True)
class Change:
    """What to set; None leaves a value as it is."""

    native: str | None = None
    name: str | None = None
    asset_class: str | None = None
    tags: list[str] | None = None
    listed_at: dt.datetime | None = None
    tick_size: float | None = None
    lot_size: float | None = None

    def values(self) -> dict[str, Any]:
        """What is to be set, by column."""
        given = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {name: value for name, value in given.items() if value is not None}


@dataclass(frozen=True, slots=True)
class Search:
    """What to look for; empty means any. `text` is in the id, the native symbol or the name, in any case."""

    text: str = ""
    venue: str = ""
    asset_class: str = ""
    tag: str = ""
    status: Status | None = None


class Instruments:
    """The registry over connections that `connect` gives. StorageError where the database is unreachable."""

    def __init__(self, connect: Connect) -> None:
        self._connect = connect

    def search(self, wanted: Search, limit: int, after: str = "") -> tuple[list[Reference], int]:
        """Instruments after id `after` in order of their ids, at most `limit`, and how many there are in all."""
        values = {**dataclasses.asdict(wanted), "after": after, "limit": limit}
        with database_errors(), self._connect() as connection:
            found = connection.cursor(row_factory=class_row(Reference)).execute(_SEARCH, values).fetchall()
            counted = connection.execute(_COUNT, values).fetchone()
        return found, counted[0] if counted else 0

    def get(self, id_: str) -> Reference:
        """The instrument with the canonical id; NotFound."""
        with database_errors(), self._connect() as connection:
            found = connection.cursor(row_factory=class_row(Reference)).execute(_GET, (id_,)).fetchone()
        if found is None:
            raise NotFound(f"no instrument has the id {id_!r}")
        return found

    def add(self, instrument: Instrument, universe: str, change: Change) -> Reference:
        """Register an instrument; InvalidInstrument where it is registered already."""
        values = {"id": instrument.id, "universe": universe, "native": instrument.native, **change.values()}
        names = sql.SQL(", ").join(map(sql.Identifier, values))
        statement = sql.SQL("INSERT INTO md.instruments ({}) VALUES ({}) ON CONFLICT (id) DO NOTHING").format(
            names, sql.SQL(", ").join(map(sql.Placeholder, values))
        )
        if not self._run(statement, values):
            raise InvalidInstrument(f"{instrument.id} is registered already: change it instead")
        return self.get(instrument.id)

    def change(self, id_: str, change: Change) -> Reference:
        """Set what `change` says; NotFound."""
        values = change.values()
        if values:
            pairs = [sql.SQL("{} = {}").format(sql.Identifier(name), sql.Placeholder(name)) for name in values]
            statement = sql.SQL("UPDATE md.instruments SET {} WHERE id = %(id)s").format(sql.SQL(", ").join(pairs))
            self._run(statement, {**values, "id": id_})
        return self.get(id_)

    def delist(self, id_: str, at: dt.datetime) -> Reference:
        """Say that it ceased to trade `at`, unless that was said before. Its data stay; NotFound."""
        self._run(sql.SQL(_DELIST), {"id": id_, "at": at})
        return self.get(id_)

    def relist(self, id_: str) -> Reference:
        """Say that it trades again; NotFound."""
        self._run(sql.SQL(_RELIST), {"id": id_})
        return self.get(id_)

    def venues(self) -> Sequence[tuple[str, int]]:
        """Venues of registered instruments, and how many each has."""
        with database_errors(), self._connect() as connection:
            return connection.execute(_VENUES).fetchall()

    def _run(self, statement: sql.SQL | sql.Composed, values: dict[str, Any]) -> int:
        with database_errors():
            try:
                with self._connect() as connection, connection.transaction():
                    changed: int = connection.execute(statement, values).rowcount
                    return changed
            except psycopg.errors.CheckViolation as error:
                raise InvalidInstrument(f"a value is out of its bounds: {error.diag.constraint_name}") from None
            except psycopg.DataError as error:
                raise InvalidInstrument(f"a value cannot be stored: {first_line(error)}") from None


_REFERENCE = """
SELECT id, split_part(id, ':', 1) AS venue, native, universe, base, quote, name,
       coalesce(nullif(asset_class, ''),
                CASE WHEN id LIKE '%%-PERP' THEN 'perpetual' WHEN quote IS NULL THEN 'stock' ELSE 'crypto' END)
           AS asset_class,
       tags, status, listed_at, delisted_at, tick_size, lot_size, registered_at
FROM md.instruments
"""
_GET = f"{_REFERENCE} WHERE id = %s"
_WANTED = f"""
FROM ({_REFERENCE}) AS known
WHERE (%(text)s = '' OR position(lower(%(text)s) IN lower(id)) > 0 OR position(lower(%(text)s) IN lower(native)) > 0
       OR position(lower(%(text)s) IN lower(name)) > 0
       OR position(replace(lower(%(text)s), '/', '-') IN lower(id)) > 0)
  AND (%(venue)s = '' OR venue = %(venue)s)
  AND (%(asset_class)s = '' OR asset_class = %(asset_class)s)
  AND (%(tag)s = '' OR %(tag)s = ANY (tags))
  AND (%(status)s::text IS NULL OR status = %(status)s)
"""
_SEARCH = f"SELECT * {_WANTED} AND id > %(after)s ORDER BY id LIMIT %(limit)s"
_COUNT = f"SELECT count(*) {_WANTED}"
_DELIST = "UPDATE md.instruments SET status = 'delisted', delisted_at = %(at)s WHERE id = %(id)s AND status = 'active'"
_RELIST = "UPDATE md.instruments SET status = 'active', delisted_at = NULL WHERE id = %(id)s"
_VENUES = "SELECT split_part(id, ':', 1), count(*) FROM md.instruments GROUP BY 1 ORDER BY 1"
