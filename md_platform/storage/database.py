"""Connections to PostgreSQL: an address in, a connection out whose errors are the platform's own."""

import contextlib
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import quote, urlencode

import psycopg

from md_platform.domain.instruments import Instrument
from md_platform.errors import StorageError, StorageFull, StorageReadOnly, StorageUnavailable, Unstorable

Connection = psycopg.Connection[tuple[Any, ...]]

_ALIVE: dict[str, Any] = {
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
}
"""A server that vanished without a word is noticed in 25 s."""


def connected(url: str, *, autocommit: bool = False, statement_s: float | None = None) -> Connection:
    """A connection to the database at `url`; StorageUnavailable where it does not answer.

    Statements are given up after `statement_s`, where that is said.
    """
    options = _options(statement_s)
    try:
        return psycopg.connect(url, autocommit=autocommit, options=options, connect_timeout=10, **_ALIVE)
    except psycopg.OperationalError as error:
        raise StorageUnavailable(f"the database does not answer: {first_line(error)}") from None
    except psycopg.ProgrammingError as error:
        raise StorageError(f"the database's address cannot be read: {first_line(error)}") from None


def bounded(url: str, statement_s: float) -> str:
    """`url` for readers by ADBC: a statement is given up after `statement_s`, a server that vanished is noticed."""
    limits = {
        "connect_timeout": 3,
        **_ALIVE,
        "tcp_user_timeout": 5_000,
        "options": _options(statement_s),
    }
    return f"{url}{'&' if '?' in url else '?'}{urlencode(limits, quote_via=quote)}"


def _options(statement_s: float | None) -> str:
    limit = "" if statement_s is None else f" -c statement_timeout={statement_s * 1_000:.0f}"
    return f"-c timezone=UTC{limit}"


@contextlib.contextmanager
def database_errors() -> Iterator[None]:
    """Errors of PostgreSQL inside the block become StorageError and its kinds."""
    try:
        yield
    except (psycopg.errors.UndefinedTable, psycopg.errors.UndefinedColumn, psycopg.errors.UndefinedFunction) as error:
        raise StorageError(
            f"the database lacks tables of this version, run `mdp migrate`: {first_line(error)}"
        ) from None
    except psycopg.errors.InvalidSchemaName:
        raise StorageError("the database lacks tables of this version: run `mdp migrate`") from None
    except psycopg.errors.DiskFull as error:
        raise StorageFull(f"no space left for the database: {first_line(error)}") from None
    except psycopg.errors.ReadOnlySqlTransaction as error:
        raise StorageReadOnly(f"the database cannot be written: {first_line(error)}") from None
    except (psycopg.DataError, psycopg.IntegrityError) as error:
        raise Unstorable(f"the database does not take a value: {first_line(error)}") from error
    except psycopg.Error as error:
        if is_passing(error.sqlstate) and isinstance(error, psycopg.OperationalError):
            raise StorageUnavailable(f"the database broke off: {first_line(error)}") from None
        raise StorageError(f"the database refused: {first_line(error)}") from error


def is_passing(sqlstate: str | None) -> bool:
    """Whether an error of this state may be gone at the next attempt: the connection, resources, a shutdown, locks."""
    return sqlstate is None or (sqlstate.startswith(("08", "40", "53", "55", "57", "58")) and sqlstate != "53400")


def register_instruments(
    connection: Connection, instruments: Iterable[tuple[Instrument, str]], *, replace: bool
) -> None:
    """Give instruments their numbers, each with its universe. Known ones get these values if `replace`, else stay."""
    rows = [(instrument.id, universe, instrument.native) for instrument, universe in instruments]
    with connection.cursor() as cursor:
        cursor.executemany(_REPLACE if replace else _ADD, rows)


_ADD = "INSERT INTO md.instruments (id, universe, native) VALUES (%s, %s, %s) ON CONFLICT (id) DO NOTHING"
_REPLACE = (
    "INSERT INTO md.instruments (id, universe, native) VALUES (%s, %s, %s) "
    "ON CONFLICT (id) DO UPDATE SET universe = excluded.universe, native = excluded.native"
)


def first_line(error: Exception) -> str:
    """What `error` says, without the server's context."""
    return str(error).splitlines()[0] if str(error) else type(error).__name__
